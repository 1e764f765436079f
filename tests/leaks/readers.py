"""Streams: readers that are fed, waited for, cancelled, looked into and dropped."""

import asyncio
import contextlib

import asyncloop


def _reader(limit=65536):
    return asyncloop.StreamReader(limit, asyncio.get_running_loop())


async def reader_that_has_data():
    reader = _reader()
    for _ in range(20):
        reader.feed_data(b"0123456789\n" * 10)
        reader.feed_data(bytearray(b"rest"))
        await reader.read(5)
        await reader.readexactly(20)
        await reader.readuntil(b"789\n")
        async for _line in reader:
            if len(reader._buffer) < 20:
                break


async def reader_that_is_waited_for():
    reader = _reader(10)
    tasks = []
    for read in (
        (reader.read, 5),
        (reader.readexactly, 40),
        (reader.readline,),
        (reader.readuntil, b"ab"),
        (reader.read,),
    ):
        task = asyncio.ensure_future(read[0](*read[1:]))
        tasks.append(task)
        for _ in range(5):
            await asyncio.sleep(0)
            reader.feed_data(b"0123456\nab")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    reader.feed_eof()
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readexactly(10_000)
    await asyncio.gather(*tasks, return_exceptions=True)


async def reader_whose_buffer_is_kept():
    reader = _reader()
    for _ in range(10):
        buffer = reader._buffer
        task = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        buffer += b"x"
        reader.feed_data(b"\n")
        assert await task == b"x\n"
        del buffer
        reader._buffer = bytearray(b"abc")
        await reader.read(10)


async def reader_that_fails():
    for error in "limit", "exception", "second":
        reader = _reader(4)
        if error == "limit":
            reader.feed_data(b"0123456789\n01234567")
            for read in reader.readuntil, reader.readline, reader.readline:
                with contextlib.suppress(ValueError, asyncio.LimitOverrunError):
                    await read()
        else:
            task = asyncio.ensure_future(reader.read())
            await asyncio.sleep(0)
            with contextlib.suppress(RuntimeError):
                await reader.read(1)
            reader.set_exception(OSError("gone"))
            await asyncio.wait([task])
            with contextlib.suppress(OSError):
                await task


async def reader_in_a_cycle():
    for _ in range(10):
        reader = _reader()
        reader.feed_data(b"x" * 100)
        reader.itself = reader
        reader.awaitable = reader.readexactly(200)
        reader.awaitable.close()


async def writers():
    class Transport(asyncio.Transport):
        def write(self, data):
            pass

        def is_closing(self):
            return True

    loop = asyncio.get_running_loop()
    for error in None, OSError("gone"):
        reader = _reader()
        protocol = asyncloop.StreamReaderProtocol(reader, loop=loop)
        writer = asyncloop.StreamWriter(Transport(), protocol, reader, loop)
        writer.write(b"x")
        await writer.drain()
        assert writer._complete_fut.done()
        protocol.pause_writing()
        tasks = [asyncio.ensure_future(writer.drain()) for _ in range(3)]
        tasks.append(asyncio.ensure_future(writer.wait_closed()))
        await asyncio.sleep(0)
        tasks[0].cancel()
        protocol.connection_lost(error)
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.itself = writer


async def connections():
    async def answer(reader, writer):
        async for line in reader:
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncloop.start_server(answer, "127.0.0.1", 0)
    for _ in range(3):
        reader, writer = await asyncloop.open_connection(*server.sockets[0].getsockname())
        writer.writelines([b"hello\n"] * 10)
        for _line in range(10):
            assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
