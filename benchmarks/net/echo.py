"""What all echo cases share: a listening socket, a server in this process, the load from outside."""

import asyncio
import os
import socket

from case import Case

from net import load

SIZES = (1, 10, 100)  # KiB


class Echo(Case):
    """Messages echoed to 16 connections; the figure is the CPU time of the serving process per message.

    Args:
        serve: async context manager called with a listening socket; serves it while it is open.
        size: of a message, in KiB.
        name, title: as for Case, without the size.
    """

    def __init__(self, serve, size, name, title):
        super().__init__(f"{name}_{size}k", f"{title}, {size} KiB", f"a message of {size} KiB echoed, 16 connections")
        self.serve = serve
        self.size = size * 1024
        self.load_core = None

    def prepare(self):
        load.build()

    def pin(self, core, load_core):
        os.sched_setaffinity(0, {core})
        self.load_core = load_core

    def run(self, new_loop, seconds, operations=None):
        self.prepare()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(self.measure(seconds, operations))

    async def measure(self, seconds, operations):
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with self.serve(listening):
            return await asyncio.to_thread(load.drive, port, self.size, seconds, operations, self.load_core)


def echo(serve, name, title):
    """Return the Echo cases of a server, one a size."""
    return [Echo(serve, size, name, title) for size in SIZES]
