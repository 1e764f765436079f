"""TLS connections: C code moves the bytes; asyncio's own SSLProtocol does the handshake and the end.

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

# Any: typeshed takes what is optional there for required.
_SSLProtocol: Any = sslproto.SSLProtocol


class SSLProtocol(_core.SSLProtocol, _SSLProtocol):  # type: ignore[misc]
    """The running Python's SSLProtocol, with the methods that move bytes replaced by C."""

    _app_transport: Any
    _app_transport_created: bool

    max_size = 0  # of a receive buffer for each connection: the C part has a better one

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_written()
        super().connection_lost(exc)


class TLS(asyncio.AbstractEventLoop):
    """What Loop inherits for connections and servers with an SSLContext."""

    if TYPE_CHECKING:
        # Of the C type.
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
        """Return a TLS transport for a connected stream socket, which it owns.

        The handshake begins in the next turn. Once it is done, connection_made() is called, then the waiter gets its
        result; the waiter gets the exception of a handshake that fails. Timeouts are in seconds, None for asyncio's.

        Raises ValueError for a timeout that is not positive and for a server without a context, RuntimeError for a
        descriptor that a transport has already.
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
            transport.abort()  # else it would warn that nobody has closed it
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
        """Put TLS on top of a connection that is in use; return the transport to use from now on.

        Timeouts are in seconds, None for asyncio's. Implements AbstractEventLoop.start_tls().

        Raises TypeError for a transport that cannot be upgraded and for what is no SSLContext, and what makes the
        handshake fail: ssl.SSLError, ConnectionError.
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
            # A client that has not waited has sent its hello already: it is in the StreamReader's buffer. Take it out.
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
        """Return what a TLS server makes for each connection that it accepts: TLS around the user's protocol."""

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
        """Report a handshake that failed; as in asyncio, in debug mode only."""
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
