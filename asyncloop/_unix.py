"""Unix sockets: asyncio's own code, which uses only the loop's public methods and hooks.

So it has the parameters and messages of the running Python. Only the end of a server is written here.
"""

import asyncio
import os
import socket
from asyncio import unix_events
from asyncio.log import logger
from typing import Any

from ._socket import makes_server, trusts_own_socket

_stock: Any = unix_events._UnixSelectorEventLoop


class UnixSockets(asyncio.AbstractEventLoop):
    """What Loop inherits for create_unix_connection() and create_unix_server(); its _stop_serving() asks the rest."""

    create_unix_connection = trusts_own_socket(_stock.create_unix_connection)
    create_unix_server = makes_server(_stock.create_unix_server)

    # The inode of the path of each listening socket that is to be removed with it; create_unix_server() fills it from
    # Python 3.13 on.
    _unix_server_sockets: dict[socket.socket, int]

    def _unix_path_of(self, sock: socket.socket) -> tuple[str | bytes, int] | None:
        """The path that is to be removed when a listening socket is closed, with its inode. To be asked before."""
        if sock not in self._unix_server_sockets:
            return None
        return sock.getsockname(), self._unix_server_sockets.pop(sock)

    def _remove_unix_path(self, path: str | bytes, inode: int) -> None:
        """Remove the path of a server that was closed, unless it names another file by now."""
        try:
            if os.stat(path).st_ino == inode:
                os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as err:
            logger.error("Unable to clean up listening UNIX socket %r: %r", path, err)
