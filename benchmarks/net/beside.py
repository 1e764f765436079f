"""The cases of latency.py: a small TCP echo beside other work of the loop, and timers of an idle loop."""

import asyncio
import contextlib
import os
import resource
import time
from typing import NamedTuple

from net.compile import program
from net.echo import listen
from net.udp import bound

from net import load

CONNECTIONS = 8  # of the echo
TIMERS = 100_000  # that are due at once
ARMED_AT_ONCE = 1_000


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Counting(asyncio.DatagramProtocol):
    count = 0

    def datagram_received(self, data, addr):
        self.count += 1


class Working(Counting):
    """Takes 0.3 ms for each datagram."""

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        work(0.0003)


class Sink(asyncio.Protocol):
    def data_received(self, data):
        pass


def work(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


# --- what happens beside the echo: each is an async context manager that yields the port of the load -----------------


@contextlib.asynccontextmanager
async def nothing(loop):
    yield 0


def flood(protocol):
    @contextlib.asynccontextmanager
    async def flooded(loop):
        sock = bound()
        sock.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(protocol, sock=sock)
        yield sock.getsockname()[1]
        transport.close()

    return flooded


@contextlib.asynccontextmanager
async def callbacks(loop):
    """30 callbacks of 1 ms each in every turn."""
    runs = True

    def callback():
        work(0.001)
        if runs:
            loop.call_soon(callback)

    for _ in range(30):
        loop.call_soon(callback)
    yield 0
    runs = False


def server(protocol):
    @contextlib.asynccontextmanager
    async def served(loop):
        listening = listen()
        server = await loop.create_server(protocol, sock=listening)
        yield listening.getsockname()[1]
        server.close()

    return served


@contextlib.asynccontextmanager
async def timers(loop):
    """100,000 timers that are due at once, again and again; armed in many turns."""
    runs = True
    armed = fired = 0
    when = 0.0

    def fire():
        nonlocal fired
        fired += 1
        if fired == TIMERS and runs:
            begin()

    def begin():
        nonlocal armed, fired, when
        armed = fired = 0
        when = loop.time() + 0.25
        arm()

    def arm():
        nonlocal armed
        for _ in range(ARMED_AT_ONCE):
            loop.call_at(when, fire)
        armed += ARMED_AT_ONCE
        if armed < TIMERS and runs:
            loop.call_soon(arm)

    begin()
    yield 0
    runs = False


@contextlib.asynccontextmanager
async def chain(loop):
    """A callback that schedules itself."""
    runs = True

    def callback():
        if runs:
            loop.call_soon(callback)

    callback()
    yield 0
    runs = False


class Beside(NamedTuple):
    """A load beside the echo.

    title: for the table.
    load: what the generator does, as beside.c calls it.
    run: the async context manager above.
    """

    title: str
    load: str
    run: object


CASES = {
    "latency.alone": Beside("nothing", "none", nothing),
    "latency.udp_flood": Beside("a UDP flood", "udp", flood(Counting)),
    "latency.udp_work": Beside("a UDP flood, 0.3 ms of work each", "udp", flood(Working)),
    "latency.callbacks": Beside("30 callbacks of 1 ms a turn", "none", callbacks),
    "latency.bulk": Beside("one bulk stream", "bulk", server(Sink)),
    "latency.connections": Beside("connections that open and close", "connect", server(Echo)),
    "latency.timers_due": Beside("100,000 timers due at once", "none", timers),
    "latency.call_soon": Beside("a busy call_soon chain", "none", chain),
}


def build():
    """Return the path of the generator; raises Missing."""
    return program("beside")


def measure(name, new_loop, seconds, core=None):
    """Run the echo beside a case on a new loop; return load.run()'s Result.

    Args:
        name: a key of CASES.
        new_loop: makes an event loop.
        seconds: how long to measure, after a third of that for warming up.
        core: the CPU that the generator may use; None for any.
    """
    case = CASES[name]

    async def main():
        loop = asyncio.get_running_loop()
        listening = listen()
        port = listening.getsockname()[1]
        server = await loop.create_server(Echo, sock=listening)
        async with case.run(loop) as load_port:
            command = [build(), port, os.getpid(), CONNECTIONS, seconds / 3, seconds, case.load, load_port]
            result = await asyncio.to_thread(load.run, command, core)
        server.close()
        return result

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


# --- timers ---------------------------------------------------------------------------------------------------------

MICROSECONDS = 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000


class Lateness(NamedTuple):
    """What measure_timers() gives: seconds by which each timer was late, by its delay; what they took.

    wakeups: of the thread, all in all: times that it slept.
    """

    late: dict
    wakeups: int


def delays(seconds):
    """Return a list of delays in seconds that take about so long: the shorter ones more often, as long ones would
    take all the time; the longest are left out where they would not fit."""
    share = seconds / len(MICROSECONDS)
    chosen = []
    for delay in MICROSECONDS:
        chosen += [delay / 1e6] * min(int(share / (delay / 1e6) + 0.5), 500)
    return chosen


def measure_timers(new_loop, wanted):
    """Arm one timer after the other on a loop that has nothing else to do; return their Lateness."""
    late = {}

    async def one(loop, delay):
        done = loop.create_future()

        def fire():
            late.setdefault(delay, []).append(time.monotonic() - begin - delay)
            done.set_result(None)

        begin = time.monotonic()
        loop.call_later(delay, fire)
        await done

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            await one(loop, 0.0003)
        late.clear()
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        for delay in wanted:
            await one(loop, delay)
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    with asyncio.Runner(loop_factory=new_loop) as runner:
        wakeups = runner.run(main())
    return Lateness(late, wakeups)
