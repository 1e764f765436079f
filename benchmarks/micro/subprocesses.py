"""Child processes: started, waited for, reaped."""

import asyncio
import os

from case import Micro, micro

CHILDREN = 10  # at the same time


class OneByOne(Micro):
    """Shows wall time: waiting for a child is what this is about, and most of its CPU time is the child's own."""

    unit = "ns wall"

    def figure(self, result):
        return result.wall / result.operations * 1e9


@lambda body: OneByOne(
    body, "subprocess", "/bin/true run to its end by create_subprocess_exec(), one after another", batch=1
)
def one_by_one(loop):
    async def work(count):
        for _ in range(count):
            process = await asyncio.create_subprocess_exec("/bin/true")
            assert await process.wait() == 0

    yield work


@one_by_one.floor
def spawn():
    def work(count):
        for _ in range(count):
            child = os.posix_spawn("/bin/true", ["/bin/true"], os.environ)
            assert os.waitpid(child, 0) == (child, 0)

    yield work


@micro("subprocesses", operation="/bin/true run to its end by create_subprocess_exec(), 10 at a time", batch=CHILDREN)
def true(loop):
    async def one():
        process = await asyncio.create_subprocess_exec("/bin/true")
        assert await process.wait() == 0

    async def work(count):
        for _ in range(count // CHILDREN):
            await asyncio.gather(*(one() for _ in range(CHILDREN)))

    yield work


@micro("subprocesses with pipes", operation="/bin/cat fed and read by communicate(), 10 at a time", batch=CHILDREN)
def cat(loop):
    async def one():
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe)
        assert (await process.communicate(b"x" * 1000))[0] == b"x" * 1000

    async def work(count):
        for _ in range(count // CHILDREN):
            await asyncio.gather(*(one() for _ in range(CHILDREN)))

    yield work
