"""Arguments: callbacks, results, errors, deadlines, bytes, contexts; every kind has ordinary and evil ones."""

import asyncio
import contextvars
import functools
import threading

from . import evil


def callback(world, n):
    """Something to call. C functions among them act with no frame of Python between."""
    match n % 8:
        case 0:
            return world.make(evil.Evil, n // 8).method
        case 1:
            return world.pick("handle", n // 8).cancel
        case 2:
            return world.pick("task", n // 8).cancel
        case 3:
            return functools.partial(world.hook, n // 8)
        case 4:
            return world.loop(n // 8).stop
        case _:
            return world.make(evil.Evil, n // 8)


def value(world, n):
    match n % 4:
        case 0:
            return None
        case 1:
            return world.any(n // 4)
        case _:
            return world.make(evil.Evil, n // 4)


def error(world, n):
    match n % 10:
        case 0:
            return evil.error_class(world, n // 10)
        case 1:
            return ValueError
        case 2:
            return asyncio.CancelledError(world.make(evil.Text, n // 10, "message"))
        case 3:
            return world.make(evil.Interrupt, n // 10)
        case 4:
            return SystemExit(world.make(evil.Evil, n // 10))
        case 5:
            return StopIteration(1) if n % 20 == 5 else GeneratorExit()
        case _:
            return world.make(evil.Error, n // 10)


def delay(world, n):
    """Seconds: most are short, so that a run sees them end."""
    match n % 5:
        case 0:
            return 0
        case 1:
            return 1000
        case 2:
            return world.make(evil.Evil, n // 5)
        case 3:
            return world.make(evil.Number, n // 5, n % 7 / 3000)
        case _:
            return n / 100_000


def data(world, n):
    match n % 8:
        case 0:
            return b""
        case 1:
            return bytes(1 << 19)
        case 2:
            return memoryview(bytearray(n * 50))[:: 1 + n % 16 // 8]
        case 3:
            return world.make(evil.Evil, n // 8)
        case 4:
            return bytearray(n * 100)
        case _:
            return b"d" * (n * 3)


def context(world, n):
    """A context, which may be entered already, or None."""
    if n % 4 == 0:
        return world.pick("context", n // 4)
    if n % 4 == 1:
        made = contextvars.copy_context() if n % 8 > 4 else contextvars.Context()
        made.run(evil.variables[0].set, world.make(evil.Evil, n // 4))
        return world.add("context", made)
    return None


def runs_elsewhere(loop):
    """Whether another thread runs the loop.

    A task of asyncio's own must not start eagerly there. In debug mode call_soon() raises then, and asyncio goes on to
    register the task with the exception set.
    """
    return loop._thread_id not in (None, threading.get_ident())
