"""asyncio's own queue and locks on the loop: tasks that hand something over."""

import asyncio

from case import micro


async def together(loop, *coroutines):
    for task in [loop.create_task(coroutine) for coroutine in coroutines]:
        await task


@micro("Queue(1)", operation="an item put by one task and taken by another")
def queue(loop):
    async def work(count):
        items = asyncio.Queue(1)

        async def produce():
            for i in range(count):
                await items.put(i)

        async def consume():
            for _ in range(count):
                await items.get()

        await together(loop, produce(), consume())

    yield work


async def hold(lock, count):
    for _ in range(count):
        async with lock:
            await asyncio.sleep(0)


@micro("Lock", operation="a Lock taken, held over a sleep(0) and released; 10 tasks want it", batch=10)
def lock(loop):
    async def work(count):
        lock = asyncio.Lock()
        await together(loop, *[hold(lock, count // 10) for _ in range(10)])

    yield work


@micro("Event", operation="a task wakes the other through an Event", batch=2)
def event(loop):
    async def work(count):
        ping, pong = asyncio.Event(), asyncio.Event()

        async def player(mine, other):
            for _ in range(count // 2):
                await mine.wait()
                mine.clear()
                other.set()

        ping.set()
        await together(loop, player(ping, pong), player(pong, ping))

    yield work


@micro("Semaphore(5)", operation="a Semaphore(5) taken, held over a sleep(0) and released; 10 tasks want it", batch=10)
def semaphore(loop):
    async def work(count):
        semaphore = asyncio.Semaphore(5)
        await together(loop, *[hold(semaphore, count // 10) for _ in range(10)])

    yield work
