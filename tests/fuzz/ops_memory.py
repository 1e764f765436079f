"""References: dropped, kept, in cycles, watched; the garbage collector; exceptions out of hooks."""

import functools
import gc
import signal
import sys
import time
import weakref

import asyncloop

from . import evil, values
from .operations import operation


@operation(8, 5, any_thread=True)
def drop(world, a, b, c):
    """Drop what may be the last reference, or all objects of a kind."""
    pools = [pool for pool in world.pools.values() if pool]
    pool = pools[a % len(pools)]
    if c % 4:
        pool.pop(b % len(pool))
    else:
        pool.clear()


@operation(4, 5, any_thread=True)
def collect(world, a, b, c):
    gc.collect(a % 3)


@operation(1, any_thread=True)
def collect_often(world, a, b, c):
    """Collect with every few objects that are made, wherever that is."""
    gc.set_threshold((0, 700, 50, 7, 1)[a % 5], 2, 2)


@operation(3, any_thread=True)
def new_evil(world, a, b, c):
    world.add("evil", world.make(evil.Evil, a))


@operation(3, any_thread=True)
def tie(world, a, b, c):
    """Put an object into a cycle with an evil one, so that it dies in a collection, at the latest in the last."""
    tied = world.make(evil.Evil, a)
    tied.others = [tied, world.any(b), world.any(c)]


@operation(2, any_thread=True)
def attach(world, a, b, c):
    """Give an object an attribute that lives as long as it."""
    world.any(a).attached = values.value(world, b)


@operation(2, any_thread=True)
def watch(world, a, b, c):
    world.add("kept", weakref.ref(world.any(a), values.callback(world, b)))


@operation(2, 5, any_thread=True)
def raise_error(world, a, b, c):
    """Let the hook that runs this script raise."""
    from .world import Wanted

    error = values.error(world, a)
    raise Wanted(error() if isinstance(error, type) else error)


@operation(1, any_thread=True)
def on_collection(world, a, b, c):
    """Run a script at the beginning or end of each collection, so in the middle of whatever makes objects."""
    phase = ("start", "stop")[b % 2]
    gc.callbacks[:] = [lambda now, info: world.hook(a) if now == phase else None]


@operation(1)
def interrupt(world, a, b, c):
    """Run a script from a signal handler, soon: at the latest when C looks for signals."""
    signal.signal(signal.SIGVTALRM, lambda signum, frame: world.hook(a))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + b / 100_000)


@operation(1)
def deep_chain(world, a, b, c):
    """Objects that die one within the other, more than the stack has room for."""
    obj = world.make(evil.Evil, a)
    loop = world.loop(b)
    for _ in range(c * 20):
        future = asyncloop.Future(loop=loop)
        match b % 4:
            case 0:
                future.set_result(obj)
            case 1:
                future.add_done_callback(functools.partial(print, obj))
            case 2:
                future.attached = obj
            case 3:
                future = loop.call_later(1000, print, obj)
        obj = future
    world.add("kept", obj)


@operation(1)
def new_uninitialised(world, a, b, c):
    """Objects that __init__ has not seen."""
    cls = (asyncloop.Future, asyncloop.Task, evil.Future, evil.Task, asyncloop.Loop, type(world.any(b)))[a % 6]
    kind = "loop" if issubclass(cls, asyncloop.Loop) else "future"
    if issubclass(cls, (asyncloop.Future, asyncloop.Loop)):
        world.add(kind, cls.__new__(cls))
    else:
        cls.__new__(cls)


@operation(1, any_thread=True)
def nap(world, a, b, c):
    time.sleep(a % 3 / 1000)


@operation(1, any_thread=True)
def set_unraisable_hook(world, a, b, c):
    judging = world.on_unraisable

    def hook(unraisable):
        judging(unraisable)
        world.hook(a, (unraisable.object,))

    sys.unraisablehook = hook
