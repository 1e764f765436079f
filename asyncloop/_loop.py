"""The event loop: C where it is hot or does I/O (_core.Loop), asyncio's own code where it is cold.

What BaseEventLoop does through hooks that it keeps for its subclasses is inherited: name resolution, happy eyeballs,
create_connection(), create_server(), run_until_complete(), executors, asynchronous generators, exception handlers. So
a parameter that a new Python adds arrives by itself.
"""

import sys
import threading
from asyncio import events
from asyncio.base_events import BaseEventLoop
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, NoReturn

from . import _core, _registry
from ._signals import SignalHandling
from ._tls import TLS

# What we rely on in BaseEventLoop beyond its public methods; tests/loop/test_hooks.py holds each Python against it.
INHERITED_HOOKS = (
    "_check_closed",
    "_check_running",
    "_check_thread",
    "_check_callback",
    "_set_coroutine_origin_tracking",
    "_asyncgen_firstiter_hook",
    "_asyncgen_finalizer_hook",
    "_ensure_resolved",
    "_make_socket_transport",
    "_make_ssl_transport",
    "_start_serving",
    "_stop_serving",
)

_NOT_YET = (
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
)


class Loop(_core.Loop, SignalHandling, TLS, BaseEventLoop):
    """An asyncio event loop on libev, whose create_future() and create_task() make asyncloop's Future and Task.

    backend: how libev waits for descriptors ("epoll", "poll", "select", "kqueue" ...), None for the best there is.

    Raises ValueError for a backend that libev does not have here, OSError when the system lacks the means.
    """

    if TYPE_CHECKING:
        # Of asyncio.BaseEventLoop, whose private methods mypy does not know.
        def _check_running(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...

    def __init__(self, *, backend: str | None = None) -> None:
        _core.Loop.__init__(self, backend=backend)
        BaseEventLoop.__init__(self)

    def run_forever(self) -> None:
        """Run until stop() is called.

        Raises RuntimeError if the loop is closed or running, or if another one runs in this thread.
        """
        self._check_closed()
        self._check_running()
        self._set_coroutine_origin_tracking(self._debug)
        old_hooks = sys.get_asyncgen_hooks()
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            events._set_running_loop(self)
            self._run_until_stopped()
        finally:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*old_hooks)

    def close(self) -> None:
        """Close the event loop: drop what is scheduled and watched, shut the default executor down without waiting.

        Closing it twice does nothing. Raises RuntimeError while it is running.
        """
        if self.is_closed() and not self.is_running():
            return
        BaseEventLoop.close(self)
        self._close_signals()
        self._release()


def _not_yet(name: str) -> Any:
    async def method(self: Loop, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"asyncloop.Loop.{name}() is not there yet")

    method.__name__ = name
    method.__qualname__ = f"Loop.{name}"
    method.__doc__ = "Not there yet: raises NotImplementedError."
    return method


for _name in _NOT_YET:
    setattr(Loop, _name, _not_yet(_name))

_registry.extend_all_tasks()
_registry.learn_task_layout()
_registry.learn_context_layout()
