"""Subprocesses of a loop, in whatever thread it runs.

    Popen ---> pidfd ---> reader ---> waitpid ---> SubprocessTransport._process_exited()

The transport is asyncio's own; bytes flow through the C transports of its pipes. The child is watched through a
descriptor of its process: neither SIGCHLD nor asyncio's child watchers nor the main thread have a part in it; but for a
child watcher that the program has chosen, before Python 3.14.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import sys
import threading
from asyncio import unix_events
from asyncio.log import logger
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# asyncio's own, which typeshed does not show: BaseSubprocessTransport with the _start() of the running Python.
_StockTransport: Any = vars(unix_events)["_UnixSubprocessTransport"]

_thread_numbers = itertools.count()

# What asyncio logs when it is not the one who learns the exit status, by the way in which it watches the child.
_READ_ALREADY = "child process pid %d exit status already read:  will report returncode 255"
_UNKNOWN = "Unknown child process pid %d, will report returncode 255"


def _returncode(status: int) -> int:
    """The returncode that Popen would have for a status of waitpid()."""
    try:
        return os.waitstatus_to_exitcode(status)
    except ValueError:
        return status  # stopped or unheard-of: asyncio hands it on


def _chosen_watcher() -> Any:
    """The child watcher that the program has set, which may be one that reaps every child; else None.

    None, too, for those that come of themselves or watch one child each: we do what they do.
    """
    if sys.version_info >= (3, 14):
        return None  # there are none any more
    watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
    known = (asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher, asyncio.SafeChildWatcher)
    return None if type(watcher) in known else watcher


class _UnixSubprocessTransport(_StockTransport):  # type: ignore[misc]
    """asyncio's, of a loop that may hold what was written before a signal to the child."""

    def _send_held(self) -> None:
        if self._loop is not None:  # else the child has ended
            self._loop._send_held()

    def _check_proc(self) -> None:
        super()._check_proc()
        self._send_held()

    def close(self) -> None:
        self._send_held()
        super().close()


class ChildProcesses(asyncio.AbstractEventLoop):
    """What Loop inherits for subprocess_exec() and subprocess_shell(); its close() calls _close_children()."""

    _pidfds: set[int] | None  # of the children that run, None <=> there was none yet
    _pidfds_are_refused = not hasattr(os, "pidfd_open")

    if TYPE_CHECKING:
        # Of the C type.
        def _add_reader(self, fd: int, callback: Callable[..., object], /, *args: Any) -> asyncio.Handle: ...
        def _remove_reader(self, fd: int) -> bool: ...
        def _send_held(self) -> None: ...

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        """Start a process and return its transport, when its pipes are connected."""
        self._send_held()
        watcher = _chosen_watcher()
        with contextlib.nullcontext() if watcher is None else watcher:
            if watcher is not None and not watcher.is_active():
                raise RuntimeError("asyncio.get_child_watcher() is not activated, subprocess support is not installed.")
            waiter = self.create_future()
            transport: Any = _UnixSubprocessTransport(
                self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
            )
            if watcher is None:
                self._watch_child(transport)
            else:
                watcher.add_child_handler(transport.get_pid(), self._child_watcher_callback, transport)
            await self._until_started(transport, waiter)
        started: asyncio.SubprocessTransport = transport
        return started

    async def _until_started(self, transport: Any, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            wait = transport._wait()
            await (asyncio.shield(wait) if sys.version_info >= (3, 14) else wait)
            raise

    def _child_watcher_callback(self, pid: int, returncode: int, transport: Any) -> None:
        """What a child watcher calls, in whatever thread."""
        if sys.version_info >= (3, 12):
            self.call_soon_threadsafe(transport._process_exited, returncode)
        else:
            self.call_soon_threadsafe(self.call_soon, transport._process_exited, returncode)

    def _open_pidfd(self, pid: int) -> int | None:
        """A descriptor that is readable when the process has ended; None where the system gives none."""
        if self._pidfds_are_refused:
            return None
        try:
            return os.pidfd_open(pid)
        except OSError as exc:  # too many are open, or the process was reaped already
            if exc.errno in (errno.ENOSYS, errno.EPERM, errno.EACCES):  # an old kernel, a sandbox
                self._pidfds_are_refused = True
            return None

    def _watch_child(self, transport: Any) -> None:
        """Have the transport told of the end of its process, once."""
        pidfd = self._open_pidfd(transport.get_pid())
        if pidfd is None:
            self._watch_child_by_thread(transport)
            return
        try:
            self._add_reader(pidfd, self._child_ended, transport, pidfd)
        except OSError:  # too many descriptors are open
            os.close(pidfd)
            self._watch_child_by_thread(transport)
            return
        if self._pidfds is None:
            self._pidfds = set()
        self._pidfds.add(pidfd)

    def _child_ended(self, transport: Any, pidfd: int) -> None:
        assert self._pidfds is not None
        self._remove_reader(pidfd)
        self._pidfds.remove(pidfd)
        os.close(pidfd)
        self._reap_child(transport, _READ_ALREADY)

    def _watch_child_by_thread(self, transport: Any) -> None:
        pid = transport.get_pid()

        def wait() -> None:
            # Only looks: the loop's thread reaps the child and tells the transport in one go, so that it never sends
            # a signal to a process that is not there any more.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            try:
                self.call_soon_threadsafe(self._reap_child, transport, _UNKNOWN)
            except RuntimeError:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
                logger.warning("Loop %r that handles pid %r is closed", self, pid)

        threading.Thread(target=wait, name=f"asyncloop-waitpid-{next(_thread_numbers)}", daemon=True).start()

    def _reap_child(self, transport: Any, message: str) -> None:
        pid = transport.get_pid()
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            # Its own Popen may have got it, when the transport was closed before we were told.
            returncode = transport._proc.returncode
            if returncode is None:
                returncode = 255
                logger.warning(message, pid)
        else:
            returncode = _returncode(status)
        # As many turns later as in asyncio, for what the pipes still have to say.
        if sys.version_info >= (3, 14):
            transport._process_exited(returncode)
        elif sys.version_info >= (3, 12):
            self.call_soon(transport._process_exited, returncode)
        else:
            self.call_soon(self.call_soon, transport._process_exited, returncode)

    def _close_children(self) -> None:
        """Watch no child any more."""
        pidfds, self._pidfds = self._pidfds, None
        for pidfd in pidfds or ():
            self._remove_reader(pidfd)
            os.close(pidfd)
