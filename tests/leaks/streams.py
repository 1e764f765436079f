"""asyncio's streams on top of the transports."""

import asyncio


async def _echo(reader, writer):
    try:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _server(handler=_echo):
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


async def echo():
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"line\n" * 100)
    await writer.drain()
    for _ in range(50):
        assert await reader.readline() == b"line\n"
    await reader.readexactly(50 * 5)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def large():
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(bytes(500_000))
    await reader.readexactly(500_000)
    writer.close()
    await writer.wait_closed()
    server.close()
    await asyncio.sleep(0.001)


async def incomplete_read():
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"x")
    writer.write_eof()
    try:
        await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        pass
    writer.close()
    server.close()
    await asyncio.sleep(0.001)


async def handler_that_fails():
    async def fail(reader, writer):
        writer.close()
        raise ValueError

    server, address = await _server(fail)
    reader, writer = await asyncio.open_connection(*address)
    await reader.read()
    writer.close()
    server.close()
    await asyncio.sleep(0.001)


async def reader_cancelled():
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address)
    task = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    writer.close()
    server.close()
    await asyncio.sleep(0.001)


async def above_the_limit():
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address, limit=1000)
    writer.write(bytes(500_000))
    await reader.readexactly(400_000)
    while not reader._paused:
        await asyncio.sleep(0)
    writer.close()
    server.close()
    await asyncio.sleep(0.001)


async def reader_dropped():
    async def talk(reader, writer):
        writer.write(b"hello")
        await reader.read()
        writer.close()

    server, address = await _server(talk)
    reader, writer = await asyncio.open_connection(*address)
    await reader.readexactly(5)
    del reader
    writer.close()
    server.close()
    await asyncio.sleep(0.001)


async def refused():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    server, address = await _server()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"x")
    await reader.readexactly(1)
    with memoryview(reader._buffer):
        writer.write(b"x")
        while reader.exception() is None:
            await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    writer.close()
    server.close()
    await asyncio.sleep(0.001)
