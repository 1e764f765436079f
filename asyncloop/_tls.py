"""TLS connections: asyncio's own SSLProtocol between our socket transport and the user's protocol.

    socket <---> SocketTransport (C) <---> SSLProtocol <---> its app transport <---> the user's protocol

start_tls() is BaseEventLoop's: it puts an SSLProtocol on top of any transport that is _start_tls_compatible.
"""

import asyncio
import socket
from asyncio import sslproto
from asyncio.log import logger
from collections.abc import Callable, Mapping
from contextvars import Context
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from . import _core


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
        # Any: typeshed takes what is optional there for required.
        make: Any = sslproto.SSLProtocol
        ssl_protocol = make(
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

    def _tls_greeter(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sslcontext: SSLContext,
        server: asyncio.Server | None,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> Callable[[socket.socket, Any], None]:
        """Return greet(sock, peername), which a listener calls with each connection that it accepts.

        As in asyncio there is a task for each, which waits for the handshake.
        """

        async def shake_hands(sock: socket.socket, peername: Any) -> None:
            protocol = transport = None
            try:
                protocol = protocol_factory()
                waiter = self.create_future()
                transport = self._make_ssl_transport(
                    sock,
                    protocol,
                    sslcontext,
                    waiter,
                    server_side=True,
                    extra={"peername": peername},
                    server=server,
                    ssl_handshake_timeout=handshake_timeout,
                    ssl_shutdown_timeout=shutdown_timeout,
                )
                try:
                    await waiter
                except BaseException:
                    transport.close()
                    raise
                finally:
                    del waiter  # its exception leads to this frame: a cycle
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                if transport is None:
                    sock.close()
                if self._debug:
                    # Not by way of a variable: it would keep the exception, and that this frame.
                    self.call_exception_handler(
                        {"message": "Error on transport creation for incoming connection", "exception": exc}
                        | ({} if protocol is None else {"protocol": protocol})
                        | ({} if transport is None else {"transport": transport})
                    )

        def greet(sock: socket.socket, peername: Any) -> None:
            sock.setblocking(False)
            if self._debug:
                logger.debug("%r got a new connection from %r: %r", server, peername, sock)
            self.create_task(shake_hands(sock, peername))

        return greet
