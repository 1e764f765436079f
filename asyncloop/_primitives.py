"""asyncio's locks and queues with their hot methods in C.

A class of _core comes first and has what is hot. What is cold is asyncio's own Python code, which works on the
attributes of the C struct.
"""

import asyncio

from . import _core

__all__ = ["Event", "Lock"]


class Lock(_core.Lock, asyncio.Lock):
    """A lock between tasks: asyncio.Lock in C.

    Whoever waited first gets it first. `async with lock:` is how to use it.
    """

    __module__ = "asyncloop"


class Event(_core.Event, asyncio.Event):
    """A flag that tasks wait for: asyncio.Event in C."""

    __module__ = "asyncloop"
