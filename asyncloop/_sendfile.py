"""sendfile() and sock_sendfile() by the system call of that name.

    sock_sendfile() ---> os.sendfile() until the kernel takes no more ---> add_writer() ---> again
    sendfile()      ---> the same with the transport's socket, once what was written before is sent

The first is asyncio's own code. For the second the transport lends its descriptor: it neither reads nor writes
meanwhile, and add_writer() may use it.
"""

import asyncio
from asyncio import constants, trsock, unix_events
from typing import IO, TYPE_CHECKING, Any

from . import _core

_constants: Any = constants
_stock: Any = unix_events._UnixSelectorEventLoop
_TransportSocket: Any = trsock.TransportSocket
_SocketTransport: Any = _core.SocketTransport

_SocketTransport._sendfile_compatible = _constants._SendfileMode.TRY_NATIVE


class _LentSocket(_TransportSocket):  # type: ignore[misc]
    """The socket of a transport, during a sendfile()."""

    __slots__ = ("transport",)

    def __init__(self, transport: Any) -> None:
        super().__init__(transport.get_extra_info("socket"))
        self.transport = transport

    def fileno(self) -> int:
        """The number; -1 if the transport or the program has closed the descriptor."""
        return self.transport._own_number()  # type: ignore[no-any-return]


class Sendfile(asyncio.AbstractEventLoop):
    """A base class of Loop, with the native implementations for BaseEventLoop's sendfile() and sock_sendfile()."""

    _sock_sendfile_update_filepos = _stock._sock_sendfile_update_filepos
    _sock_add_cancellation_callback = _stock._sock_add_cancellation_callback

    if TYPE_CHECKING:
        # Of the C type.
        def _send_held(self) -> None: ...
        def _note_sent(self, count: int, /) -> None: ...

    async def _sock_sendfile_native(self, sock: Any, file: IO[bytes], offset: int, count: int | None) -> int:
        sent: int = await _stock._sock_sendfile_native(self, sock, file, offset, count)
        self._note_sent(sent)
        return sent

    def _sock_sendfile_native_impl(
        self, fut: asyncio.Future[int], registered_fd: int | None, sock: Any, *args: Any
    ) -> None:
        self._send_held()
        if isinstance(sock, _LentSocket):
            if registered_fd is None:  # the first call of many
                sock.transport._lend(fut)
            elif fut.done() and not fut.cancelled():  # the connection was lost while this was queued
                return
        _stock._sock_sendfile_native_impl(self, fut, registered_fd, sock, *args)

    async def _sendfile_native(self, transp: Any, file: IO[bytes], offset: int, count: int | None) -> int:
        all_is_sent = transp._make_empty_waiter()
        was_reading = transp.is_reading()
        transp.pause_reading()
        try:
            await all_is_sent
            return await self.sock_sendfile(_LentSocket(transp), file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if was_reading:
                transp.resume_reading()
