"""Echo over TLS, and connections that come and go with and without it."""

import asyncio
import contextlib
import tempfile

from net.echo import Listening
from net.streams import answer
from net.tcp_echo import Echoing

from net import pyload


class PyEcho(Listening):
    """A server of this process under pyload.py.

    Args:
        name, title, operation: as for Case.
        kind: words of "tls connect".
        size: of a message, in bytes.
        protocol: the protocol to serve with; None for streams.
    """

    def __init__(self, name, title, operation, kind, size, protocol=Echoing):
        super().__init__(name, title, operation)
        self.kind = kind
        self.size = size
        self.protocol = protocol
        self.has_floor = "tls" not in kind

    def prepare(self):
        pass  # nothing in C

    @contextlib.asynccontextmanager
    async def serve(self, listening):
        with certified(self.kind) as context:
            if self.protocol is None:
                server = await asyncio.start_server(answer, sock=listening, ssl=context)
            else:
                loop = asyncio.get_running_loop()
                server = await loop.create_server(self.protocol, sock=listening, ssl=context)
            try:
                yield
            finally:
                server.close()

    def drive(self, port, seconds, operations, pid=None):
        return pyload.drive(port, self.kind, self.size, seconds, operations, self.load_core, pid=pid)


@contextlib.contextmanager
def certified(kind):
    """Yield the SSLContext of a server if "tls" is among the words of `kind`, or else None."""
    with tempfile.TemporaryDirectory() as folder:
        yield pyload.certificate(folder) if "tls" in kind else None


def echo(name, title, kind, size, **options):
    kib = size // 1024
    operation = f"a message of {kib} KiB echoed, 16 connections"
    return PyEcho(f"{name}_{kib}k", f"{title}, {kib} KiB", operation, kind, size, **options)


tls_1k = echo("tls.echo", "TLS echo, Protocol", "tls", 1024)
tls_64k = echo("tls.echo", "TLS echo, Protocol", "tls", 64 * 1024)
tls_100k = echo("tls.echo", "TLS echo, Protocol", "tls", 100 * 1024)
tls_streams = echo("tls.streams", "TLS echo, streams", "tls", 1024, protocol=None)
visit = PyEcho("connect.plain", "connections", "a connection accepted, served and closed", "connect", 64)
visit_tls = PyEcho("connect.tls", "connections, TLS", "the same with TLS", "connect tls", 64)
