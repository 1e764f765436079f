"""Unix sockets, and files sent over them."""

import asyncio
import os
import socket
import tempfile


async def _echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()


async def streams():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await asyncio.start_unix_server(_echo, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


async def refused():
    try:
        await asyncio.open_unix_connection("\0nobody listens here")
    except ConnectionRefusedError:
        pass


async def _send(size, receive, end):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    with far, tempfile.TemporaryFile() as file:
        file.truncate(size)
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
        sending = asyncio.create_task(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        end(transport, sending, far)
        while receive and await loop.sock_recv(far, 1 << 20):
            pass
        await asyncio.wait([sending])
        sending.cancelled() or sending.exception()
        transport.abort()
        await asyncio.sleep(0)


async def sendfile():
    await _send(1 << 20, True, lambda transport, sending, far: sending.add_done_callback(lambda _: transport.close()))


async def sendfile_cancelled():
    await _send(1 << 24, False, lambda transport, sending, far: sending.cancel())


async def sendfile_to_nobody():
    await _send(1 << 24, False, lambda transport, sending, far: far.close())
