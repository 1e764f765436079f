"""profile(): how long callbacks and steps of tasks take, by qualified name. src/sched/profile.c measures."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from . import _core

__all__ = ["Profile", "Timing", "profile"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long what has one name took while a profile was on.

    name: the qualified name of a task's coroutine or of a callback; of a transport, its type and its protocol's.
    count: how often it ran: steps of tasks, calls of callbacks, handlings of a ready descriptor.
    seconds: how long all of that took.
    longest: how long the longest took, in seconds.
    """

    name: str
    count: int
    seconds: float
    longest: float

    @property
    def mean(self) -> float:
        """Seconds for each."""
        return self.seconds / self.count if self.count else 0.0


class Profile:
    """A context manager that measures each step of a loop while it is entered: profile() makes it."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._dicts: tuple[dict[Any, Any], dict[Any, Any]] | None = None
        self._is_on = False

    def __enter__(self) -> Self:
        """Begin to measure. Raises RuntimeError if it was entered before."""
        if self._dicts is not None:
            raise RuntimeError("a profile can be entered only once")
        self._dicts = self._loop._begin_profile()
        self._is_on = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_on:
            self._is_on = False
            self._loop._end_profile(self._dicts)

    def _timings(self, which: int) -> list[Timing]:
        if self._dicts is None:
            return []
        read = self._loop._read_profile(self._dicts[which])
        timings = [Timing(name, *figures) for name, figures in read.items()]
        return sorted(timings, key=lambda timing: timing.seconds, reverse=True)

    @property
    def tasks(self) -> list[Timing]:
        """Of tasks, by the name of their coroutine, the most seconds first. Also while it is entered."""
        return self._timings(0)

    @property
    def callbacks(self) -> list[Timing]:
        """Of callbacks, transports and servers, likewise."""
        return self._timings(1)

    def __repr__(self) -> str:
        return f"<asyncloop.Profile {'on' if self._is_on else 'off'} of {self._loop!r}>"


def profile(loop: asyncio.AbstractEventLoop | None = None) -> Profile:
    """Return a context manager that measures how long callbacks and steps of tasks of a loop take.

        with asyncloop.profile(loop) as profile:
            ...
        for timing in profile.tasks:
            print(timing.name, timing.count, timing.seconds)

    loop: an asyncloop.Loop; None: the running one. Several profiles of a loop may be on at once. While none is, the
        loop pays nothing. If the program has replaced parts of asyncio's loop, so that turns are asyncio's own, a
        profile stays empty.

    Raises TypeError for a loop that is not ours, RuntimeError for None where no loop runs.
    """
    if loop is None:
        loop = asyncio.get_running_loop()
    if not isinstance(loop, _core.Loop):
        raise TypeError(f"loop must be an asyncloop.Loop, not {type(loop).__name__}")
    return Profile(loop)
