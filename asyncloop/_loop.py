"""The event loop: methods that are called often or do I/O are in C (_core.Loop), the others are asyncio's own code.

Inherited are: name resolution, happy eyeballs, create_connection(), create_server(), connect_read_pipe(),
subprocess_exec(), run_until_complete(), executors, asynchronous generators, exception handlers. BaseEventLoop calls our
C code through the hooks that it has for its subclasses. So we get the parameters that a new Python adds.
"""

import asyncio
import itertools
import socket
import sys
import threading
from asyncio import events
from asyncio.base_events import BaseEventLoop
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from . import _core, _fork, _metrics, _patches, _registry, _stall
from ._inside import Inside
from ._sendfile import Sendfile
from ._signals import SignalHandling
from ._socket import after_writes, makes_server, trusts_own_socket
from ._subprocess import ChildProcesses
from ._tls import TLS
from ._unix import UnixSockets

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# The private attributes of BaseEventLoop that we rely on; tests/loop/test_hooks.py checks them on each Python.
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
    "_make_datagram_transport",
    "_make_ssl_transport",
    "_make_read_pipe_transport",
    "_make_write_pipe_transport",
    "_make_subprocess_transport",
    "_start_serving",
    "_stop_serving",
    "_sendfile_native",
    "_sock_sendfile_native",
    # Of turns that are asyncio's own: _inside.py.
    "_process_events",
    "_write_to_self",
)

# The attributes that BaseEventLoop sets on its instances and that _core.Loop does not have.
BASE_ATTRIBUTES = (
    "_timer_cancelled_count",
    "_default_executor",
    "_internal_fds",
    "_exception_handler",
    "_old_agen_hooks",
    "slow_callback_duration",
    "_coroutine_origin_tracking_enabled",
    "_coroutine_origin_tracking_saved_depth",
    "_asyncgens",
    "_asyncgens_shutdown_called",
    "_executor_shutdown_called",
)


_run_forever = BaseEventLoop.run_forever
_run_forever_code = _run_forever.__code__
_run_forever_is_plain = _patches.is_plain("run_forever")()
_run_in_executor_is_plain = _patches.is_plain("run_in_executor")

has_run = False  # whether a loop of this class has run in this process


_numbers = itertools.count(1)  # of loops, so that their metrics are not mixed up


