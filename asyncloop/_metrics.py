"""What a loop has counted and measured of itself: loop.metrics() and asyncloop.metrics().

src/sched/metrics.h ---> _figures() ---> Metrics ---.
                                                    +--- later - earlier ---> Interval
                                         Metrics ---'
"""

import time
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Self, SupportsFloat, SupportsIndex

from . import _core, _fork

__all__ = ["Delay", "Interval", "Metrics"]


@cache
def _bounds() -> tuple[int, ...]:
    """The lowest delay of each bucket, in cycles."""
    return _core._delay_bounds()


@dataclass(frozen=True, slots=True)
class Delay:
    """How late a loop runs what becomes due: a histogram over the time in which it ran.

    At each moment of a run the delay is how long a descriptor, a timer or a call of another thread that became due then
    had to wait at most until the loop looked for it. It is 0 while the loop waits. A stall of a second counts as much
    as a second of short turns. All figures are in seconds. Those of a percentile are up to 12.5 % too high, because
    the histogram has buckets.

    max: the longest delay.
    """

    max: float
    _idle: float = field(repr=False)
    _buckets: bytes = field(repr=False)  # of doubles: the seconds in which the delay was in each bucket
    _cycle: float = field(repr=False)  # the length of a cycle in seconds

    @property
    def _seconds(self) -> Any:
        return memoryview(self._buckets).cast("d")

    @property
    def min(self) -> float:
        """The shortest delay in seconds: 0.0 if the loop has ever waited."""
        if self._idle > 0:
            return 0.0
        for bound, seconds in zip(_bounds(), self._seconds, strict=True):
            if seconds > 0:
                return min(bound * self._cycle, self.max)
        return 0.0

    @property
    def mean(self) -> float:
        """The mean of the delay in seconds, over the time in which the loop ran."""
        bounds, total, area = _bounds(), self._idle, 0.0
        for i, seconds in enumerate(self._seconds):
            if seconds > 0:
                end = bounds[i + 1] if i + 1 < len(bounds) else bounds[i]
                total += seconds
                area += seconds * min((bounds[i] + end) / 2 * self._cycle, self.max)
        return area / total if total > 0 else 0.0

    @property
    def total_seconds(self) -> float:
        """The time in which the loop ran, in seconds: what percentiles are parts of."""
        return self._idle + float(sum(self._seconds))

    def seconds_within(self, limit: float) -> float:
        """Return for how many seconds the delay was at most `limit` seconds, to the precision of the buckets."""
        within = self._idle if limit >= 0 else 0.0
        for bound, seconds in zip(_bounds()[1:], self._seconds, strict=False):
            if bound * self._cycle <= limit or self.max <= limit:
                within += seconds
        return within

    def percentile(self, percent: SupportsFloat | SupportsIndex) -> float:
        """Return the delay in seconds that was not exceeded for so much of the time.

        percent: from 0 to 100; 99.9 gives the delay that the loop exceeded for a thousandth of its time.

        Raises TypeError if it is no number, ValueError if it is not from 0 to 100.
        """
        if isinstance(percent, str | bytes | bytearray):
            raise TypeError(f"percent must be a number, not {type(percent).__name__}")
        part = float(percent) / 100
        if not 0 <= part <= 1:
            raise ValueError(f"percent must be from 0 to 100, not {percent}")
        bounds, spent = _bounds(), self._idle
        wanted = part * (spent + sum(self._seconds))
        if spent >= wanted:
            return 0.0
        for i, seconds in enumerate(self._seconds):
            spent += seconds
            if seconds > 0 and spent >= wanted and i + 1 < len(bounds):
                return min(bounds[i + 1] * self._cycle, self.max)
        return self.max

    def __sub__(self, earlier: "Delay") -> "Delay":
        if not isinstance(earlier, Delay):
            return NotImplemented
        pairs = zip(self._seconds, earlier._seconds, strict=True)
        left = [max(now - before, 0.0) for now, before in pairs]
        longest = self.max
        if longest == earlier.max:  # it may be from before: the highest bucket bounds it
            ends = [end * self._cycle for end, seconds in zip(_bounds()[1:], left, strict=False) if seconds > 0]
            longest = min(longest, max(ends, default=0.0))
        buckets = memoryview(bytearray(self._buckets)).cast("d")
        for i, seconds in enumerate(left):
            buckets[i] = seconds
        return Delay(longest, max(self._idle - earlier._idle, 0.0), buckets.tobytes(), self._cycle)


@dataclass(frozen=True, slots=True)
class _Figures:
    loops: int
    turns: int
    callbacks: int
    busy_seconds: float
    idle_seconds: float
    poll_seconds: float
    ready: int
    ready_max: int
    timers: int
    tasks_made: int
    tasks_alive: int
    descriptors: int
    connections_accepted: int
    connections_made: int
    connections_lost: int
    connections_failed: int
    connections_open: int
    bytes_in: int
    bytes_out: int
    tls_handshakes: int
    executor_jobs_waiting: int
    exceptions_reported: int
    slow_callbacks: int
    delay: Delay

    @property
    def utilization(self) -> float:
        """The part of the time in which the loop ran that it did not wait: from 0.0 to 1.0; 0.0 if it did not run."""
        total = self.busy_seconds + self.poll_seconds + self.idle_seconds
        return (total - self.idle_seconds) / total if total > 0 else 0.0


