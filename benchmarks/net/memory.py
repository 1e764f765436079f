"""What a connection that does nothing costs in memory."""

import asyncio
import contextlib
import functools
import gc
import os
import time

from case import Result
from micro.memory import resident_bytes
from net.echo import listen
from net.network import Network
from net.tls import certified

from net import floor, pyload

FIRST = 100  # connections before the ones that count: what those import and cache is not theirs
PATIENCE = 60  # seconds for all of them


class Staying(asyncio.Protocol):
    made = 0

    def connection_made(self, transport):
        self.transport = transport
        Staying.made += 1


class IdleConnections(Network):
    """Resident bytes of the serving process per connection; a process can tell this once only.

    Args:
        name, title: as for Case.
        kind: "tls" or "".
        count: of connections.
    """

    unit = "bytes"

    def __init__(self, name, title, kind, count):
        super().__init__(name, title, f"a connection that has not sent anything, {count:,} of them")
        self.kind = kind
        self.count = count
        self.has_floor = "tls" not in kind

    def prepare(self):
        pass  # nothing in C

    def figure(self, result):
        return result.resident / result.operations

    async def measure(self, seconds, operations):
        pyload.allow_many_files()
        listening = listen()
        port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        with certified(self.kind) as context:
            server = await loop.create_server(Staying, sock=listening, ssl=context, backlog=4096)
            connections = self.connections(port, operations or self.count, lambda: Staying.made, os.getpid())
            try:
                while (result := next(connections)) is None:
                    await asyncio.sleep(0.02)
                return result
            finally:
                connections.close()
                server.close()

    def run_floor(self, seconds, operations=None):
        pyload.allow_many_files()
        listening = listen()
        listening.listen(4096)
        port = listening.getsockname()[1]
        with floor.serving("echo", listening) as pid:
            made = functools.partial(connections_of, pid)
            with contextlib.closing(self.connections(port, operations or self.count, made, pid)) as connections:
                while (result := next(connections)) is None:
                    time.sleep(0.1)
                return result

    def connections(self, port, count, made, pid):
        """Make the first and the counted connections; yield None while they are not all there, then the Result.

        Args:
            port: of the server.
            count: of those that count.
            made: tells how many connections the server has.
            pid: of the server.
        """
        with pyload.peer(port, f"idle {self.kind}", FIRST, self.load_core) as first:
            yield from self.until(lambda: made() == FIRST, first)
            gc.collect()
            before, cpu, wall = resident_bytes(pid), time.process_time(), time.perf_counter()
            with pyload.peer(port, f"idle {self.kind}", count, self.load_core) as client:
                yield from self.until(lambda: made() == FIRST + count, client)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                gc.collect()
                yield Result(count, cpu, wall, resident_bytes(pid) - before)

    def until(self, done, client):
        end = time.monotonic() + PATIENCE
        while not done():
            if client.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the clients of the idle connections ended early, or cannot connect")
            yield None


def connections_of(pid):
    """Return how many sockets a process has besides a listening one."""
    folder = f"/proc/{pid}/fd"
    return sum(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder)) - 1


connection = IdleConnections("memory.connection", "bytes per idle connection", "", 10_000)
connection_tls = IdleConnections("memory.connection_tls", "bytes per idle TLS connection", "tls", 2_000)
