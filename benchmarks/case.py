"""What a benchmark case is, and how the small ones are timed.

A case module defines cases; MODULES names those modules in the order of the tables:

    @micro("call_soon chain", operation="a callback that schedules the next one")
    def chain(loop):
        ...set up...
        yield work          # work(count) performs `count` operations, or is a coroutine function that does
        ...clean up...

run.py gives each (case, loop) a fresh process, so a case may leave its process in any state.
"""

import contextlib
import gc
import importlib
import importlib.util
import inspect
import time
from typing import NamedTuple

MODULES = (
    "micro.call_soon",
    "micro.timers",
    "micro.threadsafe",
    "micro.executor",
    "micro.task_switch",
    "micro.future",
    "micro.group",
    "micro.primitives",
    "micro.timeouts",
    "micro.memory",
    "micro.growth",
    "micro.lifecycle",
    "micro.fdwatch",
    "micro.sock",
    "micro.subprocesses",
    "net.tcp_echo",
    "net.streams",
    "net.udp",
    "net.unix",
    "net.tls",
    "net.memory",
    "net.growth",
    "net.sendfile",
    "net.http_server",
    "net.http_client",
)


class Missing(SystemExit):
    """Something that a case needs is not installed; says what. A run leaves the case out."""


class Result(NamedTuple):
    """What one run of a case gave: times in seconds, memory in bytes (cases about memory only).

    latency is that of single operations (network cases only): what 50 %, 99 % and 99.9 % stayed within, in ns.
    """

    operations: int
    cpu: float
    wall: float
    resident: int | None = None
    latency: list[int] | None = None


class Case:
    """One thing to measure.

    Args:
        name: what --cases selects, "file.what".
        title: how the tables and charts call it.
        operation: what one operation is.
    """

    unit = "ns"  # of CPU time; or "ns wall", or "bytes"
    packages = ()  # what must be importable besides the loop
    has_floor = False  # it can be run without any loop, for what cannot be undercut: run_floor() is there

    def __init__(self, name, title, operation):
        self.name = name
        self.title = title
        self.operation = operation

    def missing_packages(self):
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def prepare(self):
        """Build what the case needs besides Python; raises Missing."""
        if missing := self.missing_packages():
            raise Missing(f"{', '.join(missing)} missing (pip install --group bench)")

    def prepare_floor(self):
        """The same for run_floor()."""

    def pin(self, core, load_core):
        """Keep this process to one core and the load generator to another, if the case has one."""

    def run(self, new_loop, seconds, operations=None):
        """Measure, and return a Result.

        Args:
            new_loop: makes an event loop.
            seconds: how long to measure.
            operations: perform this many instead (rounded up to what the case can do), however long it takes.
        """
        raise NotImplementedError

    def run_floor(self, seconds, operations=None):
        """Measure what the machine needs for it without an event loop; arguments and result as for run()."""
        raise NotImplementedError

    def figure(self, result):
        """Return what the tables show: nanoseconds of CPU per operation, unless the case says otherwise."""
        return result.cpu / result.operations * 1e9


class Micro(Case):
    """A case that happens within this process: a generator function that yields its `work`.

    Args:
        body: generator function, called with a fresh loop.
        title, operation: as for Case.
        batch: `work` is only asked for multiples of this.
    """

    def __init__(self, body, title, operation, batch):
        super().__init__(f"{body.__module__.rpartition('.')[2]}.{body.__name__}", title, operation)
        self.body = contextlib.contextmanager(body)
        self.batch = batch

    def floor(self, body):
        """Decorate what does the same without a loop: a generator function without arguments that yields `work`."""
        self.floor_body = contextlib.contextmanager(body)
        self.has_floor = True
        return body

    def open(self, loop):
        return self.body(loop)

    def open_floor(self):
        return self.floor_body()

    @contextlib.contextmanager
    def work(self, new_loop):
        loop = new_loop()
        try:
            with self.open(loop) as work:
                if inspect.iscoroutinefunction(work):
                    yield lambda count: loop.run_until_complete(work(count))
                else:
                    yield work
        finally:
            loop.close()

    def run(self, new_loop, seconds, operations=None):
        with self.work(new_loop) as work:
            return self.measure(work, seconds, operations)

    def run_floor(self, seconds, operations=None):
        with self.open_floor() as work:
            return self.measure(work, seconds, operations)

    def measure(self, work, seconds, operations):
        if operations is not None:
            work(self.batch)  # warm: the first calls specialise bytecode and fill free lists
            return timed(work, -(-operations // self.batch) * self.batch)
        return timed_for(seconds, work, self.batch)


def micro(title, operation, batch=1):
    """Decorate the generator function of a Micro case; the arguments are those of Micro."""
    return lambda body: Micro(body, title, operation, batch)


def timed(work, count):
    # The set-up's garbage must not be collected on the case's time; the collector itself stays on, as in programs.
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work(count)
    return Result(count, time.process_time() - cpu, time.perf_counter() - wall)


def timed_for(seconds, work, batch):
    """Repeat `work` for `seconds` of wall time, after warming up with growing counts.

    The counts grow until one takes a tenth of that in CPU time (wall time would end this too early on a busy machine),
    so that entering and leaving the loop does not show.
    """
    count = batch
    while timed(work, count).cpu < seconds / 10:
        count *= 2
    operations, cpu, wall = 0, 0.0, 0.0
    while wall < seconds:
        result = timed(work, count)
        operations, cpu, wall = operations + count, cpu + result.cpu, wall + result.wall
    return Result(operations, cpu, wall)


def discover():
    """Import the case modules and return {name: case}, in the order of the tables."""
    found = {}
    for module in MODULES:
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, Case):
                found[value.name] = value
            elif isinstance(value, list):  # a family of cases, such as one echo at three sizes
                found.update({case.name: case for case in value if isinstance(case, Case)})
    return found