# Of these an interval has what its end has; of all others, the difference.
_NOW = {"loops", "ready", "ready_max", "timers", "tasks_alive", "descriptors", "connections_open"}
_NOW |= {"executor_jobs_waiting"}


@dataclass(frozen=True, slots=True)
class Metrics(_Figures):
    """What a loop, or all loops of the process, have counted and measured by now. It does not change.

    Counters never get smaller. Those of the present, marked by *, do. Times are in seconds, sizes in bytes.

    loops*: loops that there are, closed or not: 1 for loop.metrics().
    turns: rounds of the loop: poll, collect due timers, run what is queued.
    callbacks: callbacks, steps of tasks and handlers of ready descriptors that were begun.
    busy_seconds: time in runs of the loop that was neither idle nor polling. Waiting for the GIL is busy.
    idle_seconds: time in which it waited for descriptors, timers and other threads.
    poll_seconds: time in which it asked the kernel what is ready, without waiting.
    ready*: entries in the ready queue.
    ready_max: the most entries with which a turn began.
    timers*: timers that are armed.
    tasks_made, tasks_alive*: tasks of the type asyncloop.Task, and those of them that are not done.
    descriptors*: descriptors that it watches or that a transport has.
    connections_made: stream connections (TCP, Unix), outgoing and accepted.
    connections_accepted: those that a server has accepted.
    connections_lost: those that have ended.
    connections_failed: those of them that have ended with an exception.
    connections_open*: made and not lost.
    bytes_in, bytes_out: received and sent by transports, by sock_*() methods and by sendfile(). Of TLS: ciphertext.
    tls_handshakes: TLS handshakes that have succeeded.
    executor_jobs_waiting*: jobs of run_in_executor(None, ...) that no thread has begun yet.
    exceptions_reported: calls of the exception handler.
    slow_callbacks: steps that were logged as slow: in debug mode, and by set_slow_callback_log().
    delay: how late it ran what became due.
    time: when it was taken, on the clock time.monotonic().
    """

    time: float
    _of: int = field(repr=False)  # which loop; 0: all

    def __sub__(self, earlier: Self) -> "Interval":
        """Return what happened between an earlier snapshot and this one.

        Raises ValueError if `earlier` is later, or of another loop.
        """
        if not isinstance(earlier, Metrics):
            return NotImplemented
        if earlier._of != self._of:
            raise ValueError("the snapshots are of different loops")
        if earlier.time > self.time:
            raise ValueError("the snapshot to subtract is later")
        figures = {}
        for figure in fields(_Figures):
            value = getattr(self, figure.name)
            figures[figure.name] = value if figure.name in _NOW else value - getattr(earlier, figure.name)
        return Interval(**figures, seconds=self.time - earlier.time)


@dataclass(frozen=True, slots=True)
class Interval(_Figures):
    """What happened between two snapshots: later - earlier. What is marked by * in Metrics is that of its end.

    seconds: how long it was.
    """

    seconds: float


def make(figures: tuple[Any, ...], of: int, jobs_waiting: int, when: float | None = None) -> Metrics:
    """Return a snapshot of what _figures() has returned for the loop with the number `of`; 0: for all loops.

    when: the time at which it was taken; None: now.
    """
    (
        loops,
        turns,
        callbacks,
        run,
        idle,
        poll,
        ready,
        ready_max,
        timers,
        descriptors,
        tasks_made,
        tasks_ended,
        accepted,
        made,
        lost,
        failed,
        bytes_in,
        bytes_out,
        handshakes,
        reports,
        slow,
        longest,
        buckets,
        cycle,
    ) = figures
    return Metrics(
        loops=loops,
        turns=turns,
        callbacks=callbacks,
        busy_seconds=run - idle - poll,
        idle_seconds=idle,
        poll_seconds=poll,
        ready=ready,
        ready_max=ready_max,
        timers=timers,
        tasks_made=tasks_made,
        tasks_alive=tasks_made - tasks_ended,
        descriptors=descriptors,
        connections_accepted=accepted,
        connections_made=made,
        connections_lost=lost,
        connections_failed=failed,
        connections_open=made - lost,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        tls_handshakes=handshakes,
        executor_jobs_waiting=jobs_waiting,
        exceptions_reported=reports,
        slow_callbacks=slow,
        delay=Delay(longest, idle, buckets, cycle),
        time=time.monotonic() if when is None else when,
        _of=of,
    )


def jobs_waiting(loop: Any) -> int:
    """Return how many jobs of a loop's default executor no thread has begun yet."""
    queue = getattr(getattr(loop, "_default_executor", None), "_work_queue", None)
    return queue.qsize() if queue is not None else 0


def metrics() -> Metrics:
    """Return a snapshot of the metrics of all loops of this process, added up.

    Loops that were closed or freed count, too, so that no counter ever gets smaller. (In a subinterpreter: of all loops
    of that.) Any thread may call it at any time.
    """
    waiting = sum(map(jobs_waiting, _fork.loops()))
    return make(_core._figures(), 0, waiting)
