"""TCP echo by asyncio's streams and by asyncloop's, as most programs would write it."""

import asyncio
import contextlib
import importlib

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


@contextlib.asynccontextmanager
async def serve_ours(listening):
    server = await importlib.import_module("asyncloop").start_server(answer, sock=listening)
    try:
        yield
    finally:
        server.close()


streams = echo(serve, "streams.echo", "TCP echo, streams")
streams_ours = echo(serve_ours, "streams_ours.echo", "TCP echo, streams (asyncloop's)")
