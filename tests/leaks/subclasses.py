"""Python subclasses of the loop, the future, the task and the protocols' bases."""

import asyncio
import socket


def loop_with_overrides(new_event_loop):
    plain = new_event_loop()
    plain.close()

    class Loop(type(plain)):
        def call_soon(self, *args, **options):
            return super().call_soon(*args, **options)

        def create_task(self, *args, **options):
            return super().create_task(*args, **options)

        def time(self):
            return super().time()

    loop = Loop()
    loop.run_until_complete(loop.create_task(asyncio.sleep(0.0001)))
    loop.close()


def loop_with_instance_overrides(new_event_loop):
    loop = new_event_loop()
    loop.call_soon = type(loop).call_soon.__get__(loop)
    loop.run_until_complete(asyncio.sleep(0))
    del loop.call_soon
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def future():
    loop = asyncio.get_running_loop()

    class Future(type(loop.create_future())):
        def set_result(self, result):
            super().set_result(result)

    made = Future(loop=loop)
    made.remark = made
    loop.call_soon(made.set_result, object())
    await made
    Future(loop=loop).add_done_callback(print)


async def task():
    loop = asyncio.get_running_loop()

    class Task(type(asyncio.current_task())):
        def cancel(self, *args, **options):
            return super().cancel(*args, **options)

    made = Task(asyncio.sleep(0), loop=loop)
    made.remark = made
    await made
    made = Task(asyncio.sleep(60), loop=loop)
    await asyncio.sleep(0)
    made.cancel()
    await asyncio.wait([made])


async def protocol_with_slots():
    class Protocol(asyncio.Protocol):
        __slots__ = ("lost", "transport")

        def connection_made(self, transport):
            self.transport = transport

        def connection_lost(self, exc):
            self.lost.set_result(None)

    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        transport, protocol = await loop.create_connection(Protocol, sock=near)
        protocol.lost = loop.create_future()
        transport.close()
        await protocol.lost
