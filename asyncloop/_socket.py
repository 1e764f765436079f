"""The socket that a stream transport shows.

A small write may wait in its transport for the end of the turn. Who goes past the transport, to its socket, finds it
sent: a shutdown() must not overtake it.
"""

import weakref
from asyncio import trsock
from typing import Any

_StockSocket: Any = trsock.TransportSocket


class TransportSocket(_StockSocket):  # type: ignore[misc]
    """What get_extra_info("socket") returns."""

    __slots__ = ("_transport",)

    def __init__(self, sock: Any, transport: Any) -> None:
        super().__init__(sock)
        self._transport = weakref.ref(transport)  # which has us in its extra information

    def _settle(self) -> None:
        transport = self._transport()
        if transport is not None:
            transport.get_write_buffer_size()

    def fileno(self) -> int:
        self._settle()
        return super().fileno()  # type: ignore[no-any-return]

    def dup(self) -> Any:
        self._settle()
        return super().dup()

    def shutdown(self, how: int) -> None:
        self._settle()
        super().shutdown(how)
