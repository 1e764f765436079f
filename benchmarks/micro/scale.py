"""Loops in several threads at once: what an operation costs when other loops run beside it.

On a free-threaded Python CPU time per operation stays the same where the loops do not get in each other's way, and the
rate grows with the threads. With a GIL they take turns. There the figures say what handing over the GIL costs.
"""

import asyncio
import threading

from case import Micro

LOOPS = (1, 2)
BATCH = 2000


async def nothing():
    pass


async def tasks(count):
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_task(nothing())


async def callbacks(count):
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def step():
        nonlocal count
        count -= 1
        if count > 0:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


async def futures(count):
    """Two tasks wake each other: each wake-up is an operation."""
    loop = asyncio.get_running_loop()
    there, back = loop.create_future(), loop.create_future()

    async def answer():
        nonlocal there
        while True:
            await there
            there = loop.create_future()
            back.set_result(None)

    task = loop.create_task(answer())
    await asyncio.sleep(0)
    for _ in range(count // 2):
        there.set_result(None)
        await back
        back = loop.create_future()
    task.cancel()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self, count, done):
        self.left = count
        self.done = done
        self.missing = 0

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.missing = 1024
        self.transport.write(bytes(1024))

    def data_received(self, data):
        self.missing -= len(data)
        if self.missing > 0:
            return
        self.left -= 1
        if self.left > 0:
            self.send()
        else:
            self.done.set_result(None)


async def tcp(count):
    """Echo of 1 KiB over TCP; both ends are in the same loop."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(lambda: Client(count, done), *server.sockets[0].getsockname())
    await done
    transport.close()
    server.close()


async def streams(count):
    """The same with streams."""

    async def serve(reader, writer):
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(count):
        writer.write(bytes(1024))
        await reader.readexactly(1024)
    writer.close()
    await writer.wait_closed()
    server.close()


OPERATIONS = {
    callbacks: "a callback that schedules the next one",
    tasks: "a task that is made and awaited",
    futures: "a wake-up of one task by another",
    tcp: "an echo of 1 KiB over TCP, both ends",
    streams: "an echo of 1 KiB with streams, both ends",
}


def run_all(new_loop, mains):
    """Run each coroutine function in a loop and thread of its own."""

    def run(main):
        loop = new_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    threads = [threading.Thread(target=run, args=(main,)) for main in mains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def scaled(main, loops):
    """The case in which so many loops share the operations."""

    def body(loop):
        def work(count):
            run_all(type(loop), [lambda: main(count // loops)] * loops)

        yield work

    body.__name__ = f"{main.__name__}_{loops}"
    title = f"{main.__name__}, {loops} loop{'s' if loops > 1 else ''}"
    return Micro(body, title, OPERATIONS[main] + (f", of {loops} loops at once" if loops > 1 else ""), BATCH)


def channel_case(maxsize):
    """Items from the loop of one thread to that of another."""

    def body(loop):
        import asyncloop

        def work(count):
            channel = asyncloop.Channel(maxsize)

            async def put():
                for number in range(count):
                    await channel.put(number)
                channel.shutdown()

            async def get():
                async for _ in channel:
                    pass

            run_all(type(loop), [put, get])

        yield work

    body.__name__ = f"channel_{maxsize or 'unbounded'}"
    return Micro(body, f"Channel({maxsize})", "an item from the loop of a thread to that of another one", BATCH)


cases = [scaled(main, loops) for main in OPERATIONS for loops in LOOPS]
cases += [channel_case(maxsize) for maxsize in (0, 100)]
