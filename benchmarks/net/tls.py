"""Echo over TLS, and connections that come and go with it."""

import asyncio
import os
import socket
import tempfile

from net.echo import Echo
from net.streams import answer
from net.tcp_echo import Echoing

from net import pyload


class PyEcho(Echo):
    """A server of this process under pyload.py; the figure is its CPU time per operation.

    Args:
        name, title, operation: as for Case.
        kind: words of "tls unix connect".
        size: of a message, in bytes.
        protocol: the protocol to serve with; None for streams.
    """

    def __init__(self, name, title, operation, kind, size, protocol=Echoing):
        super().__init__(None, 1, name, title)
        self.name = name
        self.title = title
        self.operation = operation
        self.kind = kind
        self.size = size
        self.protocol = protocol

    def prepare(self):
        pass

    async def measure(self, seconds, operations):
        with tempfile.TemporaryDirectory() as folder:
            context = pyload.certificate(folder) if "tls" in self.kind else None
            server, address = await self.serve_on(folder, context)
            drive = pyload.drive, address, self.kind, self.size, seconds, operations, self.load_core
            try:
                return await asyncio.to_thread(*drive)
            finally:
                server.close()

    async def serve_on(self, folder, context):
        if "unix" in self.kind:
            address = os.path.join(folder, "socket")
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(address)
        else:
            listening = socket.create_server(("127.0.0.1", 0), backlog=128)
            address = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        if self.protocol is None:
            make = asyncio.start_unix_server if "unix" in self.kind else asyncio.start_server
            return await make(answer, sock=listening, ssl=context), address
        make = loop.create_unix_server if "unix" in self.kind else loop.create_server
        return await make(self.protocol, sock=listening, ssl=context), address


def echo(name, title, kind, size, **options):
    kib = size // 1024
    operation = f"a message of {kib} KiB echoed, 16 connections"
    return PyEcho(f"{name}_{kib}k", f"{title}, {kib} KiB", operation, kind, size, **options)


tls_1k = echo("tls.echo", "TLS echo, Protocol", "tls", 1024)
tls_100k = echo("tls.echo", "TLS echo, Protocol", "tls", 100 * 1024)
tls_streams = echo("tls.streams", "TLS echo, streams", "tls", 1024, protocol=None)
unix_1k = echo("unix.echo", "Unix echo, Protocol", "unix", 1024)
visit = PyEcho("connect.plain", "connections", "a connection accepted, served and closed", "connect", 64)
visit_tls = PyEcho("connect.tls", "connections, TLS", "the same with TLS", "connect tls", 64)
