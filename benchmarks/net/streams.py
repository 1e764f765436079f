"""TCP echo by asyncio's streams, as most programs would write it."""

import asyncio
import contextlib

from net.echo import echo


async def answer(reader, writer):
    with contextlib.suppress(ConnectionError):  # the load generator leaves in the middle of a message
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def serve(listening):
    server = await asyncio.start_server(answer, sock=listening)
    try:
        yield
    finally:
        server.close()


streams = echo(serve, "streams.echo", "TCP echo, streams")
