"""Servers and clients over TCP."""

import asyncio
import socket


class _Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class _Client(asyncio.Protocol):
    def __init__(self):
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received += data

    def connection_lost(self, exc):
        self.lost.set_result(None)


async def _serve(factory=_Echo):
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


async def made_and_closed():
    server, _ = await _serve()
    assert server.is_serving()
    repr(server)
    server.close()
    await server.wait_closed()


async def never_started():
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0, start_serving=False)
    server.close()


async def clients():
    server, address = await _serve()
    loop = asyncio.get_running_loop()
    for _ in range(3):
        transport, protocol = await loop.create_connection(_Client, *address)
        transport.write(b"hello")
        while len(protocol.received) < 5 and not protocol.lost.done():
            await asyncio.sleep(0)
        transport.close()
        await protocol.lost
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.001)


async def clients_that_reset():
    server, address = await _serve()
    transport, protocol = await asyncio.get_running_loop().create_connection(_Client, *address)
    transport.write(bytes(1000))
    transport.abort()
    await protocol.lost
    server.close()
    await asyncio.sleep(0.001)


async def serve_forever_cancelled():
    server, _ = await _serve()
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        try:
            await asyncio.get_running_loop().create_connection(_Client, *unused.getsockname())
        except ConnectionRefusedError:
            pass


async def cancelled_while_connecting():
    server, address = await _serve()
    task = asyncio.create_task(asyncio.get_running_loop().create_connection(_Client, *address))
    task.cancel()
    await asyncio.wait([task])
    server.close()
    await asyncio.sleep(0)


async def accepted_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            conn, _ = listener.accept()
            transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(_Client, conn)
            transport.close()
            await protocol.lost


async def names():
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80)
    await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)


def serving_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    server = loop.run_until_complete(loop.create_server(_Echo, "127.0.0.1", 0))
    loop.close()
    server.close()
