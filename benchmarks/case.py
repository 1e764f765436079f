"""Defines what a benchmark case is, and times the small cases.

A module of cases looks like this. MODULES names these modules, in the order of the tables.

    @micro("call_soon chain", operation="a callback that schedules the next one")
    def chain(loop):
        ...set up...
        yield work          # work(count) performs `count` operations, or is a coroutine function that does
        ...clean up...

run.py runs each (case, loop) in a process of its own, so a case may leave its process in any state.
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
    "micro.scale",
    "micro.executor",
    "micro.task_switch",
    "micro.future",
    "micro.group",
    "micro.primitives",
    "micro.waits",
    "micro.streams",
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
    """A case needs something that is not installed; the message says what. The run leaves the case out."""


class Result(NamedTuple):
    """The result of one run of a case: times in seconds, memory in bytes (cases about memory only).

    latency (network cases only) is that of single operations, in ns: the 50th, 99th and 99.9th percentile.
    """

    operations: int
    cpu: float
    wall: float
    resident: int | None = None
    latency: list[int] | None = None


class Case:
    """One thing to measure.

    Args:
        name: "file.what", for --cases.
        title: its name in tables and charts.
        operation: says what one operation is.
    """

    unit = "ns"  # of CPU time; or "ns wall", or "bytes"
    packages = ()  # that it needs, besides that of the loop
    has_floor = False  # run_floor() is there: it can be run without a loop, to show the lower limit

    def __init__(self, name, title, operation):
        self.name = name
        self.title = title
        self.operation = operation

    def missing_packages(self):
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def prepare(self):
        """Build the programs that the case needs. Raises Missing."""
        if missing := self.missing_packages():
            raise Missing(f"{', '.join(missing)} missing (pip install --group bench)")

    def prepare_floor(self):
        """Build the programs that run_floor() needs. Raises Missing."""

    def pin(self, core, load_core):
        """Keep this process to one core and the load generator to another, if the case has one."""

    def run(self, new_loop, seconds, operations=None):
        """Measure, and return a Result.

        Args:
            new_loop: makes an event loop.
            seconds: how long to measure.
            operations: if not None, perform so many (rounded up to whole batches), however long it takes.
        """
        raise NotImplementedError

    def run_floor(self, seconds, operations=None):
        """Measure the same work without an event loop; arguments and result as for run()."""
        raise NotImplementedError

    def figure(self, result):
        """Return the number for the tables: nanoseconds of CPU time per operation, unless a subclass differs."""
        return result.cpu / result.operations * 1e9


class Micro(Case):
    """A case within one process: a generator function that yields its `work`.

    Args:
        body: the generator function, called with a new loop.
        title, operation: as for Case.
        batch: `work` is called with multiples of this number only.
    """

    def __init__(self, body, title, operation, batch):
        super().__init__(f"{body.__module__.rpartition('.')[2]}.{body.__name__}", title, operation)
        self.body = contextlib.contextmanager(body)
        self.batch = batch

    def floor(self, body):
        """Decorate a generator function without arguments that yields `work`: the same work without a loop."""
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
            work(self.batch)  # warm up: the first calls specialise bytecode and fill free lists
            return timed(work, -(-operations // self.batch) * self.batch)
        return timed_for(seconds, work, self.batch)


def micro(title, operation, batch=1):
    """Decorate the generator function of a Micro case; the arguments are those of Micro."""
    return lambda body: Micro(body, title, operation, batch)


def timed(work, count):
    # Collect the garbage of the set-up before the clock starts. The collector stays on, as in programs.
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work(count)
    return Result(count, time.process_time() - cpu, time.perf_counter() - wall)


def timed_for(seconds, work, batch):
    """Repeat `work` for `seconds` of wall time, after a warm-up with growing counts.

    The count grows until `work` takes a tenth of `seconds` in CPU time, so that the time to enter and leave the loop
    does not matter. (On a busy machine wall time would end this too early.)
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
