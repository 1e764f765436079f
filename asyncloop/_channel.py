"""Channel: a queue between the loops and threads of one interpreter.

    put() ---> items ---> get()            any thread, any loop
      |                     |
    putters              getters           who waits, first come first served
      `-------> due <-------'              granted, but its loop has not been told yet: one call for all of a loop

A waiter is not given an item or a place. It is granted one, and takes it when its task runs again. So if its task is
cancelled in the meantime, it only gives back the grant: the item stays where it was, and the next waiter is granted it.

Invariants, while the lock is free
  (1) 0 <= _promised <= len(_items), except after shutdown(immediate=True), which drops promised items.
  (2) A getter waits without a grant  ==>  all items are promised.
  (3) A putter waits without a grant  ==>  items and reserved places fill the channel.
  (4) A loop is in _due  <=>  a call of _deliver(loop) is on its way.

The lock is one that its thread may take again: the collector may close a coroutine that waits here while the same
thread has the lock. The collector runs where a function of Python begins and where a call ends. There a waiter is
either in its queue without a grant, or it is not in its queue and has a grant that is counted.
"""

import asyncio
import contextlib
import sys
import threading
from asyncio import AbstractEventLoop, QueueEmpty, QueueFull
from collections import deque
from typing import Generic, TypeVar

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown
else:

    class QueueShutDown(Exception):
        """Raised when putting into or getting from a Channel that has been shut down: asyncio has it from 3.13 on."""


__all__ = ["Channel", "QueueShutDown"]

_T = TypeVar("_T")
_running_loop = asyncio._get_running_loop


class _Waiter:
    """A task that waits for an item or for a place."""

    __slots__ = ("future", "is_granted", "loop", "queue")

    def __init__(self, queue: "deque[_Waiter]") -> None:
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()
        self.is_granted = False
        self.queue = queue
        queue.append(self)

    def wake(self) -> None:
        """Resume the task; in the thread of its loop."""
        if not self.future.done():
            self.future.set_result(None)


