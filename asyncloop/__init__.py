"""An asyncio event loop in C on epoll and libev, with its own Future and Task.

    import asyncloop

    asyncloop.run(main())

does what asyncio.run(main()) does; the README names the other ways in.
"""

import asyncio
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

try:
    from ._core import Future, Task
except ModuleNotFoundError as exc:
    if exc.name != f"{__name__}._core":
        raise
    from ._unbuilt import installed_package

    try:
        __path__[:] = installed_package()
    except ImportError as missing:
        raise missing from None
    from ._core import Future, Task
from ._accelerate import accelerate, decelerate
from ._channel import Channel, QueueShutDown
from ._loop import Loop
from ._metrics import Delay, Interval, Metrics, metrics
from ._primitives import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    Semaphore,
)
from ._profile import Profile, Timing, profile
from ._serve import MetricsServer, serve_metrics
from ._stall import Stall, StallWatch
from ._streams import (
    StreamReader,
    StreamReaderProtocol,
    StreamWriter,
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)
from ._version import __version__
from ._waits import TaskGroup, Timeout, gather, shield, sleep, timeout, timeout_at, wait, wait_for
from ._workers import Worker, run_workers

if TYPE_CHECKING:
    from ._policy import EventLoopPolicy

    tls_engine: str
    """What encrypts new TLS connections: "openssl", called directly; or "ssl", the methods of Python's ssl module."""

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Channel",
    "Condition",
    "Delay",
    "Event",
    "EventLoopPolicy",
    "Future",
    "Interval",
    "LifoQueue",
    "Lock",
    "Loop",
    "Metrics",
    "MetricsServer",
    "PriorityQueue",
    "Profile",
    "Queue",
    "QueueShutDown",
    "Semaphore",
    "Stall",
    "StallWatch",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Task",
    "TaskGroup",
    "Timeout",
    "Timing",
    "Worker",
    "__version__",
    "accelerate",
    "decelerate",
    "gather",
    "install",
    "metrics",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "profile",
    "run",
    "run_workers",
    "serve_metrics",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "wait",
    "wait_for",
]

_T = TypeVar("_T")

# As users name them: repr() and pickle say asyncloop.Loop.
for _name in __all__:
    if getattr(globals().get(_name), "__module__", "").startswith(f"{__name__}."):
        globals()[_name].__module__ = __name__
del _name


def new_event_loop() -> Loop:
    """Return a new event loop, which is not set as the current one: Loop() with the defaults of its arguments."""
    return Loop()


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
) -> _T:
    """Do what asyncio.run() does, on an asyncloop.Loop.

    main: the coroutine to run.
    debug: whether the loop runs in debug mode; None leaves that to PYTHONASYNCIODEBUG and -X dev.
    loop_factory: makes the loop, such as functools.partial(asyncloop.Loop, backend="poll").

    Returns what main returns and raises what it raises; RuntimeError when called from a running event loop.
    """
    if sys.version_info >= (3, 12):
        return asyncio.run(main, debug=debug, loop_factory=loop_factory)

    # 3.11 has asyncio.Runner, but its asyncio.run() takes no loop_factory.
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


def install() -> None:
    """Make asyncloop the loop of whatever uses asyncio in this process from now on.

    It sets asyncloop.EventLoopPolicy. Policies are deprecated from Python 3.14: there it warns as asyncio does
    (DeprecationWarning), and run() or asyncio.run(..., loop_factory=asyncloop.new_event_loop) is to be preferred.
    Raises ImportError from Python 3.16, which has none.
    """
    from . import _policy

    _policy.install(stacklevel=2)


def __getattr__(name: str) -> Any:
    # Imported when asked for: a Python that has dropped policies can still import the rest.
    if name == "EventLoopPolicy":
        try:
            from ._policy import EventLoopPolicy
        except ImportError as exc:
            raise AttributeError(str(exc)) from None
        if sys.version_info >= (3, 14):
            warnings.warn(
                "asyncloop.EventLoopPolicy is deprecated, as event loop policies are: use asyncloop.run()",
                DeprecationWarning,
                stacklevel=2,
            )
        return EventLoopPolicy
    if name == "tls_engine":
        from . import _core

        return _core._tls_engine()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
