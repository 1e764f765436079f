"""Futures: made, settled, awaited by hand, made again."""

import asyncio
import concurrent.futures

import asyncloop

from . import evil, values
from .operations import operation


@operation(4)
def new_future(world, a, b, c):
    match b % 8:
        case 0:
            future = asyncio.Future(loop=world.loop(a))
        case 1 | 2:
            future = world.make(evil.Future, c, loop=world.any_loop(a))
        case 3:
            future = asyncloop.Future(loop=world.any_loop(a))
        case _:
            future = world.loop(a).create_future()
    world.add("future", future)


@operation(5, 5)
def set_result(world, a, b, c):
    world.pick("future", 3 * a).set_result(values.value(world, b))


@operation(4, 5)
def set_exception(world, a, b, c):
    world.pick("future", 3 * a).set_exception(values.error(world, b))


@operation(3, 5)
def cancel_future(world, a, b, c):
    world.pick("future", a).cancel(values.value(world, b))


@operation(6, 3)
def add_done_callback(world, a, b, c):
    world.pick("future", a).add_done_callback(values.callback(world, b), context=values.context(world, c))


@operation(3, 5)
def remove_done_callback(world, a, b, c):
    world.pick("future", a).remove_done_callback(world.make(evil.Evil, b) if c % 2 else values.callback(world, b))


@operation(3, 3)
def look_at_future(world, a, b, c):
    future = world.pick("future", a)
    match b % 6:
        case 0:
            world.add("kept", future.result())
        case 1:
            world.add("kept", future.exception())
        case 2:
            repr(future)
        case 3:
            world.add("kept", (future._callbacks, future._exception, future._source_traceback, future._cancel_message))
        case 4:
            world.add("loop", future.get_loop())
        case 5:
            world.add("kept", future._make_cancelled_error())


@operation(2, 5)
def init_future(world, a, b, c):
    future = world.pick("future", 3 * a)
    if isinstance(future, asyncloop.Future) and not isinstance(
        future, asyncio.Task
    ):  # asyncio's own crash in the interpreter
        future.__init__(loop=world.any_loop(b))


@operation(1)
def set_future_attribute(world, a, b, c):
    name = ("_asyncio_future_blocking", "_log_traceback", "_cancel_message", "extra")[b % 4]
    setattr(world.pick("future", a), name, (False, True, values.value(world, c))[c % 3])


@operation(3, 3)
def await_by_hand(world, a, b, c):
    future = world.pick("future", a)
    awaited = iter(future) if b % 2 else future.__await__()
    if type(awaited).__module__ != "_asyncio":  # whose send() raises SystemError once it has ended
        world.add("iter", awaited)


@operation(3, 3)
def step_by_hand(world, a, b, c):
    """Drive what __await__() returned, or a coroutine, or an operation on a socket."""
    driven = world.pick("iter" if a % 2 or not world.pools["coro"] else "coro", a // 2)
    match b % 5:
        case 0 | 1:
            world.offer((driven.send(values.value(world, c) if b % 2 else None),))
        case 2:
            driven.throw(values.error(world, c))
        case 3:
            driven.close()
        case 4:
            world.offer((next(driven),))


@operation(1)
def chain_future(world, a, b, c):
    other = concurrent.futures.Future()
    world.add("future", asyncio.wrap_future(other, loop=world.loop(a)))
    other.add_done_callback(values.callback(world, b))
    world.loop(a).call_soon(other.set_result if c % 2 else other.set_exception, values.error(world, c))


@operation(4, 3)
async def await_future(world, a, b, c):
    return await world.pick("future", a)
