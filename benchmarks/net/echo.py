"""What all echo cases share: a listening socket, a server in this process, the load from outside."""

import asyncio
import socket

from net.network import Network

from net import floor, load

SIZES = (1, 10, 100)  # KiB


class Listening(Network):
    """A server on TCP that a load generator is sent to; it or its class has

    serve(listening): an async context manager; serves the listening socket while it is open.
    drive(port, seconds, operations, pid=None): send the generator, and return its Result.
    """

    has_floor = True
    floor_kind, floor_size = "echo", 0  # as for floor.serving()

    async def measure(self, seconds, operations):
        listening = listen()
        port = listening.getsockname()[1]
        async with self.serve(listening):
            return await asyncio.to_thread(self.drive, port, seconds, operations)

    def run_floor(self, seconds, operations=None):
        listening = listen()
        port = listening.getsockname()[1]
        with floor.serving(self.floor_kind, listening, self.floor_size) as pid:
            return self.drive(port, seconds, operations, pid)


class Echo(Listening):
    """Messages echoed to 16 connections.

    Args:
        serve: async context manager called with a listening socket; serves it while it is open.
        size: of a message, in KiB.
        name, title: as for Case, without the size.
    """

    def __init__(self, serve, size, name, title):
        super().__init__(f"{name}_{size}k", f"{title}, {size} KiB", f"a message of {size} KiB echoed, 16 connections")
        self.serve = serve
        self.size = size * 1024

    def drive(self, port, seconds, operations, pid=None):
        return load.drive(port, self.size, seconds, operations, self.load_core, pid=pid)


def listen():
    """Return a socket that listens on some port of 127.0.0.1.

    It names its protocol, as those do that a loop makes of a host name: without it asyncio does not switch Nagle's
    algorithm off, and who writes twice waits 40 ms for the acknowledgement.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    listening.setblocking(False)
    return listening


def echo(serve, name, title):
    """Return the Echo cases of a server, one a size."""
    return [Echo(serve, size, name, title) for size in SIZES]
