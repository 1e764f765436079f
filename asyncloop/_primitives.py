"""asyncio's locks and queues with their hot methods in C.

A class of _core comes first and has what is hot. What is cold is asyncio's own Python code, which works on the
attributes of the C struct.
"""

import asyncio
import contextlib
import types
from typing import Any, TypeVar

from . import _core

_T = TypeVar("_T")

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "Semaphore",
]


class Pickled:
    """Pickles and copies what asyncio's objects have in their __dict__, and ours in the C struct."""

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for cls in type(self).__mro__:
            for name, value in vars(cls).items():
                if isinstance(value, types.GetSetDescriptorType) and not name.startswith("__"):
                    with contextlib.suppress(AttributeError):
                        state[name] = getattr(self, name)
        if state.get("_loop") is None:
            state.pop("_loop", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Lock(_core.Lock, Pickled, asyncio.Lock):
    """A lock between tasks: asyncio.Lock in C.

    Whoever waited first gets it first. `async with lock:` is how to use it.
    """

    __module__ = "asyncloop"


class Event(_core.Event, Pickled, asyncio.Event):
    """A flag that tasks wait for: asyncio.Event in C."""

    __module__ = "asyncloop"


class Condition(_core.Condition, asyncio.Condition):
    """Tasks wait until another one notifies them: asyncio.Condition in C.

    lock: the lock that is released while a task waits, by default a new Lock.
    """

    __module__ = "asyncloop"

    def __init__(self, lock: asyncio.Lock | None = None) -> None:
        super().__init__(Lock() if lock is None else lock)


class Semaphore(_core.Semaphore, Pickled, asyncio.Semaphore):
    """A number of places that tasks take and give back: asyncio.Semaphore in C.

    value: how many places there are, 0 or more.
    """

    __module__ = "asyncloop"


class BoundedSemaphore(_core.BoundedSemaphore, Semaphore, asyncio.BoundedSemaphore):
    """A Semaphore that raises ValueError if more places are given back than were taken.

    value: how many places there are, 0 or more.
    """

    __module__ = "asyncloop"


class Barrier(asyncio.Barrier):
    """A number of tasks wait for one another: asyncio.Barrier, on a Condition in C.

    parties: how many tasks wait, 1 or more.
    """

    __module__ = "asyncloop"

    def __init__(self, parties: int) -> None:
        super().__init__(parties)
        self._cond = Condition()


class Queue(_core.Queue[_T], Pickled, asyncio.Queue[_T]):
    """Items that tasks hand over to tasks, first in, first out: asyncio.Queue in C.

    maxsize: how many items it holds at most; 0 or less: as many as there are.
    """

    __module__ = "asyncloop"


class PriorityQueue(Queue[_T], asyncio.PriorityQueue[_T]):  # type: ignore[type-var]
    """A Queue whose least item is taken first: asyncio.PriorityQueue in C.

    maxsize: how many items it holds at most; 0 or less: as many as there are.
    """

    __module__ = "asyncloop"


class LifoQueue(Queue[_T], asyncio.LifoQueue[_T]):
    """A Queue whose newest item is taken first: asyncio.LifoQueue in C.

    maxsize: how many items it holds at most; 0 or less: as many as there are.
    """

    __module__ = "asyncloop"
