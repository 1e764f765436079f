"""Making tasks and switching between them.

The floor is what the interpreter itself needs: a coroutine that is resumed and yields, without a task or a loop.
"""

import asyncio
import operator
from collections import deque
from itertools import cycle, islice, repeat

from case import micro


async def noop():
    pass


async def sleeper(count):
    for _ in range(count):
        await asyncio.sleep(0)


class Yield:
    """Awaited, it yields once."""

    def __await__(self):
        yield


async def yielder():
    once = Yield()
    while True:
        await once


async def awaiter(count):
    for _ in range(count):
        await noop()


def exhaust(iterator):
    """Run an iterator to its end, without bytecode."""
    deque(iterator, maxlen=0)


def run_bare(coroutine):
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass


@micro("sleep(0), one task", operation="an await asyncio.sleep(0)")
def sleep_0(loop):
    yield sleeper


@sleep_0.floor
def switch():
    coroutine = yielder()
    yield lambda count: exhaust(map(coroutine.send, repeat(None, count)))


@micro("sleep(0), 100 tasks", operation="an await asyncio.sleep(0), 100 tasks taking turns", batch=100)
def sleep_0_100(loop):
    async def work(count):
        tasks = [loop.create_task(sleeper(count // 100)) for _ in range(100)]
        for task in tasks:
            await task

    yield work


@sleep_0_100.floor
def switch_100():
    sends = [yielder().send for _ in range(100)]
    yield lambda count: exhaust(map(operator.call, islice(cycle(sends), count), repeat(None)))


@micro("create_task + await", operation="a task that returns at once, made and awaited")
def create_await(loop):
    async def work(count):
        for _ in range(count):
            await loop.create_task(noop())

    yield work


@create_await.floor
def make_await():
    yield lambda count: run_bare(awaiter(count))
