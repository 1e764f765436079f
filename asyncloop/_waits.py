"""asyncio's sleep(), timeout(), wait_for(), wait(), shield(), gather() and TaskGroup in C.

What is unusual (a timeout that expires, a task that fails, a subclass that overrides a method) is asyncio's own Python
code, which works on the attributes of the C struct. src/waits/ has the rest.
"""

import asyncio
import inspect
from typing import Any

from . import _core
from ._core import gather, shield, sleep, timeout, timeout_at, wait
from ._primitives import Pickled

__all__ = [
    "TaskGroup",
    "Timeout",
    "gather",
    "shield",
    "sleep",
    "timeout",
    "timeout_at",
    "wait",
    "wait_for",
]


class Timeout(_core.Timeout, Pickled, asyncio.Timeout):  # type: ignore[misc]  # asyncio's is final, on paper
    """Cancels the task in it when the time is over: asyncio.Timeout in C.

    when: the deadline, by the loop's clock; None: there is none.
    """

    __module__ = "asyncloop"


class TaskGroup(_core.TaskGroup, asyncio.TaskGroup):  # type: ignore[misc]  # by version
    """Makes tasks, and waits for them: asyncio.TaskGroup in C."""

    __module__ = "asyncloop"


_core._set_timeout_class(Timeout)

# Before Python 3.12 it makes a task of a coroutine: that is asyncio's own.
wait_for: Any = _core.wait_for if "timeouts" in asyncio.wait_for.__code__.co_names else asyncio.wait_for

for _ours, _stock in ((sleep, asyncio.sleep), (_core.wait_for, asyncio.wait_for), (wait, asyncio.wait)):
    _function: Any = _ours
    _function.__module__ = "asyncloop"
    _function.__signature__ = inspect.signature(_stock)
    _function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(_function)
del _ours, _stock, _function
