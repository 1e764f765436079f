"""Locks and queues of asyncio on its loop, and of asyncloop on its own loop and on asyncio's: they work on any."""

import any_loop

kind = any_loop.kind
loop_factory = any_loop.loop_factory
primitives = any_loop.module
