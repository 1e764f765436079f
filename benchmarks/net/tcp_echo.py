"""TCP echo close to the loop: Protocol, BufferedProtocol, sock_*."""

import asyncio
import contextlib

from net.echo import echo


class Echoing(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEchoing(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = memoryview(bytearray(256 * 1024))

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.write(bytes(self.buffer[:nbytes]))  # a copy: a transport may keep what it cannot send at once


def protocol_server(protocol):
    @contextlib.asynccontextmanager
    async def serve(listening):
        server = await asyncio.get_running_loop().create_server(protocol, sock=listening)
        try:
            yield
        finally:
            server.close()

    return serve


@contextlib.asynccontextmanager
async def sock_server(listening):
    loop = asyncio.get_running_loop()
    tasks = set()

    async def accept():
        while True:
            connection, _ = await loop.sock_accept(listening)
            connection.setblocking(False)
            tasks.add(loop.create_task(answer(connection)))

    async def answer(connection):
        with connection, contextlib.suppress(ConnectionError):  # the load generator leaves in the middle of a message
            while data := await loop.sock_recv(connection, 64 * 1024):
                await loop.sock_sendall(connection, data)

    accepting = loop.create_task(accept())
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.wait({accepting, *tasks})
        listening.close()


protocol = echo(protocol_server(Echoing), "tcp_echo.protocol", "TCP echo, Protocol")
buffered = echo(protocol_server(BufferedEchoing), "tcp_echo.buffered", "TCP echo, BufferedProtocol")
sock = echo(sock_server, "tcp_echo.sock", "TCP echo, sock_*")
