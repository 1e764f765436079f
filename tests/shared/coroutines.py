"""Coroutines to wait for."""

import asyncio


async def turns(count=1):
    """Returns `count`, after so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)
    return count


async def fail():
    raise ValueError("failed")
