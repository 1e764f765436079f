"""The sockets of transports and servers: notice when the program gets them, and send held bytes before it uses them.

If the program may have closed a descriptor, the transport checks it before each use. For a socket that the loop has
made itself this is not needed until the program asks for its number.

Others can see that a socket is bound or listens. So the loop sends its held bytes before that (net/held.c). It also
sends them before an option of the socket is set, as options change how bytes are sent.
"""

import functools
import inspect
import socket
import sys
import weakref
from asyncio import base_events, coroutines, trsock
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_StockSocket: Any = trsock.TransportSocket
_StockServer: Any = base_events.Server
_C = TypeVar("_C", bound=Callable[..., Coroutine[Any, Any, Any]])

# For net/descriptor.c: the number of any socket, also of one whose class overrides fileno().
fileno = socket.socket.fileno

# Files that the program has closed by their numbers, which are other files' now: as long as they live they do not close
# those.
strays: list[Any] = []


class TransportSocket(_StockSocket):  # type: ignore[misc]
    """What get_extra_info("socket") returns; it tells the transport when the program gets the socket or its number."""

    __slots__ = ("_hidden", "_transport")

    def __init__(self, sock: Any, transport: Any) -> None:
        self._transport = weakref.ref(transport)  # weak: the transport's extra information owns us
        self._hidden = sock

    @property
    def _sock(self) -> Any:
        """The socket itself, for fileno(), dup(), shutdown() and the other methods of asyncio's class."""
        transport = self._transport()
        if transport is not None:
            transport._show_number()
        return self._hidden

    def _after_writes(self) -> Any:
        """The socket itself, for methods that do not give the number away; sends held bytes first."""
        transport = self._transport()
        loop = None if transport is None else transport._loop
        if loop is not None:
            loop._send_held()
        return self._hidden

    # What shows no number, and is asked for by servers for each connection.

    @property
    def family(self) -> Any:
        return self._hidden.family

    @property
    def type(self) -> Any:
        return self._hidden.type

    @property
    def proto(self) -> Any:
        return self._hidden.proto

    def getsockopt(self, *args: Any) -> Any:
        return self._after_writes().getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        self._after_writes().setsockopt(*args)

    def getpeername(self) -> Any:
        return self._hidden.getpeername()

    def getsockname(self) -> Any:
        return self._hidden.getsockname()


def after_writes(method: _C) -> _C:
    """Decorate a method of the loop: send held bytes first."""
    signature = inspect.signature(method)

    async def begin(self: Any, args: Any, kwargs: Any) -> Any:
        self._send_held()
        return await method(self, *args, **kwargs)

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        signature.bind(self, *args, **kwargs)  # raises TypeError at the call, as the method would
        return begin(self, args, kwargs)

    # Like the method, it is a coroutine function to asyncio, and from 3.12 to inspect.
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(wrapper)
    else:
        vars(wrapper)["_is_coroutine"] = getattr(coroutines, "_is_coroutine", None)
    return wrapper  # type: ignore[return-value]


def trusts_own_socket(method: _C) -> _C:
    """Decorate a method that makes a transport: without a `sock` argument, the transport's socket is private."""

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, sock: Any = None, **kwargs: Any) -> Any:
        self._send_held()
        transport, protocol = await method(self, *args, sock=sock, **kwargs)
        if sock is None:
            tls = getattr(transport, "_ssl_protocol", None)
            lower = transport if tls is None else tls._transport
            if hasattr(lower, "_trust_number"):  # None: the connection is lost already
                lower._trust_number()
        return transport, protocol

    return wrapper  # type: ignore[return-value]


class Server(_StockServer):  # type: ignore[misc]
    """asyncio's server, which sends held bytes before it begins to listen."""

    __slots__ = ()

    def _start_serving(self) -> None:
        self._loop._send_held()
        super()._start_serving()


def makes_server(method: _C) -> _C:
    """Decorate a method that makes an asyncio.Server: make it one of ours."""

    @after_writes
    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        server = await method(self, *args, **kwargs)
        server.__class__ = Server
        return server

    return wrapper  # type: ignore[return-value]
