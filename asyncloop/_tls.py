"""TLS connections. asyncio's own SSLProtocol does the handshake and the end of a connection, C code moves the bytes.

socket <---> SocketTransport <---> SSLProtocol <---> SSLTransport <---> the user's protocol
"""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable, Mapping
from contextvars import Context
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from . import _core

# Any, because typeshed requires arguments that are optional.
_SSLProtocol: Any = sslproto.SSLProtocol
_SocketTransport: Any = _core.SocketTransport

_SocketTransport._start_tls_compatible = True


class SSLProtocol(_core.SSLProtocol, _SSLProtocol):  # type: ignore[misc]
    """The SSLProtocol of the running Python. C code replaces the methods that move bytes."""

    _app_transport: Any
    _app_transport_created: bool
    _loop: Any

    max_size = 0  # of asyncio's receive buffer, which each connection has: the C code has one for all

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self._ssl_buffer, self._ssl_buffer_view

    def _get_app_transport(self) -> _core.SSLTransport:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = _core.SSLTransport(self._loop, self)
            self._app_transport_created = True
        transport: _core.SSLTransport = self._app_transport
        return transport

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if handshake_exc is None:
            self._loop._note_handshake()
        # asyncio's method raises the exception, so that its traceback leads to this frame. To refer to it from here
        # would be a cycle, which keeps the transport until the collector runs.
        passed = [handshake_exc]
        del handshake_exc
        super()._on_handshake_complete(passed.pop())

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_written()
        super().connection_lost(exc)


class TLS(asyncio.AbstractEventLoop):
    """The part of Loop for connections and servers with an SSLContext."""

    if TYPE_CHECKING:
        # Attributes of the C type.
        _debug: bool

        def _make_socket_transport(
            self,
            sock: socket.socket,
            protocol: asyncio.BaseProtocol,
            waiter: asyncio.Future[None] | None = None,
            *,
            extra: Mapping[str, Any] | None = None,
            server: asyncio.Server | None = None,
            context: Context | None = None,
        ) -> _core.SocketTransport: ...

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: SSLContext | None,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Mapping[str, Any] | None = None,
        server: asyncio.Server | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        context: Context | None = None,
    ) -> asyncio.Transport:
        """Return a TLS transport for a connected stream socket. The transport owns the socket.

        The handshake begins in the next turn. After it connection_made() is called, then the waiter's result is set.
        If the handshake fails, the waiter's exception is set. Timeouts are in seconds; None means asyncio's.

        Raises ValueError if a timeout is not positive, or if a server has no context, and RuntimeError if another
        transport has the descriptor.
        """
        ssl_protocol = SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        transport: asyncio.Transport = ssl_protocol._app_transport
        try:
            self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, context=context)
        except BaseException:
            transport.abort()  # else its finaliser would warn that it was not closed
            raise
        return transport

    async def start_tls(
        self,
        transport: asyncio.BaseTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None:
        """Put TLS on top of a connection that is in use. Return the transport to use from now on.

        Timeouts are in seconds; None means asyncio's. Implements AbstractEventLoop.start_tls().

        Raises TypeError if the transport cannot be upgraded, or if sslcontext is not an SSLContext, and ssl.SSLError or
        ConnectionError if the handshake fails.
        """
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        lower: Any = transport
        waiter = self.create_future()
        ssl_protocol = SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        lower.pause_reading()  # the new protocol must get no data before its connection_made()
        if server_side and isinstance(protocol, asyncio.StreamReaderProtocol):
            # The client may have sent its hello already. Then it is in the StreamReader's buffer: take it out.
            reader = getattr(protocol, "_stream_reader", None)
            if reader is not None and reader._buffer:
                ssl_protocol._incoming.write(reader._buffer)
                reader._buffer.clear()
        lower.set_protocol(ssl_protocol)
        begin = self.call_soon(ssl_protocol.connection_made, lower)
        resume = self.call_soon(lower.resume_reading)
        try:
            await waiter
        except BaseException:
            lower.close()
            begin.cancel()
            resume.cancel()
            del waiter  # break the cycle: the waiter has the exception, which has this frame
            raise
        upper: asyncio.Transport = ssl_protocol._app_transport
        return upper

    def _tls_factory(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sslcontext: SSLContext,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> Callable[[], SSLProtocol]:
        """Return a factory for a TLS server: it makes an SSLProtocol around the user's protocol for each connection."""

        def make() -> SSLProtocol:
            protocol = protocol_factory()
            waiter = self.create_future() if self._debug else None
            ssl_protocol = SSLProtocol(
                self,
                protocol,
                sslcontext,
                waiter,
                server_side=True,
                ssl_handshake_timeout=handshake_timeout,
                ssl_shutdown_timeout=shutdown_timeout,
            )
            if waiter is not None:
                transport = ssl_protocol._app_transport
                waiter.add_done_callback(lambda waiter: self._report_handshake(waiter, protocol, transport))
            return ssl_protocol

        return make

    def _report_handshake(
        self, waiter: asyncio.Future[None], protocol: asyncio.BaseProtocol, transport: _core.SSLTransport
    ) -> None:
        """Report that the handshake failed. As in asyncio, this is called in debug mode only."""
        if waiter.cancelled() or (exc := waiter.exception()) is None:
            return
        transport.close()
        self.call_exception_handler(
            {
                "message": "Error on transport creation for incoming connection",
                "exception": exc,
                "protocol": protocol,
                "transport": transport,
            }
        )
