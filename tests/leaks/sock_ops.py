"""The sock_* methods: done at once, after waiting, cancelled, failed, never awaited."""

import asyncio
import contextlib
import socket


@contextlib.contextmanager
def _pair():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        yield a, b


def _fill(sock):
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


async def at_once():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        await loop.sock_sendall(a, b"12345")
        assert await loop.sock_recv(b, 3) == b"123"
        assert await loop.sock_recv_into(b, bytearray(10)) == 2


async def after_waiting():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        for call in (loop.sock_recv(a, 10), loop.sock_recv_into(a, bytearray(10)), loop.sock_recvfrom(a, 10)):
            loop.call_soon(b.send, b"x")
            await call


async def sendall_to_a_slow_reader():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        task = asyncio.create_task(loop.sock_sendall(a, bytearray(1_000_000)))
        left = 1_000_000
        while left:
            left -= len(await loop.sock_recv(b, 100_000))
        await task


async def cancelled():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        _fill(b)
        calls = [loop.sock_recv(b, 10), loop.sock_sendall(b, b"x")]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def timed_out():
    loop = asyncio.get_running_loop()
    with _pair() as (a, _):
        try:
            await asyncio.wait_for(loop.sock_recv_into(a, bytearray(10)), 0.0001)
        except TimeoutError:
            pass


async def failed():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        b.close()
        for call in (loop.sock_sendall(a, b"x"), loop.sock_recv(a, -1), loop.sock_recv_into(a, b"x")):
            try:
                await call
            except (OSError, ValueError, TypeError):
                pass


async def never_awaited():
    loop = asyncio.get_running_loop()
    with _pair() as (a, b):
        b.send(b"x")
        call = loop.sock_recv(a, 10)
        if hasattr(call, "close"):
            call.close()


async def connect_and_accept():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        accepting = asyncio.create_task(loop.sock_accept(listener))
        await asyncio.sleep(0)
        await loop.sock_connect(client, listener.getsockname())
        conn, _ = await accepting
        conn.close()


async def connect_refused():
    loop = asyncio.get_running_loop()
    with socket.socket() as unused, socket.socket() as client:
        unused.bind(("127.0.0.1", 0))
        client.setblocking(False)
        try:
            await loop.sock_connect(client, unused.getsockname())
        except ConnectionRefusedError:
            pass


async def accept_cancelled():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(loop.sock_accept(listener))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def datagrams():
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        for sock in (a, b):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        await loop.sock_sendto(a, b"one", b.getsockname())
        await loop.sock_sendto(a, b"two", b.getsockname())
        await loop.sock_recvfrom(b, 10)
        await loop.sock_recvfrom_into(b, bytearray(10))


def waiting_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    with _pair() as (a, _):
        task = loop.create_task(loop.sock_recv(a, 10))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
