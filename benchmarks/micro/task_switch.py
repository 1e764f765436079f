"""Making tasks and switching between them."""

import asyncio

from case import micro


async def noop():
    pass


async def sleeper(count):
    for _ in range(count):
        await asyncio.sleep(0)


@micro("sleep(0), one task", operation="an await asyncio.sleep(0)")
def sleep_0(loop):
    yield sleeper


@micro("sleep(0), 100 tasks", operation="an await asyncio.sleep(0), 100 tasks taking turns", batch=100)
def sleep_0_100(loop):
    async def work(count):
        tasks = [loop.create_task(sleeper(count // 100)) for _ in range(100)]
        for task in tasks:
            await task

    yield work


@micro("create_task + await", operation="a task that returns at once, made and awaited")
def create_await(loop):
    async def work(count):
        for _ in range(count):
            await loop.create_task(noop())

    yield work
