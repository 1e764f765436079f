"""Many tasks awaited together."""

import asyncio

from case import micro


async def noop():
    pass


@micro("gather of 1,000", operation="a coroutine that returns at once, 1,000 in an asyncio.gather", batch=1000)
def gather(loop):
    async def work(count):
        for _ in range(count // 1000):
            await asyncio.gather(*[noop() for _ in range(1000)])

    yield work


@micro("TaskGroup of 1,000", operation="a coroutine that returns at once, 1,000 in an asyncio.TaskGroup", batch=1000)
def task_group(loop):
    async def work(count):
        for _ in range(count // 1000):
            async with asyncio.TaskGroup() as group:
                for _ in range(1000):
                    group.create_task(noop())

    yield work
