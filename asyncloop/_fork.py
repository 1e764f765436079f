"""What a child process does with the loops that it inherits.

A child shares the open files of its parent, and so the epoll set and the wake-up pipe of each loop. If one of the two
changed or read them, the other would miss events. So right after a fork the child closes its copies, and each loop
makes new ones when it is used. The child may drop, close and even run an inherited loop without any effect on the
parent.
Held bytes of the parent are sent before the fork, because otherwise both processes would send them.
"""

import os
import threading
import weakref
from typing import TYPE_CHECKING

from . import _signals

if TYPE_CHECKING:
    from ._loop import Loop

_loops: "weakref.WeakSet[Loop]" = weakref.WeakSet()
_lock = threading.RLock()  # for _loops: without a GIL a thread may add a loop while another one forks


def remember(loop: "Loop") -> None:
    """Register a loop, so that child processes close its descriptors; it is forgotten when it is freed."""
    with _lock:
        _loops.add(loop)


def loops() -> "list[Loop]":
    """Return the loops that were not freed."""
    with _lock:
        return list(_loops)


def _before_fork() -> None:
    _lock.acquire()  # until the fork is over, so that the child has no lock of a thread that it has not
    for loop in list(_loops):
        loop._before_fork()


def _after_fork_in_child() -> None:
    _signals.forget_wakeups()
    for loop in list(_loops):
        loop._after_fork()
        loop._end_stall_watches()  # their threads are not here
    _lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
