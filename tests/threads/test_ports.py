"""One port for all workers: a socket of their own for each (SO_REUSEPORT), or one listening socket for all."""

import asyncio
import contextlib
import functools
import os
import socket
import threading
from collections import Counter

import pytest

import asyncloop
from asyncloop import _workers

CONNECTIONS = 1000
AT_ONCE = 10


class Tell(asyncio.Protocol):
    """Tells the number of its worker; a client that has sent "stop" stops all workers."""

    def __init__(self, worker, transports):
        self.worker = worker
        self.transports = transports

    def connection_made(self, transport):
        self.transport = transport
        self.transports.add(transport)
        transport.write(b"%d" % self.worker.number)
        transport.write_eof()

    def data_received(self, data):
        if data == b"stop":
            self.worker.stop()

    def connection_lost(self, exc):
        self.transports.remove(self.transport)


async def serve(worker, *address, **options):
    transports = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Tell(worker, transports), *address, backlog=2 * CONNECTIONS, **options)
    await worker.stopping.wait()
    server.close()
    while transports:
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)


async def serve_own_socket(port, worker):
    await serve(worker, "127.0.0.1", port, reuse_port=True)


async def serve_shared_socket(fd, worker):
    await serve(worker, sock=socket.socket(fileno=os.dup(fd)))


async def ask(port, gate):
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(number)


async def load(port, workers):
    """-> how many of CONNECTIONS each worker has served, once all of them serve."""
    gate = asyncio.Semaphore(AT_ONCE)
    try:
        seen = set()
        while len(seen) < workers:
            with contextlib.suppress(ConnectionError):  # no worker serves yet
                seen |= set(await asyncio.gather(*(ask(port, gate) for _ in range(AT_ONCE))))
        return Counter(await asyncio.gather(*(ask(port, gate) for _ in range(CONNECTIONS))))
    finally:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"stop")
        await writer.drain()
        writer.close()


def serve_and_load(main, port, how, workers):
    counts = []

    def run():
        counts.append(asyncio.run(asyncio.wait_for(load(port, workers), 60)))

    thread = threading.Thread(target=run)
    thread.start()
    assert asyncloop.run_workers(main, workers=workers, how=how) == [None] * workers
    thread.join(60)
    (count,) = counts
    assert sum(count.values()) == CONNECTIONS
    return count


@pytest.mark.parametrize("how", _workers._available())
def test_the_kernel_spreads_connections_over_sockets_of_one_port(how):
    """It takes a hash of the addresses: the deviation is that of 1,000 throws of a coin, 16."""
    with socket.socket() as holder:  # which chooses the port
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        count = serve_and_load(functools.partial(serve_own_socket, port), port, how, 2)
    assert all(400 < count[number] < 600 for number in range(2)), count


@pytest.mark.parametrize("how", [how for how in _workers._available() if how != "processes"])
def test_loops_share_a_listening_socket(how):
    """Whoever comes first accepts: each connection is served, and none by two. It need not be even."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2 * CONNECTIONS)
        port = listening.getsockname()[1]
        serve_and_load(functools.partial(serve_shared_socket, listening.fileno()), port, how, 2)
