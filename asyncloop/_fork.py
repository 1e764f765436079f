"""What a child process does with the loops that it inherits.

A child shares the open files of its parent, and so the epoll set and the wake-up of each loop: what one of the two
registers or reads there, the other loses. So right after a fork the child lets go of them, and each loop makes its own
when it is used. The child may drop, close and even go on running an inherited loop, and the parent notices nothing.
What a transport of the parent holds is sent before the fork, else both would send it.
"""

import os
import weakref
from typing import TYPE_CHECKING

from . import _signals

if TYPE_CHECKING:
    from ._loop import Loop

_loops: "weakref.WeakSet[Loop]" = weakref.WeakSet()


def remember(loop: "Loop") -> None:
    """Have a loop taken care of in child processes, for as long as it lives."""
    _loops.add(loop)


def _before_fork() -> None:
    for loop in list(_loops):
        loop._before_fork()


def _after_fork_in_child() -> None:
    _signals.forget_wakeups()
    for loop in list(_loops):
        loop._after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
