"""A file sent over TCP without a copy through Python."""

import asyncio
import contextlib
import os
import tempfile

from net.echo import listen
from net.network import peered

from net import pyload

MIB = 1024 * 1024
SIZE = 64  # of the file, in MiB


class Sender(asyncio.Protocol):
    def __init__(self, connected):
        self.connected = connected

    def connection_made(self, transport):
        self.connected.set_result(transport)


@contextlib.contextmanager
def file():
    """Yield an open file of SIZE MiB, without a name."""
    with tempfile.TemporaryFile() as opened:
        for _ in range(SIZE):
            opened.write(os.urandom(MIB))
        opened.flush()
        yield opened


@peered("sendfile", operation=f"a MiB of a file of {SIZE} sent over TCP by loop.sendfile()", batch=SIZE)
def tcp(loop, core):
    listening = listen()
    port = listening.getsockname()[1]
    connected = loop.create_future()
    server = loop.run_until_complete(loop.create_server(lambda: Sender(connected), sock=listening))
    with file() as opened, pyload.peer(port, "drain", core=core):
        transport = loop.run_until_complete(asyncio.wait_for(connected, 10))

        async def work(count):
            for _ in range(count // SIZE):
                assert await loop.sendfile(transport, opened) == SIZE * MIB

        yield work
        transport.close()
        server.close()


@tcp.floor
def blocking(core):
    listening = listen()
    listening.setblocking(True)
    port = listening.getsockname()[1]
    with file() as opened, listening, pyload.peer(port, "drain", core=core):
        connection, _ = listening.accept()

        def work(count):
            for _ in range(count // SIZE):
                sent = 0
                while sent < SIZE * MIB:
                    sent += os.sendfile(connection.fileno(), opened.fileno(), sent, SIZE * MIB - sent)

        with connection:
            yield work