class Channel(Generic[_T]):
    """A queue between the loops and threads of one interpreter.

    maxsize: how many items it holds at most; 0 or less: as many as there are.

    It is what asyncio.Queue is within one loop. Coroutines of any loop, of any thread, may put and get; whoever waited
    first is served first. The methods that do not wait may be called in threads without a loop, too.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._maxsize = maxsize
        self._lock = threading.RLock()
        self._items: deque[_T] = deque()
        self._promised = 0  # of the items: how many are granted to getters that have not run yet
        self._reserved = 0  # places that are granted to putters that have not run yet
        self._getters: deque[_Waiter] = deque()
        self._putters: deque[_Waiter] = deque()
        self._due: dict[AbstractEventLoop, list[_Waiter]] = {}
        self._is_shut_down = False

    def __repr__(self) -> str:
        with self._lock:
            shut_down = ", shut down" if self._is_shut_down else ""
            return (
                f"<Channel maxsize={self._maxsize}, {len(self._items)} items, "
                f"{len(self._getters)} getters, {len(self._putters)} putters{shut_down}>"
            )

    @property
    def maxsize(self) -> int:
        """How many items it holds at most; 0 or less: as many as there are."""
        return self._maxsize

    def qsize(self) -> int:
        """Return how many items get_nowait() could take: those that no waiting getter has been promised."""
        with self._lock:
            return max(len(self._items) - self._promised, 0)

    def empty(self) -> bool:
        """Return whether get_nowait() would raise QueueEmpty."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether put_nowait() would raise QueueFull."""
        with self._lock:
            return self._is_full()

    async def put(self, item: _T) -> None:
        """Put an item in, after waiting for a place if the channel is full.

        Raises QueueShutDown after shutdown(). If it is cancelled, the item is not in the channel.
        """
        loops = None
        with self._lock:
            if self._is_shut_down:
                raise QueueShutDown
            if 0 < self._maxsize <= len(self._items) + self._reserved:
                waiter = _Waiter(self._putters)
            else:
                waiter = None
                self._items.append(item)
                if self._getters:
                    loops = self._grant_items()
        if waiter is not None:
            try:
                await waiter.future
            except BaseException:  # cancelled, or closed by the collector
                self._give_up(waiter)
                raise
            with self._lock:
                self._reserved -= waiter.is_granted
                if self._is_shut_down:
                    raise QueueShutDown
                self._items.append(item)
                loops = self._grant_items()
        if loops:
            self._call(loops)

    def put_nowait(self, item: _T) -> None:
        """Put an item in; QueueFull if there is no place, QueueShutDown after shutdown()."""
        loops = None
        with self._lock:
            if self._is_shut_down:
                raise QueueShutDown
            if 0 < self._maxsize <= len(self._items) + self._reserved:
                raise QueueFull
            self._items.append(item)
            if self._getters:
                loops = self._grant_items()
        if loops:
            self._call(loops)

    async def get(self) -> _T:
        """Take the first item, after waiting for one if there is none.

        Raises QueueShutDown after shutdown(), once the channel is empty. If it is cancelled, no item has been taken.
        """
        loops = None
        with self._lock:
            if len(self._items) > self._promised:
                waiter = None
                item = self._items.popleft()
                if self._putters:
                    loops = self._grant_places()
            elif self._is_shut_down:
                raise QueueShutDown
            else:
                waiter = _Waiter(self._getters)
        if waiter is not None:
            try:
                await waiter.future
            except BaseException:  # cancelled, or closed by the collector
                self._give_up(waiter)
                raise
            with self._lock:
                self._promised -= waiter.is_granted
                if not (waiter.is_granted and self._items):
                    raise QueueShutDown
                item = self._items.popleft()
                loops = self._grant_places()
        if loops:
            self._call(loops)
        return item

    def get_nowait(self) -> _T:
        """Take the first item; QueueEmpty if there is none, QueueShutDown if there will be none."""
        loops = None
        with self._lock:
            if len(self._items) <= self._promised:
                raise QueueShutDown if self._is_shut_down else QueueEmpty
            item = self._items.popleft()
            if self._putters:
                loops = self._grant_places()
        if loops:
            self._call(loops)
        return item

    def shutdown(self, immediate: bool = False) -> None:
        """Let put() and put_nowait() raise QueueShutDown from now on, and get() and get_nowait() when it is empty.

        immediate: drop the items, so that it is empty now.

        Whoever waits for a place, or for an item that will not come, gets QueueShutDown.
        """
        loops: list[AbstractEventLoop] = []
        dropped: list[_T] = []
        with self._lock:
            self._is_shut_down = True
            if immediate:
                # Freed after the lock is: that may run anything.
                dropped.extend(self._items)
                self._items.clear()
            for waiters in (self._getters, self._putters):
                while waiters:
                    self._queue(waiters.popleft(), loops)
        self._call(loops)

    def __aiter__(self) -> "Channel[_T]":
        return self

    async def __anext__(self) -> _T:
        """Return await get(); the iteration ends where that raises QueueShutDown."""
        try:
            return await self.get()
        except QueueShutDown:
            raise StopAsyncIteration from None

    # With the lock: each returns the loops that _call() has to tell, after the lock is free.

    def _is_full(self) -> bool:
        return 0 < self._maxsize <= len(self._items) + self._reserved

    def _grant_items(self) -> list[AbstractEventLoop]:
        """Grant the items that nobody is promised to the getters that wait, by (2)."""
        loops: list[AbstractEventLoop] = []
        while len(self._items) > self._promised and self._getters:
            waiter = self._getters[0]
            waiter.is_granted = True
            self._promised += 1
            self._getters.popleft()
            self._queue(waiter, loops)
        return loops

    def _grant_places(self) -> list[AbstractEventLoop]:
        """Grant the free places to the putters that wait, by (3)."""
        loops: list[AbstractEventLoop] = []
        while not self._is_full() and self._putters:
            waiter = self._putters[0]
            waiter.is_granted = True
            self._reserved += 1
            self._putters.popleft()
            self._queue(waiter, loops)
        return loops

    def _queue(self, waiter: _Waiter, loops: list[AbstractEventLoop]) -> None:
        """Wake the waiter, or note that its loop has to."""
        loop = waiter.loop
        if loop is _running_loop():
            waiter.wake()
        elif loop in self._due:
            self._due[loop].append(waiter)
        else:
            self._due[loop] = [waiter]
            loops.append(loop)

    # Without the lock.

    def _call(self, loops: list[AbstractEventLoop]) -> None:
        """Have each of the loops call _deliver(), by (4)."""
        for loop in loops:
            try:
                loop.call_soon_threadsafe(self._deliver, loop)
            except RuntimeError:  # it is closed: its tasks will not run again
                with self._lock:
                    waiters = self._due.pop(loop, [])
                for waiter in waiters:
                    self._give_up(waiter)

    def _deliver(self, loop: AbstractEventLoop) -> None:
        """Wake those of a loop that have been granted something; in its thread."""
        with self._lock:
            waiters = self._due.pop(loop, [])
        for waiter in waiters:
            waiter.wake()

    def _give_up(self, waiter: _Waiter) -> None:
        """Forget a waiter that will not go on, and grant what it has been granted to the next one."""
        loops: list[AbstractEventLoop] = []
        with self._lock:
            if not waiter.is_granted:
                with contextlib.suppress(ValueError):  # shutdown() has taken it out
                    waiter.queue.remove(waiter)
            else:
                waiter.is_granted = False
                if waiter.queue is self._getters:
                    self._promised -= 1
                    loops = self._grant_items()
                else:
                    self._reserved -= 1
                    loops = self._grant_places()
        self._call(loops)
