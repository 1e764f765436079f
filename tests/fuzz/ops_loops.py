"""Loops and handles: made, run, stopped, closed, made again; callbacks that wait."""

import asyncio
import os
import signal
import sys
import threading
import warnings

import asyncloop

from . import evil, values
from .operations import operation


@operation(1)
def new_loop(world, a, b, c):
    if c % 32 == 31:
        loop = asyncio.SelectorEventLoop()
    elif a % 4 == 3:
        loop = world.make(evil.Loop, b)
    else:
        loop = asyncloop.Loop(hold_writes=a % 4 != 2)
    world.add("loop", loop)
    loop.set_debug(b % 5 == 4)
    loop.slow_callback_duration = c % 3 / 10000 if b % 10 == 9 else 1000
    if c % 4 < 3:
        loop.set_exception_handler(world.make(evil.Evil, c // 4) if c % 4 == 2 else lambda loop, context: None)
    if b % 4 == 3:
        set_factory(world, 0, c // 4, b // 4)


@operation(8)
def run(world, a, b, c):
    loop = world.loop(4 * (a // 2))
    if a % 3:
        loop.call_later(b / 100_000, loop.stop)
    else:
        for _ in range(b % 4):
            loop.call_soon(world.hook, c)
        loop.call_soon(loop.stop)
    loop.run_forever()


@operation(2)
def run_until(world, a, b, c):
    loop = world.loop(4 * a)
    loop.call_later(0.002, loop.stop)
    loop.run_until_complete(world.pick(("future", "task", "coro")[b % 3], c))


@operation(2, 3)
def turn(world, a, b, c):
    """One turn by hand, also within a callback, as nest_asyncio does it."""
    loop = world.loop(a)
    loop.call_soon(world.hook, b)
    loop._run_once()


@operation(3, 5)
def stop(world, a, b, c):
    world.loop(a).stop()


@operation(2, 5)
def close(world, a, b, c):
    world.pick("loop", a).close()


@operation(1, 3)
def init_loop(world, a, b, c):
    world.loop(a).__init__()


@operation(1, 3)
def release(world, a, b, c):
    """What close() ends with, by itself: also while the loop runs."""
    world.loop(a)._release() if b % 4 == 0 else world.loop(a)._send_held()


@operation(1)
def set_handler(world, a, b, c):
    world.loop(a).set_exception_handler(world.make(evil.Evil, b) if b % 8 else None)


@operation(1)
def set_factory(world, a, b, c):
    def factory(loop, coro, **kwargs):
        world.hook(b, (coro,))
        match c % 5:
            case 0:
                return asyncio.Task(coro, loop=loop, **kwargs)
            case 1:
                return world.make(evil.Task, b, coro, loop=loop, **kwargs)
            case 2:
                return world.pick("future", b)
            case 3 | 4 if c % 5 == 3 or sys.version_info < (3, 12):
                return asyncloop.Task(coro, loop=loop, **kwargs)
        kwargs.pop("context", None)  # see spawn()
        if values.runs_elsewhere(loop):
            return asyncio.Task(coro, loop=loop, **kwargs)
        return asyncio.eager_task_factory(loop, coro, **kwargs)

    world.loop(a).set_task_factory(factory if c % 6 else None)


@operation(1, 3)
def set_debug(world, a, b, c):
    world.loop(a).set_debug(b % 2 == 0)


@operation(2)
def report(world, a, b, c):
    context = {"message": world.make(evil.Text, b, "message"), "exception": values.error(world, c)}
    context[("handle", "task", "future", "protocol", "odd")[b % 5]] = values.value(world, c)
    world.loop(a).call_exception_handler(context)


@operation(1, 3)
def set_attribute(world, a, b, c):
    """Methods replaced on one loop, as tests do; and attributes that C works with."""
    name = ("call_soon", "call_later", "create_task", "time", "_stopping", "_thread_id", "_debug", "extra")[b % 8]
    setattr(world.loop(a), name, values.value(world, c))


@operation(1)
async def shut_down(world, a, b, c):
    loop = world.loop(a)
    await (loop.shutdown_asyncgens() if b % 2 else loop.shutdown_default_executor())


# --- callbacks --------------------------------------------------------------------------------------------------------


@operation(8, 3)
def call_soon(world, a, b, c):
    loop = world.loop(a)
    if a % 8 == 5:  # each in a context of its own
        evil.variables[0].set(world.make(evil.Evil, c))
    arguments = (values.value(world, c),) * (c % 3)
    world.add("handle", loop.call_soon(values.callback(world, b), *arguments, context=values.context(world, c // 3)))


@operation(6, 3)
def call_later(world, a, b, c):
    loop = world.loop(a)
    handle = loop.call_later(values.delay(world, c), values.callback(world, b), context=values.context(world, c // 5))
    world.add("handle", handle)


@operation(2)
def call_at(world, a, b, c):
    when = world.make(evil.Number, c, world.loop(a).time() + c % 4 / 2000)
    world.add("handle", world.loop(a).call_at(when, values.callback(world, b)))


@operation(2, any_thread=True)
def call_threadsafe(world, a, b, c):
    loop, callback = world.loop(a), values.callback(world, b)
    if c % 2 or sys.is_finalizing():  # when a thread would not begin
        loop.call_soon_threadsafe(callback)
    else:
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(callback,), daemon=True)
        with world.quiet():
            thread.start()
        thread.join(0.1)


@operation(1)
def run_in_executor(world, a, b, c):
    world.add("future", world.loop(a).run_in_executor(None, values.callback(world, b)))


@operation(5, 5)
def cancel_handle(world, a, b, c):
    world.pick("handle", a).cancel()


@operation(2, 3)
def look_at_handle(world, a, b, c):
    handle, other = world.pick("handle", a), world.any(b)
    if c % 4 == 0:
        repr(handle)
    elif c % 4 == 1:
        world.add("context", handle._context)
    elif c % 4 == 2:
        handle == other, handle < other, hash(handle)
    elif hasattr(handle, "_run"):
        handle._run()


@operation(1)
def signal_handler(world, a, b, c):
    loop = world.loop(a)
    match b % 3:
        case 0:
            loop.add_signal_handler(signal.SIGUSR1, values.callback(world, c))
        case 1:
            loop.remove_signal_handler(signal.SIGUSR1)
        case 2:
            if signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, None):
                os.kill(os.getpid(), signal.SIGUSR1)


@operation(1)
def set_warnings(world, a, b, c):
    warnings.simplefilter("error" if a % 2 else "ignore")
