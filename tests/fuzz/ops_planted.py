"""Faults for the tests of the fuzzer: no random program has them."""

import ctypes
import signal
import threading

from .operations import operation


@operation(0, 0)
def planted_crash(world, a, b, c):
    ctypes.string_at(1)


@operation(0, 0)
def planted_hang(world, a, b, c):
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)
    lock = threading.Lock()
    with lock:
        lock.acquire()


@operation(0, 0)
def planted_system_error(world, a, b, c):
    raise SystemError("returned a result with an exception set")


@operation(0, 0)
def planted_crash_at_exit(world, a, b, c):
    class Crashes:
        memset = staticmethod(ctypes.memset)

        def __del__(self):
            self.memset(1, 0, 1)

    world.add("kept", Crashes())


@operation(0, 0)
def planted_broken_loop(world, a, b, c):
    """New loops do not run callbacks any more."""
    import asyncloop

    asyncloop.Loop.call_soon = lambda *args, **kwargs: None
