"""Queues and locks on the loop: asyncio's own, and asyncloop's (`..._ours`), which work on any loop."""

import asyncio
import importlib

from case import Micro


def both(title, operation, batch=1):
    """Decorate a generator function of a loop and a module, asyncio or asyncloop: a case for each module."""

    def decorate(body):
        def stock(loop):
            yield from body(loop, asyncio)

        def ours(loop):
            yield from body(loop, importlib.import_module("asyncloop"))

        stock.__name__, ours.__name__ = body.__name__, f"{body.__name__}_ours"
        stock.__module__ = ours.__module__ = body.__module__
        return [
            Micro(stock, title, operation, batch),
            Micro(ours, f"{title} (asyncloop's)", operation, batch),
        ]

    return decorate


async def together(loop, *coroutines):
    for task in [loop.create_task(coroutine) for coroutine in coroutines]:
        await task


@both("Queue(1)", operation="an item put by one task and taken by another")
def queue(loop, primitives):
    async def work(count):
        items = primitives.Queue(1)

        async def produce():
            for i in range(count):
                await items.put(i)

        async def consume():
            for _ in range(count):
                await items.get()

        await together(loop, produce(), consume())

    yield work


@both("Queue, free", operation="an item put and taken by the same task")
def queue_free(loop, primitives):
    async def work(count):
        items = primitives.Queue()
        for i in range(count):
            await items.put(i)
            await items.get()

    yield work


async def hold(lock, count):
    for _ in range(count):
        async with lock:
            await asyncio.sleep(0)


@both("Lock", operation="a Lock taken, held over a sleep(0) and released; 10 tasks want it", batch=10)
def lock(loop, primitives):
    async def work(count):
        lock = primitives.Lock()
        await together(loop, *[hold(lock, count // 10) for _ in range(10)])

    yield work


@both("Lock, free", operation="a Lock taken and released by the only task that wants it")
def lock_free(loop, primitives):
    async def work(count):
        lock = primitives.Lock()
        for _ in range(count):
            async with lock:
                pass

    yield work


@both("Event", operation="a task wakes the other through an Event", batch=2)
def event(loop, primitives):
    async def work(count):
        ping, pong = primitives.Event(), primitives.Event()

        async def player(mine, other):
            for _ in range(count // 2):
                await mine.wait()
                mine.clear()
                other.set()

        ping.set()
        await together(loop, player(ping, pong), player(pong, ping))

    yield work


@both("Semaphore(5)", operation="a Semaphore(5) taken, held over a sleep(0) and released; 10 tasks want it", batch=10)
def semaphore(loop, primitives):
    async def work(count):
        semaphore = primitives.Semaphore(5)
        await together(loop, *[hold(semaphore, count // 10) for _ in range(10)])

    yield work


@both("Semaphore, free", operation="a Semaphore(5) taken and released by the only task that wants it")
def semaphore_free(loop, primitives):
    async def work(count):
        semaphore = primitives.Semaphore(5)
        for _ in range(count):
            async with semaphore:
                pass

    yield work


@both("Condition", operation="a task wakes the other through a Condition", batch=2)
def condition(loop, primitives):
    async def work(count):
        condition, turn = primitives.Condition(), 0

        async def player(mine):
            nonlocal turn
            for _ in range(count // 2):
                async with condition:
                    while turn != mine:
                        await condition.wait()
                    turn = 1 - mine
                    condition.notify()

        await together(loop, player(0), player(1))

    yield work