class Loop(_core.Loop, Inside, SignalHandling, UnixSockets, TLS, Sendfile, ChildProcesses, BaseEventLoop):
    """An asyncio event loop, whose create_future() and create_task() make asyncloop's Future and Task.

    backend: how it waits for descriptors: "epoll", or one of libev's ("poll", "select", "kqueue" ...); None: the best.
    hold_writes: whether the small writes of one step to one connection may be sent together when the step returns.
    keep_tasks: whether the loop refers to each task of create_task() until it is done. asyncio's loop does not: a task
        to which nothing else refers may be collected while it waits.

    Raises ValueError for a backend that this system does not have, OSError if descriptors or memory are used up.
    """

    # A loop gets a __dict__ when the program sets an attribute of its own; without one the interpreter finds methods
    # faster.
    __slots__ = (
        *BASE_ATTRIBUTES,
        "_unix_server_sockets",
        "_signal_handlers",
        "_signal_wakeup",
        "_pidfds",
        "_selector_now",
        "_has_polled",
        "_late_timers",
        "_number",
        "_stall_watches",
    )

    if TYPE_CHECKING:
        # Of asyncio.BaseEventLoop, whose private methods mypy does not know.
        _default_executor: Any
        _executor_shutdown_called: bool

        _old_agen_hooks: Any

        def _check_running(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...

    def __init__(self, *, backend: str | None = None, hold_writes: bool = True, keep_tasks: bool = False) -> None:
        self._selector_now = None
        self._has_polled = False
        self._late_timers = {}
        self._number = next(_numbers)
        self._stall_watches: list[_stall.StallWatch] = []
        _core.Loop.__init__(self, backend=backend, hold_writes=hold_writes, keep_tasks=keep_tasks)
        BaseEventLoop.__init__(self)
        self._ready = self._scheduled = None  # ours again
        self._old_agen_hooks = None
        self._unix_server_sockets = {}
        self._signal_handlers = {}
        self._signal_wakeup = None
        self._pidfds = None
        _fork.remember(self)

    def __repr__(self) -> str:
        text = super().__repr__()
        return f"<asyncloop.{text.removeprefix('<')}" if type(self) is Loop else text

    def run_forever(self) -> None:
        """Run until stop() is called.

        Raises RuntimeError if the loop is closed or running, or if another one runs in this thread.
        """
        global has_run

        has_run = True
        plain = BaseEventLoop.run_forever is _run_forever and _run_forever.__code__ is _run_forever_code
        if not plain or not _run_forever_is_plain:
            super().run_forever()
            return
        was_running, began = self._thread_id is not None, False
        try:
            self._run_forever_setup()
            began = True
            # A warning of a finaliser that runs in a step names this frame. If there is no memory for a frame object
            # then, the interpreter crashes: so make the frame object now.
            sys._getframe()
            self._run_until_stopped()
        finally:
            if began or (not was_running and self._thread_id == threading.get_ident()):
                self._run_forever_cleanup()

    # From 3.13 on BaseEventLoop has these two, for its subclasses to override or to call.

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        self._begin_run()  # another thread may have begun since the check
        self._old_agen_hooks = sys.get_asyncgen_hooks()
        self._set_coroutine_origin_tracking(self._debug)
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
        events._set_running_loop(self)

    def _run_forever_cleanup(self) -> None:
        self._stopping = False
        self._thread_id = None
        events._set_running_loop(None)
        self._set_coroutine_origin_tracking(False)
        if self._old_agen_hooks is not None:
            sys.set_asyncgen_hooks(*self._old_agen_hooks)
            self._old_agen_hooks = None

    create_connection = trusts_own_socket(_patches.as_now("create_connection"))
    create_datagram_endpoint = trusts_own_socket(_patches.as_now("create_datagram_endpoint"))
    create_server = makes_server(_patches.as_now("create_server"))
    start_tls = _patches.unless_replaced(TLS.start_tls)
    shutdown_default_executor = after_writes(_patches.as_now("shutdown_default_executor"))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Call the exception handler, or log if there is none, for an error that no code can catch.

        context: describes the error; it has at least "message". set_exception_handler() documents the other keys.
        """
        self._note_report()
        super().call_exception_handler(context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Call func(*args) in a thread or process of an executor; None: in the loop's own threads.

        Returns a future for the result. Raises RuntimeError if the loop is closed or its executor was shut down; in
        debug mode TypeError if func is a coroutine function or is not callable.
        """
        self._send_held()
        chosen = self._default_executor if executor is None else executor
        if (
            chosen is None
            or self._debug
            or self._executor_shutdown_called
            or self.is_closed()
            or not _run_in_executor_is_plain()
        ):
            return super().run_in_executor(executor, func, *args)
        return self._wrap_future(chosen.submit(func, *args))

    def metrics(self) -> _metrics.Metrics:
        """Return a snapshot of what the loop has counted and measured since it was made.

        Any thread may call it at any time, also of a loop that is blocked or closed.
        """
        return _metrics.make(self._figures(), self._number, _metrics.jobs_waiting(self))

    def on_stall(self, threshold: float, callback: Callable[[_stall.Stall], object]) -> _stall.StallWatch:
        """Have a thread call callback(stall) when the loop is blocked, while it is, and again when it goes on.

        threshold: for how many seconds the loop must not have looked for what is due.
        callback: called in the thread, with an asyncloop.Stall, which has the stack of the loop's thread. Of the loop's
            methods it may call call_soon_threadsafe() only. What it raises is given to the loop's exception handler.

        Returns a StallWatch, whose cancel() ends it; so does close(). A child process does not inherit it. With a GIL,
        a stall in C code that keeps the GIL is reported when that code releases it. The thread never keeps the
        interpreter from exiting. Raises TypeError if an argument has the wrong type, ValueError if the threshold is not
        positive, RuntimeError if the loop is closed.
        """
        watch = _stall.watch(self, threshold, callback)
        self._stall_watches = [watch, *(other for other in self._stall_watches if not other.cancelled())]
        return watch

    def _end_stall_watches(self) -> None:
        for watch in self._stall_watches:
            watch.cancel()
        self._stall_watches = []

    def close(self) -> None:
        """Close the event loop: drop all handles and watches, shut down the default executor without waiting.

        Closing it twice does nothing. Raises RuntimeError while the loop is running. Outside of the main thread it
        raises ValueError if the loop handles signals, but closes the loop.
        """
        if self.is_closed() and not self.is_running():
            return
        self._check_not_running()
        super().close()
        self._selector_now = None
        self._end_stall_watches()
        try:
            self._close_signals()
        finally:
            self._close_children()
            self._release()

    def _stop_serving(self, sock: socket.socket, /) -> None:
        path = self._unix_path_of(sock)
        _core.Loop._stop_serving(self, sock)
        if path is not None:
            self._remove_unix_path(*path)


_registry.extend_all_tasks()
