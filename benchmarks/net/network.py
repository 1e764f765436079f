"""What all network cases share: the process under test on one core, its peer on another."""

import asyncio
import os

from case import Case, Micro

from net import floor, load


class Network(Case):
    """A server in this process under load from another; the figure is its CPU time per operation."""

    load_core = None

    def prepare(self):
        super().prepare()
        load.build()

    def prepare_floor(self):
        floor.build()

    def pin(self, core, load_core):
        os.sched_setaffinity(0, {core})
        self.load_core = load_core

    def run(self, new_loop, seconds, operations=None):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(self.measure(seconds, operations))

    async def measure(self, seconds, operations):
        raise NotImplementedError


class Peered(Micro):
    """A Micro case that has another process for its peer: its body gets the loop and the peer's core."""

    core = None
    build = None

    def prepare(self):
        super().prepare()
        if self.build:
            self.build()

    def pin(self, core, load_core):
        os.sched_setaffinity(0, {core})
        self.core = load_core

    def open(self, loop):
        return self.body(loop, self.core)

    def open_floor(self):
        return self.floor_body(self.core)


def peered(title, operation, batch=1, packages=(), build=None):
    """Decorate the generator function of a Peered case.

    Args:
        title, operation, batch: as for Micro.
        packages: as for Case.
        build: called before the case is run, if it needs a program; raises Missing if that cannot be.
    """

    def decorate(body):
        case = Peered(body, title, operation, batch)
        case.packages = packages
        case.build = build
        return case

    return decorate
