"""Signal handlers of a loop, through Python's own wakeup descriptor.

    kernel ---> CPython's C handler ---> the loop's wake-up pipe ---> ready queue ---> Handle

CPython's handler writes the number of each signal into the pipe by which other threads wake the loop, too. So a
callback runs in the loop like any other. KeyboardInterrupt and handlers of signal.signal() work as they do without a
loop.
"""

import asyncio
import errno
import signal
import sys
import warnings
from asyncio import coroutines, events
from asyncio.log import logger
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

# asyncio.iscoroutinefunction() is deprecated from 3.14, where asyncio itself asks this one.
_iscoroutinefunction = getattr(coroutines, "_iscoroutinefunction", None) or asyncio.iscoroutinefunction


def checkpoint() -> None:
    """Do nothing: at the beginning of any Python function the interpreter handles signals and GIL requests."""


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Do nothing. A signal that a loop handles needs a Python handler: else CPython would not write its number."""


def _run(handle: asyncio.Handle) -> None:
    """Run a handle itself, whose report of an exception tells who has made it: add_signal_handler()."""
    if not handle.cancelled():
        handle._run()


def _check_signal(sig: int) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")


def _raise_uncatchable(sig: int, exc: OSError) -> NoReturn:
    if exc.errno == errno.EINVAL:
        raise RuntimeError(f"sig {sig} cannot be caught") from exc
    raise exc


class _Wakeup:
    """The descriptor that CPython writes the numbers of signals to; a loop has one while it handles signals.

    The loop owns it. `previous` is the descriptor that CPython wrote to before; stop() sets that one again. Loops may
    overlap, so `in_use` lists all of them: stop() must not set a descriptor that another loop has closed. The list
    outlives the loops, so nothing here may refer to a loop or to a handler: it would keep an unused loop alive.
    """

    in_use: list["_Wakeup"] = []

    def __init__(self) -> None:
        self.fd = -1
        self.previous = -1

    def start(self, fd: int) -> None:
        """Make CPython write to `fd`. Raises ValueError outside of the main thread."""
        previous = signal.set_wakeup_fd(fd)
        self.fd = fd
        if previous != fd and self not in self.in_use:
            self.previous = previous
            self.in_use.append(self)

    def move(self, fd: int) -> None:
        """Make CPython write to `fd`, unless other code has set a descriptor since."""
        closed, self.fd = self.fd, fd
        for other in self.in_use:
            if other.previous == closed:
                other.previous = fd
        try:
            current = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(fd if current in (closed, -1) else current)
        except (ValueError, OSError) as exc:  # not the main thread
            logger.info("set_wakeup_fd(%d) failed: %s", fd, exc)

    def stop(self) -> bool:
        """Make CPython write to the descriptor that it wrote to before.

        Outside of the main thread that is impossible: then return False, and the descriptor must stay open. Otherwise
        another file might get its number, and CPython would write to that file.
        """
        if self not in self.in_use:
            return True
        try:
            current = signal.set_wakeup_fd(-1)
        except ValueError as exc:  # not the main thread
            logger.info("set_wakeup_fd(-1) failed: %s", exc)
            return False
        self.in_use.remove(self)
        for other in self.in_use:
            if other.previous == self.fd:
                other.previous = self.previous
        # Other code may have set a descriptor since then: that one stays.
        wanted = self.previous if current == self.fd else current
        try:
            if wanted != -1:
                signal.set_wakeup_fd(wanted)
        except (ValueError, OSError) as exc:
            logger.info("set_wakeup_fd(%d) failed: %s", wanted, exc)
        return True


def forget_wakeups() -> None:
    """In a child process: make CPython write no signal to the pipes of the parent's loops.

    The handlers of these loops are not called in the child, as with asyncio's loops from Python 3.12 on.
    """
    inherited = [wakeup.fd for wakeup in _Wakeup.in_use]
    _Wakeup.in_use.clear()
    try:
        current = signal.set_wakeup_fd(-1)
        if current not in inherited and current != -1:
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
    except ValueError:
        pass  # in a subinterpreter, which has no such descriptor


class SignalHandling(asyncio.AbstractEventLoop):
    """What Loop inherits for add_signal_handler() and remove_signal_handler(); its close() calls _close_signals()."""

    _signal_handlers: dict[int, asyncio.Handle]
    _signal_wakeup: _Wakeup | None  # there is one <=> there are handlers

    if TYPE_CHECKING:
        # Of asyncio.BaseEventLoop and of the C type.
        def _check_closed(self) -> None: ...
        def _acquire_signal_fd(self) -> int: ...
        def _release_signal_fd(self) -> None: ...

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop whenever a signal arrives. This replaces an older handler of the signal.

        sig: the number of the signal.
        callback: a plain function, called in the context of this call.

        Raises TypeError for a coroutine function and for a signal that is no int, ValueError for a number that is no
        signal's, RuntimeError for a signal that cannot be caught, on a closed loop and outside of the main thread.
        """
        if coroutines.iscoroutine(callback) or _iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        self._start_wakeup()
        self._signal_handlers[sig] = events.Handle(callback, args, self, None)
        try:
            signal.signal(sig, _ignore)
            # As few system calls of the program as possible shall fail with EINTR.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            self._drop_signal(sig)
            _raise_uncatchable(sig, exc)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler: SIGINT raises KeyboardInterrupt again, other signals have their default action.

        sig: the number of the signal.

        Returns whether it had a handler. Raises as add_signal_handler() does for the signal; outside of the main thread
        ValueError, and the handler stays.
        """
        _check_signal(sig)
        if sig not in self._signal_handlers:
            return False
        try:
            signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        except OSError as exc:
            self._drop_signal(sig)
            _raise_uncatchable(sig, exc)
        self._drop_signal(sig)
        return True

    def _start_wakeup(self) -> None:
        wakeup = self._signal_wakeup or _Wakeup()
        fd = self._acquire_signal_fd()
        try:
            wakeup.start(fd)
        except (ValueError, OSError) as exc:  # not the main thread
            if wakeup is not self._signal_wakeup:
                self._release_signal_fd()
            raise RuntimeError(str(exc)) from None
        self._signal_wakeup = wakeup

    def _drop_signal(self, sig: int) -> None:
        self._signal_handlers.pop(sig, None)
        if self._signal_wakeup is not None and not self._signal_handlers:
            self._drop_wakeup(self._signal_wakeup)

    def _drop_wakeup(self, wakeup: _Wakeup) -> None:
        self._signal_wakeup = None
        self._signal_handlers.clear()
        if wakeup.stop():
            self._release_signal_fd()

    def _move_wakeup(self) -> None:
        """Make CPython write to a new descriptor: the program has closed the old one."""
        wakeup = self._signal_wakeup
        if wakeup is not None:
            wakeup.move(self._acquire_signal_fd())

    def _handle_signals(self, numbers: bytes) -> None:
        """Handle the bytes from the wake-up pipe: signal numbers, and zeros, which mean nothing."""
        for sig in numbers:
            self._handle_signal(sig)

    def _handle_signal(self, sig: int) -> None:
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return  # removed in the meantime
        if handle.cancelled():
            self.remove_signal_handler(sig)
        else:
            self.call_soon(_run, handle)

    def _close_signals(self) -> None:
        """Remove all handlers; the loop is closed or will be closed at once."""
        if not sys.is_finalizing():
            try:
                for sig in list(self._signal_handlers):
                    self.remove_signal_handler(sig)
            finally:
                if self._signal_wakeup is not None:  # that failed: not the main thread
                    self._drop_wakeup(self._signal_wakeup)
        elif self._signal_handlers:
            warnings.warn(
                f"Closing the loop {self!r} on interpreter shutdown stage, skipping signal handlers removal",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            self._signal_handlers.clear()
