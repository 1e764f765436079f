"""A task that waits on a future until somebody resolves it."""

from case import micro


@micro("two tasks hand over futures", operation="a task wakes the other through a fresh future", batch=2)
def handover(loop):
    async def work(count):
        mine, yours = loop.create_future(), loop.create_future()
        mine.set_result(None)

        async def first():
            nonlocal mine
            for _ in range(count // 2):
                await mine
                mine = loop.create_future()
                yours.set_result(None)

        async def second():
            nonlocal yours
            for _ in range(count // 2):
                await yours
                yours = loop.create_future()
                mine.set_result(None)

        other = loop.create_task(second())
        await loop.create_task(first())
        await other

    yield work
