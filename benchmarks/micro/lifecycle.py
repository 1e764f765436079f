"""Loops that live shortly."""

import asyncio
import contextlib

from case import Micro


class Lifecycle(Micro):
    """A Micro case that makes its loops itself: its body gets the factory."""

    @contextlib.contextmanager
    def work(self, new_loop):
        with self.body(new_loop) as work:
            yield work


def lifecycle(title, operation):
    return lambda body: Lifecycle(body, title, operation, batch=1)


@lifecycle("loop made and closed", operation="a loop made and closed")
def new_close(new_loop):
    def work(count):
        for _ in range(count):
            new_loop().close()

    yield work


@lifecycle("run(noop)", operation="asyncio.Runner(loop_factory=...).run() of a coroutine that returns at once")
def run_noop(new_loop):
    async def noop():
        pass

    def work(count):
        for _ in range(count):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(noop())

    yield work
