"""loop.on_stall(): a thread reports that a loop is blocked, while it is.

src/io/watchdog.c notices, without the GIL ---> Stall, with the stack ---> callback, in that thread
                               the loop goes on ---> the same, with its length ---> callback
"""

import asyncio
import math
import sys
import threading
import traceback
import weakref
from asyncio.log import logger
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from ._loop import Loop

__all__ = ["Stall", "StallWatch"]


@dataclass(frozen=True, slots=True)
class Stall:
    """A loop is blocked, or was: it did not look for descriptors, timers and calls of other threads.

    seconds: for how long it is blocked by now; if is_over, for how long it was.
    is_over: whether the loop has gone on. The callback of on_stall() is called twice: before and after.
    task: the name of the task whose step runs, None if it is another callback.
    stack: of the loop's thread, the innermost frame last; empty if the stall was over before anybody could look.
    thread: the number of that thread, as threading.get_ident() returns it; None if it was over.
    """

    seconds: float
    is_over: bool
    task: str | None
    stack: traceback.StackSummary
    thread: int | None

    def __str__(self) -> str:
        was = "was" if self.is_over else "is"
        text = f"The event loop {was} blocked for {self.seconds:.3f} seconds"
        if self.task is not None:
            text += f" by the task {self.task!r}"
        return "\n".join([text, *"".join(self.stack.format()).splitlines()])


class StallWatch:
    """What on_stall() returns: cancel() ends it."""

    def __init__(self, watchdog: _core.Watchdog) -> None:
        self._watchdog: _core.Watchdog | None = watchdog

    def cancel(self) -> None:
        """End the watch. A callback that runs may still return; none is called any more. May be called again."""
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.stop()

    def cancelled(self) -> bool:
        """Return whether the watch has ended: by cancel(), by the loop's close(), or in a child process."""
        return self._watchdog is None

    def __del__(self) -> None:
        self.cancel()


def watch(loop: "Loop", threshold: float, callback: Callable[[Stall], object]) -> StallWatch:
    """Do what Loop.on_stall() says."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise TypeError(f"threshold must be a number, not {type(threshold).__name__}")
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold must be positive and finite, not {threshold}")
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    watchdog = loop._watchdog(float(threshold))
    _start(watchdog, loop, callback)
    return StallWatch(watchdog)


def _start(watchdog: _core.Watchdog, loop: "Loop", callback: Callable[[Stall], object]) -> None:
    """Start the thread. The interpreter does not wait for it when it exits."""
    arguments = (watchdog, weakref.ref(loop), callback)
    if _core._is_main_interpreter():
        threading.Thread(target=_report, args=arguments, name="asyncloop stall watch", daemon=True).start()
        return
    # Subinterpreters have no threads that they do not wait for. So end it before they do.
    threading._register_atexit(watchdog.stop)  # type: ignore[attr-defined]
    threading.Thread(target=_report, args=arguments, name="asyncloop stall watch", daemon=False).start()


def _report(watchdog: _core.Watchdog, loop_reference: "weakref.ref[Loop]", callback: Callable[[Stall], object]) -> None:
    """Report each stall: what the thread does."""
    while (seconds := watchdog.wait_begin()) is not None:
        loop = loop_reference()
        if loop is None:
            return
        stall = _look(watchdog, loop, seconds)
        if not stall.is_over:
            _call(loop, callback, stall)
        del loop
        length = watchdog.wait_end()
        loop = loop_reference()
        if length is None or loop is None:
            return
        _call(loop, callback, replace(stall, seconds=length, is_over=True))
        del loop


def _look(watchdog: _core.Watchdog, loop: Any, seconds: float) -> Stall:
    """Find out what the loop does."""
    thread = loop._thread_id
    task = stack = None
    frame = sys._current_frames().get(thread)
    if frame is not None:
        try:
            stack = traceback.StackSummary.extract(traceback.walk_stack(frame))
            task = asyncio.current_task(loop)
        finally:
            del frame
    if stack is None or not watchdog.is_on():  # it may be the stack of something else
        return Stall(seconds, True, None, traceback.StackSummary(), None)
    stack.reverse()
    return Stall(seconds, False, None if task is None else task.get_name(), stack, thread)


def _call(loop: Any, callback: Callable[[Stall], object], stall: Stall) -> None:
    """Call the callback; the loop's exception handler gets what it raises, when the loop goes on."""
    try:
        callback(stall)
    except Exception as exc:
        context = {"message": "Exception in callback of on_stall()", "exception": exc}
        try:
            loop.call_soon_threadsafe(loop.call_exception_handler, context)
        except RuntimeError:  # it is closed
            logger.error(context["message"], exc_info=exc)
