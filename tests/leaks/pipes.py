"""Pipe transports and subprocesses: every way to live and to end."""

import asyncio
import contextlib
import gc
import os
import socket
import warnings


class _Protocol(asyncio.Protocol):
    fails = ""  # the method that raises

    def __init__(self):
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def _did(self, method):
        if method == self.fails:
            raise ValueError(method)

    def connection_made(self, transport):
        self.transport = transport
        self._did("connection_made")

    def data_received(self, data):
        self.received += data
        self._did("data_received")

    def eof_received(self):
        self._did("eof_received")

    def connection_lost(self, exc):
        self.lost.set_result(exc)
        self._did("connection_lost")

    def pause_writing(self):
        self._did("pause_writing")

    def resume_writing(self):
        self._did("resume_writing")


async def _connect(fails=""):
    """Both ends of a pipe: ((read transport, its protocol), (write transport, its protocol))."""
    loop = asyncio.get_running_loop()
    r, w = os.pipe()
    ends = []
    for connect, file in (
        (loop.connect_read_pipe, os.fdopen(r, "rb", 0)),
        (loop.connect_write_pipe, os.fdopen(w, "wb", 0)),
    ):
        protocol = _Protocol()
        protocol.fails = fails
        transport, _ = await connect(lambda protocol=protocol: protocol, file)
        ends.append((transport, protocol))
    return ends


async def _close(*ends):
    for transport, protocol in ends:
        transport.close()
        await protocol.lost
        protocol.transport = None


async def small_and_large():
    reading, writing = await _connect()
    for size in (1, 1000, 100_000, 1_000_000):
        writing[0].write(bytes(size))
        writing[0].write(bytearray(10))
    writing[0].close()
    await reading[1].lost
    assert len(reading[1].received) == 1_101_041
    await _close(reading, writing)


async def paused():
    reading, writing = await _connect()
    reading[0].pause_reading()
    for _ in range(20):
        writing[0].write(bytes(20_000))
    await asyncio.sleep(0)
    reading[0].resume_reading()
    await asyncio.sleep(0.001)
    await _close(reading, writing)


async def aborted():
    reading, writing = await _connect()
    writing[0].write(bytes(1 << 20))
    writing[0].abort()
    await _close(writing, reading)


async def reader_closed():
    reading, writing = await _connect()
    await _close(reading)
    await writing[1].lost
    for _ in range(3):
        writing[0].write(b"x")
    await _close(writing)


async def reader_closed_with_bytes_queued():
    reading, writing = await _connect()
    reading[0].pause_reading()
    writing[0].write(bytes(1 << 20))
    await _close(reading)
    await _close(writing)


async def failing():
    for method in ("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing"):
        reading, writing = await _connect(method)
        writing[0].write(bytes(300_000))
        await asyncio.sleep(0.001)
        await _close(writing)
        await _close(reading)


async def refused():
    loop = asyncio.get_running_loop()
    with open(__file__, "rb") as file:
        for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
            with contextlib.suppress(ValueError):
                await connect(_Protocol, file)


async def wrong_writes():
    reading, writing = await _connect()
    for wrong in ("text", None):
        with contextlib.suppress(AssertionError):
            writing[0].write(wrong)
    writing[0].write(memoryview(b"abcdef")[::2])
    await _close(writing)
    await _close(reading)


async def sockets():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    reading, protocol = await loop.connect_read_pipe(_Protocol, a)
    writing, other = await loop.connect_write_pipe(_Protocol, b)
    writing.write(b"x")
    await asyncio.sleep(0.001)
    await _close((writing, other), (reading, protocol))


async def dropped_unclosed():
    reading, writing = await _connect()
    reading[0].pause_reading()
    writing[0].abort()
    await writing[1].lost
    reading[1].transport = writing[1].transport = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del reading, writing
        gc.collect()


def open_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    loop.run_until_complete(_connect())
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def subprocess_communicates():
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe, stderr=pipe)
    assert await child.communicate(bytes(200_000)) == (bytes(200_000), b"")


async def subprocess_killed():
    child = await asyncio.create_subprocess_exec("sleep", "100")
    child.kill()
    await child.wait()


async def subprocess_not_found():
    with contextlib.suppress(FileNotFoundError):
        await asyncio.create_subprocess_exec("/no/such/program", stdin=asyncio.subprocess.PIPE)
