"""serve_metrics(): a program that lets `python -m asyncloop top` look at it.

    a thread: Unix socket <--- a connection for each viewer
                  one line ("\\n") of the viewer ---> one line of JSON: sample()

It is a thread and not a loop, so that a loop that is blocked can be looked at. While a viewer is connected, the loops
are profiled.
"""

import asyncio
import atexit
import base64
import contextlib
import os
import socket
import sys
import threading
import weakref
from collections import Counter
from typing import Any, Self

from . import _core, _fork, _metrics, _profile
from ._version import __version__

__all__ = ["MetricsServer", "serve_metrics"]

# The most names of tasks and callbacks in a sample, and how long a viewer may take to read it.
_MOST_NAMES = 50
_PATIENCE = 5.0


def default_path(pid: int) -> str:
    """Return where a process serves its metrics if it says no other path."""
    import tempfile  # takes longer than most of asyncloop

    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return os.path.join(folder, f"asyncloop-{pid}.sock")


def _figures(figures: tuple[Any, ...]) -> list[Any]:
    return [base64.b64encode(item).decode() if isinstance(item, bytes) else item for item in figures]


def _unpack(figures: list[Any]) -> tuple[Any, ...]:
    return tuple(base64.b64decode(item) if isinstance(item, str) else item for item in figures)


def _snapshot(figures: tuple[Any, ...], number: int, waiting: int) -> dict[str, Any]:
    metrics = _metrics.make(figures, number, waiting)
    return {"figures": _figures(figures), "number": number, "waiting": waiting, "time": metrics.time}


def read_snapshot(snapshot: dict[str, Any]) -> _metrics.Metrics:
    """Return the snapshot that is in a sample."""
    figures = _unpack(snapshot["figures"])
    return _metrics.make(figures, snapshot["number"], snapshot["waiting"], snapshot["time"])


def _tasks(loop: Any) -> list[tuple[str, int]]:
    """How many tasks there are by the name of their coroutine, the most first."""
    try:
        tasks = asyncio.all_tasks(loop)
    except RuntimeError:  # they have changed again and again meanwhile
        return []
    names = Counter(getattr(task.get_coro(), "__qualname__", type(task).__qualname__) for task in tasks)
    return names.most_common(_MOST_NAMES)


def _timings(timings: list[_profile.Timing]) -> list[tuple[str, int, float, float]]:
    return [(timing.name, timing.count, timing.seconds, timing.longest) for timing in timings[:_MOST_NAMES]]


class _Viewer:
    """What one viewer sees. It has a profile of each loop."""

    def __init__(self) -> None:
        self._profiles: weakref.WeakKeyDictionary[Any, _profile.Profile] = weakref.WeakKeyDictionary()

    def sample(self) -> dict[str, Any]:
        loops = sorted(_fork.loops(), key=lambda loop: loop._number)
        return {
            "asyncloop": __version__,
            "pid": os.getpid(),
            "python": sys.version.split()[0],
            "command": sys.argv,
            "all": _snapshot(_core._figures(), 0, sum(map(_metrics.jobs_waiting, loops))),
            "loops": [self._loop(loop) for loop in loops if not loop.is_closed()],
        }

    def _loop(self, loop: Any) -> dict[str, Any]:
        profile = self._profiles.get(loop)
        if profile is None:
            profile = self._profiles[loop] = _profile.Profile(loop)
            _call(loop, profile.__enter__)
        return {
            **_snapshot(loop._figures(), loop._number, _metrics.jobs_waiting(loop)),
            "running": loop.is_running(),
            "tasks": _tasks(loop),
            "task_times": _timings(profile.tasks),
            "callback_times": _timings(profile.callbacks),
        }

    def close(self) -> None:
        for loop, profile in self._profiles.items():
            _call(loop, profile.__exit__, None, None, None)


def _call(loop: Any, function: Any, *args: Any) -> None:
    """Have the loop call a function: without a GIL its lock may be taken for long."""
    with contextlib.suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(function, *args)


class MetricsServer:
    """Serves what serve_metrics() says until it is closed. A context manager.

    path: of the socket.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(path)
            self._file = os.stat(path)
            try:
                os.chmod(path, 0o600)  # nobody can connect before listen()
                self._socket.listen(8)
            except BaseException:
                os.unlink(path)
                raise
        except BaseException:
            self._socket.close()
            raise
        self._pid = os.getpid()
        _servers.add(self)
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and remove the socket, unless another file has its path now. May be called again.

        Viewers that are connected see the end.
        """
        if self not in _servers:
            return
        _servers.discard(self)
        atexit.unregister(self.close)
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self.path), self._file):
                    os.unlink(self.path)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _serve(self) -> None:
        while self in _servers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            _start(self._show, connection)

    def _show(self, connection: socket.socket) -> None:
        import json

        viewer = _Viewer()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)
            while self in _servers:
                connection.sendall(json.dumps(viewer.sample()).encode() + b"\n")
                connection.settimeout(60 * _PATIENCE)
                if not connection.recv(1):
                    break
                connection.settimeout(_PATIENCE)
        viewer.close()


_servers: set[MetricsServer] = set()


def _start(function: Any, *args: Any) -> None:
    threading.Thread(target=function, args=args, name="asyncloop metrics", daemon=True).start()


def _after_fork_in_child() -> None:
    for server in list(_servers):
        server.close()


os.register_at_fork(after_in_child=_after_fork_in_child)


def serve_metrics(path: str | os.PathLike[str] | None = None) -> MetricsServer:
    """Let `python -m asyncloop top` look at this process, through a Unix socket that only its user may connect to.

    path: of the socket, which must not exist; None: asyncloop-<pid>.sock in XDG_RUNTIME_DIR, or else in the folder for
        temporary files, where `top` finds it by the process number.

    A thread serves it, so a blocked loop can be looked at. While somebody looks, the loops are profiled. Returns a
    MetricsServer, whose close() ends it and removes the socket; so does the end of the program. A child process does
    not serve. Raises OSError if the path exists (and leaves that alone) or cannot be made, TypeError if it is no path,
    ValueError if it is empty or abstract.
    """
    if path is None:
        path = default_path(os.getpid())
    path = os.fspath(path)
    if not isinstance(path, str):
        raise TypeError(f"path must be a str or a path-like object, not {type(path).__name__}")
    if not path or "\0" in path:
        raise ValueError("path must not be empty or have null characters")
    server = MetricsServer(path)
    try:
        _start(server._serve)
    except BaseException:
        server.close()
        raise
    return server
