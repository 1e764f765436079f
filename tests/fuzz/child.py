"""Runs one program in this process, which it may crash; tells by the exit status whether anything else was wrong."""

import asyncio
import concurrent.futures
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings

import asyncloop

from . import crowd, operations
from .world import World

FOUND = 70  # exit status: the program has printed a line that begins with FINDING


def here():
    """The world of this thread."""
    return getattr(World.local, "world", World.current)


class Executor(concurrent.futures.ThreadPoolExecutor):
    """The default executor of loops: submit() and shutdown() hold locks that a hook within would wait for."""

    def submit(self, *args, **kwargs):
        with here().quiet():
            return super().submit(*args, **kwargs)

    def shutdown(self, *args, **kwargs):
        with here().quiet():
            return super().shutdown(*args, **kwargs)


class Formatting(logging.Handler):
    """Makes the message of each log record, and throws it away: objects have to tell what they are."""

    def emit(self, record):
        try:
            record.getMessage()
        except BaseException as exc:
            here().judge(exc)


def prepare():
    """What all programs need, done once before children are forked."""
    operations.load()
    concurrent.futures.ThreadPoolExecutor = Executor
    logger = logging.getLogger("asyncio")
    logger.handlers[:] = [Formatting()]
    logger.propagate = False
    warnings.simplefilter("ignore")
    loop = asyncloop.new_event_loop()
    loop.run_until_complete(echo())
    loop.close()


async def echo():
    """What a loop is for: a callback, a timer, a task, bytes through a connection."""
    loop = asyncio.get_running_loop()
    ends = [asyncio.open_connection(sock=end) for end in socket.socketpair()]
    (reader, writer), (other_reader, other_writer) = await asyncio.gather(*ends)
    called = loop.create_future()
    loop.call_soon(called.set_result, b"called")
    writer.write(await called)
    await asyncio.sleep(0.001)
    other_writer.write(await other_reader.readexactly(6))
    data = await asyncio.create_task(reader.readexactly(6))
    for each in writer, other_writer:
        each.close()
        await each.wait_closed()
    return data


def run(program, limit):
    """Run the program, look whether a new loop works after it, and return the status to exit with.

    limit: the seconds after which the parent takes it for hanging: shortly before, it tells where it is.
    """
    faulthandler.dump_traceback_later(limit * 0.9)
    made = crowd.worlds(program)
    World.current = made[0]
    sys.unraisablehook = World.current.on_unraisable
    threading.excepthook = lambda args: World.current.judge(args.exc_value)
    if program.threads > 1:
        crowd.run(made, lambda world: look_after(world, limit))
    else:
        run_alone(World.current)
    gc.callbacks.clear()
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    look_after(World.current, limit)
    return FOUND if any(world.findings for world in made) else 0


def run_alone(world):
    world.start_alarm()
    while True:
        try:
            world.run("main")
            break
        except BaseException:  # the alarm has hit the fuzzer itself
            world.left = 0
    world.stop_alarm()


def forget_current_task(loop):
    """A task that the program has entered and not left: from 3.14 on, other loops of the thread could step none."""
    asyncio._set_running_loop(loop)
    if sys.version_info >= (3, 12):
        with contextlib.suppress(KeyError):  # 3.12 raises it where no task is current
            asyncio.tasks._swap_current_task(loop, None)
    asyncio._set_running_loop(None)


def look_after(world, limit):
    """The program may have left anything but what concerns other loops."""
    left, world.left = min(world.left, 50), 0  # hooks stay away from the new loop
    warnings.simplefilter("ignore")
    gc.set_threshold(700, 10, 10)
    running = asyncio._get_running_loop()
    if running is not None and world.alarms == 0:
        world.finding(f"{running!r} is still the running loop")
    loop = asyncloop.new_event_loop()
    forget_current_task(loop)
    loop.call_later(limit / 2, loop.stop)
    try:
        data = loop.run_until_complete(echo())
    except Exception as exc:
        world.finding(f"a new loop does not work: {exc!r}")
        world.judge(exc)
    else:
        if data != b"called":
            world.finding(f"a new loop does not work: {data!r}")
    loop.close()
    world.left = left


def end(program, status):
    """End this process as the program says, which is not to return where it does not end."""
    sys.stdout.flush()
    if program.ends == "leave" and not status:
        World.current.pools.clear()
        gc.collect()
        os._exit(FOUND if World.current.findings else 0)
    gc.unfreeze()
    raise SystemExit(status)
