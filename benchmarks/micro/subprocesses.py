"""Child processes: started, waited for, reaped."""

import asyncio

from case import micro

CHILDREN = 10  # at the same time


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
