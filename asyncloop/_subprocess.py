"""Subprocesses of a loop, which may run in any thread.

    Popen ---> pidfd ---> reader ---> waitpid ---> SubprocessTransport._process_exited()

The transport is asyncio's own. The transports of its pipes are ours, in C. The loop watches the descriptor of the child
process (pidfd), so it needs neither SIGCHLD nor the main thread nor asyncio's child watchers. If the program has set a
child watcher (before Python 3.14), the loop uses that.
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

from . import _core

# A private class of asyncio, which typeshed does not have: BaseSubprocessTransport with a _start().
_StockTransport: Any = vars(unix_events)["_UnixSubprocessTransport"]

_thread_numbers = itertools.count()

# asyncio's messages when other code has got the exit status: of its watcher by pidfd, and of that by threads.
_READ_ALREADY = "child process pid %d exit status already read:  will report returncode 255"
_UNKNOWN = "Unknown child process pid %d, will report returncode 255"


def _returncode(status: int) -> int:
    """Return the returncode that Popen has for a status of waitpid()."""
    try:
        return os.waitstatus_to_exitcode(status)
    except ValueError:
        return status  # stopped, or an unknown status: asyncio does the same


def _chosen_watcher() -> Any:
    """Return the child watcher that the program has set, or None. It may be one that reaps all children.

    Return None also for the watchers that asyncio makes by default, and for those that watch one child each: the loop
    does what they do.
    """
    if sys.version_info >= (3, 14):
        return None  # asyncio has no watchers any more
    watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
    known = (asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher, asyncio.SafeChildWatcher)
    return None if type(watcher) in known else watcher


class _UnixSubprocessTransport(_StockTransport):  # type: ignore[misc]
    """asyncio's transport. Bytes that the loop holds are sent before a signal to the child."""

    def _send_held(self) -> None:
        if self._loop is not None:  # it is None after the child has ended
            self._loop._send_held()

    def _check_proc(self) -> None:
        super()._check_proc()
        self._send_held()

    def close(self) -> None:
        self._send_held()
        super().close()


class ChildProcesses(asyncio.AbstractEventLoop):
    """The part of Loop for subprocess_exec() and subprocess_shell(). Loop.close() calls _close_children()."""

    _pidfds: set[int] | None  # of the running children; None <=> there was no child yet
    _pidfds_are_refused = not (hasattr(os, "pidfd_open") and _core._features()["pidfd"])

    if TYPE_CHECKING:
        # Methods of the C type.
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
        """Start a process, wait until its pipes are connected, and return its transport."""
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
        """Tell the transport that the child has ended. A child watcher calls this, in any thread."""
        if sys.version_info >= (3, 12):
            self.call_soon_threadsafe(transport._process_exited, returncode)
        else:
            self.call_soon_threadsafe(self.call_soon, transport._process_exited, returncode)

    def _open_pidfd(self, pid: int) -> int | None:
        """Open a descriptor that is readable when the process has ended. Return None if the system refuses."""
        if self._pidfds_are_refused:
            return None
        try:
            return os.pidfd_open(pid)
        except OSError as exc:  # too many descriptors are open, or the process was reaped already
            if exc.errno in (errno.ENOSYS, errno.EPERM, errno.EACCES):  # an old kernel, a sandbox
                self._pidfds_are_refused = True
            return None

    def _watch_child(self, transport: Any) -> None:
        """Tell the transport when its process has ended, once."""
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
            # Do not reap the child here (WNOWAIT): the loop's thread reaps it and tells the transport at once. So the
            # transport never sends a signal to a process that does not exist any more.
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
            # If the transport was closed before, its Popen may have got the status.
            returncode = transport._proc.returncode
            if returncode is None:
                returncode = 255
                logger.warning(message, pid)
        else:
            returncode = _returncode(status)
        # As many turns later as in asyncio: bytes that are still in the pipes come first.
        if sys.version_info >= (3, 14):
            transport._process_exited(returncode)
        elif sys.version_info >= (3, 12):
            self.call_soon(transport._process_exited, returncode)
        else:
            self.call_soon(self.call_soon, transport._process_exited, returncode)

    def _close_children(self) -> None:
        """Stop watching all children."""
        pidfds, self._pidfds = self._pidfds, None
        for pidfd in pidfds or ():
            self._remove_reader(pidfd)
            os.close(pidfd)
