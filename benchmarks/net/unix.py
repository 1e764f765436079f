"""Echo over Unix sockets."""

import asyncio
import contextlib
import socket
import tempfile

from net.network import Network
from net.tcp_echo import Echoing

from net import floor, load


class UnixEcho(Network):
    """Messages echoed to 16 connections of a Unix socket.

    Args:
        name, title: as for Case.
        size: of a message, in bytes.
    """

    has_floor = True

    def __init__(self, name, title, size):
        super().__init__(name, title, f"a message of {size} bytes echoed, 16 connections")
        self.size = size

    async def measure(self, seconds, operations):
        with listen() as (listening, path):
            server = await asyncio.get_running_loop().create_unix_server(Echoing, sock=listening)
            try:
                return await asyncio.to_thread(load.drive, path, self.size, seconds, operations, self.load_core)
            finally:
                server.close()

    def run_floor(self, seconds, operations=None):
        with listen() as (listening, path), floor.serving("echo", listening) as pid:
            return load.drive(path, self.size, seconds, operations, self.load_core, pid=pid)


@contextlib.contextmanager
def listen():
    """Yield a listening Unix socket and its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen(128)
        listening.setblocking(False)
        yield listening, path


unix_1k = UnixEcho("unix.echo_1k", "Unix echo, Protocol, 1 KiB", 1024)
