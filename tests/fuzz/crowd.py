"""Runs one program in several threads at once, each with a world of its own, which may share objects with the others.

The operands of a step differ in each thread, so that the threads do not all do the same. The main thread runs nothing:
it stops the loops of threads that go on for too long, and if that does not help, interrupts the threads.
"""

import contextlib
import ctypes
import threading
import time

from . import operations
from .world import World

SHARED = ("loop", "task", "future", "handle", "transport", "protocol", "server")
"""Kinds that are shared. A coroutine, a context and a socket are the interpreter's to protect."""

SECONDS = 0.3  # that the scripts may take
PAUSE = 0.05  # between two attempts to end them


class Member(threading.Thread):
    def __init__(self, world, after):
        super().__init__(daemon=True)  # one that hangs has to be killed with the process
        self.world = world
        self.after = after  # called in the thread at the end
        self.has_run = threading.Event()
        self.is_left_alone = threading.Event()  # nobody interrupts it any more

    def run(self):
        World.local.world = self.world
        self.world.thread = self.ident
        self.until_done(lambda: self.world.run("main"))
        self.world.left = 0
        self.until_done(self.has_run.set)
        self.until_done(self.is_left_alone.wait)
        self.after(self.world)

    def until_done(self, function):
        while True:
            try:
                return function()
            except BaseException:  # an interrupt, or the one that has hit the fuzzer itself
                self.world.left = 0

    def interrupt(self):
        self.world.left = min(self.world.left, 20)
        self.world.alarms += 1
        if self.world.alarms > 1:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(KeyboardInterrupt))


def stop_loops():
    for loop in list(World.loops):
        with contextlib.suppress(BaseException):
            loop.stop()
            loop.call_soon_threadsafe(int)


def worlds(program):
    """A world for each thread; those of programs with an odd seed share."""
    made = [World(program, operations.TABLE, shift=37 * number) for number in range(program.threads)]
    if program.seed % 2:
        for world in made:
            world.pools |= {kind: made[0].pools[kind] for kind in SHARED}
    return made


def run(made, after):
    """Run the main scripts of the worlds, then after(world) in the thread of each."""
    members = [Member(world, after) for world in made]
    for member in members:
        member.start()
    end = time.monotonic() + SECONDS
    for member in members:
        member.has_run.wait(max(0, end - time.monotonic()))
    while not all(member.has_run.is_set() for member in members):
        for member in members:
            if not member.has_run.is_set():
                member.interrupt()
        stop_loops()
        time.sleep(PAUSE)
    for member in members:
        member.is_left_alone.set()
    for member in members:
        member.join()
