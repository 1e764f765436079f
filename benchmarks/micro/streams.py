"""Readers of streams whose data is there: asyncio's own, and asyncloop's (`..._ours`), which work on any loop."""

from micro.primitives import both

LINE = b"0123456789abcde\n"
LINES = 20  # fed at once


@both("readexactly", operation="16 bytes read that are there, of 320 that were fed at once")
def readexactly(loop, streams):
    async def work(count):
        reader = streams.StreamReader(loop=loop)
        for _ in range(count // LINES):
            reader.feed_data(LINE * LINES)
            for _ in range(LINES):
                await reader.readexactly(16)

    yield work


@both("readline", operation="a line of 16 bytes read that is there, of 20 that were fed at once")
def readline(loop, streams):
    async def work(count):
        reader = streams.StreamReader(loop=loop)
        for _ in range(count // LINES):
            reader.feed_data(LINE * LINES)
            for _ in range(LINES):
                await reader.readline()

    yield work


@both("read", operation="a message of 1 KiB fed to a task that waits for it")
def read(loop, streams):
    async def work(count):
        reader = streams.StreamReader(loop=loop)
        message = bytes(1024)
        for _ in range(count):
            loop.call_soon(reader.feed_data, message)
            await reader.read(65536)

    yield work
