"""asyncio's streams with their hot methods in C.

A class of _core comes first and has what is hot. What is cold is asyncio's own Python code, which works on the
attributes of the C struct.
"""

import asyncio
import types
from asyncio import streams
from collections.abc import Awaitable, Callable
from typing import Any

from . import _core

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
]

_LIMIT = 2**16
"""The limit of a StreamReader, in bytes, as asyncio has it."""


class StreamReader(_core.StreamReader, asyncio.StreamReader):
    """The bytes that a connection receives: asyncio.StreamReader in C."""

    __module__ = "asyncloop"


class StreamWriter(_core.StreamWriter, asyncio.StreamWriter):
    """What a program writes to a connection with: asyncio.StreamWriter in C."""

    __module__ = "asyncloop"


def _with_our_writer(function: Any) -> Any:
    """Return asyncio's function, as this Python has it, with our StreamWriter under the name that it uses."""
    namespace = {**vars(streams), "StreamWriter": StreamWriter}
    return types.FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)


class StreamReaderProtocol(asyncio.StreamReaderProtocol):
    """The protocol that feeds a StreamReader, and gives a StreamWriter to the callback of a server."""

    __module__ = "asyncloop"

    connection_made = _with_our_writer(asyncio.StreamReaderProtocol.connection_made)


def _make_client(limit: int) -> tuple[StreamReader, StreamReaderProtocol]:
    """Return a reader and the protocol that feeds it, on the running loop."""
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit, loop)
    return reader, StreamReaderProtocol(reader, loop=loop)


def _make_writer(transport: Any, protocol: StreamReaderProtocol, reader: StreamReader) -> StreamWriter:
    return StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


_Callback = Callable[[StreamReader, StreamWriter], Awaitable[None] | None]


def _server_factory(callback: Any, limit: int) -> Callable[[], StreamReaderProtocol]:
    """Return what makes the protocols of the connections that a server accepts."""
    loop = asyncio.get_running_loop()
    return lambda: StreamReaderProtocol(StreamReader(limit, loop), callback, loop=loop)


async def open_connection(
    host: str | None = None, port: int | str | None = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Open a connection, as asyncio.open_connection() does.

    host, port, and keyword arguments: as for loop.create_connection().
    limit: of the reader, in bytes.

    Returns a StreamReader and a StreamWriter. Raises what loop.create_connection() raises.
    """
    reader, protocol = _make_client(limit)
    loop: Any = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, _make_writer(transport, protocol, reader)


async def start_server(
    client_connected_cb: _Callback,
    host: Any = None,
    port: int | str | None = None,
    *,
    limit: int = _LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Start a server, as asyncio.start_server() does.

    client_connected_cb: called with a StreamReader and a StreamWriter for each connection; may be a coroutine function.
    host, port, and keyword arguments: as for loop.create_server().
    limit: of the readers, in bytes.

    Returns an asyncio.Server. Raises what loop.create_server() raises.
    """
    factory = _server_factory(client_connected_cb, limit)
    loop: Any = asyncio.get_running_loop()
    server: asyncio.Server = await loop.create_server(factory, host, port, **kwds)
    return server


async def open_unix_connection(
    path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Open a connection to a Unix socket, as asyncio.open_unix_connection() does.

    path, and keyword arguments: as for loop.create_unix_connection().
    limit: of the reader, in bytes.

    Returns a StreamReader and a StreamWriter. Raises what loop.create_unix_connection() raises.
    """
    reader, protocol = _make_client(limit)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: protocol, path, **kwds)
    return reader, _make_writer(transport, protocol, reader)


async def start_unix_server(
    client_connected_cb: _Callback, path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> asyncio.Server:
    """Start a server on a Unix socket, as asyncio.start_unix_server() does.

    client_connected_cb: called with a StreamReader and a StreamWriter for each connection; may be a coroutine function.
    path, and keyword arguments: as for loop.create_unix_server().
    limit: of the readers, in bytes.

    Returns an asyncio.Server. Raises what loop.create_unix_server() raises.
    """
    factory = _server_factory(client_connected_cb, limit)
    return await asyncio.get_running_loop().create_unix_server(factory, path, **kwds)
