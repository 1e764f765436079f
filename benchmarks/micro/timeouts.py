"""Waiting with a time limit, and cancelling."""

import asyncio

from case import micro


@micro("wait_for, ready", operation="asyncio.wait_for on a future that is done")
def wait_for_ready(loop):
    async def work(count):
        done = loop.create_future()
        done.set_result(None)
        for _ in range(count):
            await asyncio.wait_for(done, 60)

    yield work


@micro("wait_for, pending", operation="asyncio.wait_for on a future that is resolved one turn later")
def wait_for_pending(loop):
    async def work(count):
        for _ in range(count):
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await asyncio.wait_for(future, 60)

    yield work


@micro("timeout()", operation="an await asyncio.sleep(0) within asyncio.timeout(60)")
def timeout(loop):
    async def work(count):
        for _ in range(count):
            async with asyncio.timeout(60):
                await asyncio.sleep(0)

    yield work


@micro("cancel", operation="a task made, started, cancelled while it waits on a future, and awaited")
def cancel(loop):
    async def wait():
        await loop.create_future()

    async def work(count):
        for _ in range(count):
            task = loop.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    yield work
