"""The loops of processes that multiprocessing makes for a program under `python -m asyncloop`.

A forked child has the policy of its parent. One that is spawned, or made by the fork server, is a new interpreter. It
would run on asyncio's loop, so that the start method would decide on the loop. multiprocessing sends each child a copy
of the settings of the current process. We add one, which installs our policy when the child unpickles it. That is
after the child has got sys.path and imported the main module, and before it unpickles and runs what it is for.
"""

import multiprocessing
from collections.abc import Callable
from typing import Any


class _Installation:
    """Pickled, it is a call that installs the policy in the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[], "_Installation"], tuple[()]]:
        return _install, ()


def _install() -> _Installation:
    from ._policy import install_silently

    install_silently()
    return _Installation()  # for the children of the child


def install_in_children() -> None:
    """Let the processes that multiprocessing makes for this one run on our policy, and their children, too."""
    settings: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    settings["asyncloop"] = _Installation()
