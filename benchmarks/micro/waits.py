"""Time limits and groups of tasks on the loop: asyncio's own, and asyncloop's (`..._ours`), which work on any loop."""

import asyncio

from micro.primitives import both


async def noop():
    pass


@both("timeout(), alone", operation="a timeout(60) entered and left")
def timeout(loop, module):
    async def work(count):
        for _ in range(count):
            async with module.timeout(60):
                pass

    yield work


@both("wait_for, coroutine", operation="a coroutine that returns at once, by wait_for(..., 60)")
def wait_for(loop, module):
    async def work(count):
        for _ in range(count):
            await module.wait_for(noop(), 60)

    yield work


@both("wait_for, future", operation="a future that is done, by wait_for(..., 60)")
def wait_for_future(loop, module):
    async def work(count):
        done = loop.create_future()
        done.set_result(None)
        for _ in range(count):
            await module.wait_for(done, 60)

    yield work


@both("sleep(0)", operation="a sleep(0)")
def sleep_0(loop, module):
    async def work(count):
        for _ in range(count):
            await module.sleep(0)

    yield work


@both("sleep, cancelled", operation="a task of sleep(60) made, started, cancelled and awaited")
def sleep_cancelled(loop, module):
    async def work(count):
        for _ in range(count):
            task = loop.create_task(module.sleep(60))
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    yield work


@both("TaskGroup of 10", operation="a TaskGroup of 10 coroutines that return at once")
def task_group(loop, module):
    async def work(count):
        for _ in range(count):
            async with module.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(noop())

    yield work


@both("gather of 10", operation="a gather() of 10 coroutines that return at once")
def gather(loop, module):
    async def work(count):
        for _ in range(count):
            await module.gather(*[noop() for _ in range(10)])

    yield work


@both("shield", operation="a shield() of a future that is pending, both done, and awaited")
def shield(loop, module):
    async def work(count):
        for _ in range(count):
            inner = loop.create_future()
            outer = module.shield(inner)
            inner.set_result(None)
            await outer

    yield work


@both("wait for 10", operation="a wait() for 10 futures that are pending, and are done in the next turn")
def wait_10(loop, module):
    def finish(futures):
        for future in futures:
            future.set_result(None)

    async def work(count):
        for _ in range(count):
            futures = [loop.create_future() for _ in range(10)]
            loop.call_soon(finish, futures)
            await module.wait(futures)

    yield work
