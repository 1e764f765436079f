"""Notices what a program overrides of locks, queues, timeouts and the like, so that C code does not bypass it.

src/primitives/primitive.c asks is_plain() when it first meets a class, and again when the class or a base of it has
changed. What is overridden on an object it notices itself.
"""

import asyncio
import os
import types
from asyncio import mixins, timeouts
from typing import Any

STOCK: dict[str, Any] = {
    "StreamReader": asyncio.StreamReader,
    "StreamWriter": asyncio.StreamWriter,
    "Lock": asyncio.Lock,
    "Event": asyncio.Event,
    "Condition": asyncio.Condition,
    "Semaphore": asyncio.Semaphore,
    "BoundedSemaphore": asyncio.BoundedSemaphore,
    "Queue": asyncio.Queue,
    "Timeout": asyncio.Timeout,
    "TaskGroup": asyncio.TaskGroup,
}
"""asyncio's classes, by the names of ours in _core."""

_SEMAPHORE = ("acquire", "release", "locked", "_wake_up_next", "_get_loop")

# The methods that C code bypasses: of our class, or else of asyncio's.
_BYPASSED = {
    "StreamReader": (
        "read",
        "readline",
        "readuntil",
        "feed_data",
        "feed_eof",
        "exception",
        "_wait_for_data",
        "_wakeup_waiter",
        "_maybe_resume_transport",
    ),
    "StreamWriter": (
        "write",
        "writelines",
        "close",
        "is_closing",
        "drain",
        "wait_closed",
    ),
    "Lock": ("acquire", "release", "_wake_up_first", "_get_loop"),
    "Event": ("_get_loop",),
    "Condition": ("_get_loop", "_notify", "notify"),
    "Semaphore": _SEMAPHORE,
    "BoundedSemaphore": _SEMAPHORE,
    "Queue": (
        "put",
        "get",
        "put_nowait",
        "get_nowait",
        "qsize",
        "empty",
        "full",
        "_wakeup_next",
        "_get_loop",
    ),
    "Timeout": ("reschedule", "_on_timeout", "__aenter__", "__aexit__"),
    "TaskGroup": (
        "create_task",
        "_on_task_done",
        "_abort",
        "_is_base_error",
        "__aenter__",
        "__aexit__",
        "_aexit",
    ),
}

# What C code does itself, if a class has all three of one of asyncio's, by the numbers of primitives/queue.c.
_HOOKS = ("_init", "_put", "_get")
_ORDERS = {asyncio.Queue: 1, asyncio.LifoQueue: 2, asyncio.PriorityQueue: 3}
_CALLS_HOOKS = 4

# What changed with a patch release: primitives/primitive.h says what it is.
SEMAPHORE_FILLS = "done" in asyncio.Semaphore.acquire.__code__.co_names
CONDITION_PASSES_ON = hasattr(asyncio.Condition, "_notify")

# What C code leaves to asyncio: a timeout that expires, and what is unusual of the functions.
TIMEOUT = asyncio.timeout
TIMEOUT_EXPIRE = vars(asyncio.Timeout)["_on_timeout"]
TIMEOUT_STATES = tuple(timeouts._State)  # type: ignore[attr-defined]
SLEEP = asyncio.sleep
WAIT_FOR = asyncio.wait_for
WAIT = asyncio.wait
GATHER = asyncio.gather
SHIELD = asyncio.shield

# With a patch release __aexit__() drops the parent and the errors at its end, in any case.
TASK_GROUP_FORGETS = hasattr(asyncio.TaskGroup, "_aexit")

# With a patch release gather() ends the awaits of all when one fails.
GATHER_FORGETS_ALL = hasattr(asyncio.tasks, "_discard_awaited_by")

# What shield() does after its outer future was cancelled changed with some patch releases. Known are: it retrieves the
# exception of the inner one; it has it logged, by this function; and it ends the await of the inner one at once.
_CODE_OF_SHIELD = getattr(SHIELD, "__code__", None)  # None: the program has put something else there
_SHIELD = {
    code.co_name: code.co_names
    for code in getattr(_CODE_OF_SHIELD, "co_consts", ())
    if isinstance(code, types.CodeType)
}
_INNER, _OUTER, _CLEAR = "_inner_done_callback", "_outer_done_callback", "_clear_awaited_by_callback"
SHIELD_IS_KNOWN = (
    {_INNER, _OUTER} <= set(_SHIELD) <= {_INNER, _OUTER, _CLEAR}
    and {"exception", "cancel", "set_exception", "set_result"} <= set(_SHIELD[_INNER])
    and "remove_done_callback" in _SHIELD[_OUTER]
)
SHIELD_RETRIEVES = SHIELD_IS_KNOWN and _SHIELD[_INNER].index("exception") < _SHIELD[_INNER].index("cancel")
SHIELD_ENDS_AWAIT = SHIELD_IS_KNOWN and "future_discard_from_awaited_by" in _SHIELD[_OUTER]
SHIELD_ENSURES = "_ensure_future" if "_ensure_future" in getattr(_CODE_OF_SHIELD, "co_names", ()) else "ensure_future"
SHIELD_ENSURE_FUTURE = getattr(asyncio.tasks, SHIELD_ENSURES, None)
SHIELD_LOG = (
    getattr(asyncio.tasks, "_log_on_exception", None)
    if SHIELD_IS_KNOWN and "_log_on_exception" in _SHIELD[_OUTER]
    else None
)

# wait() leaves the work to this function. From Python 3.14 on it tells which task awaits the futures.
_CODE_OF_WAIT = getattr(getattr(asyncio.tasks, "_wait", None), "__code__", None)
_NAMES_OF_WAIT = getattr(_CODE_OF_WAIT, "co_names", ())
WAIT_IS_KNOWN = (
    "_wait" in getattr(getattr(WAIT, "__code__", None), "co_names", ())
    and {"create_future", "call_later", "_release_waiter", "remove_done_callback"} <= {*_NAMES_OF_WAIT}
    and ("future_add_to_awaited_by" in _NAMES_OF_WAIT) == hasattr(asyncio, "future_add_to_awaited_by")
)

_DIRECTORY = os.path.dirname(mixins._LoopBoundMixin.__dict__["_get_loop"].__code__.co_filename)


def _find(cls: type, name: str) -> Any:
    """Return the attribute of a class as it is stored, None if there is none."""
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None


def _is_stock(method: Any) -> bool:
    """Whether a method is from asyncio's files: a program may have replaced it before we are imported."""
    return type(method) is types.FunctionType and os.path.dirname(method.__code__.co_filename) == _DIRECTORY


_OWN = {(kind, name): _find(STOCK[kind], name) for kind, names in _BYPASSED.items() for name in names}
_OWN_HOOKS = {cls: [_find(cls, name) for name in _HOOKS] for cls in _ORDERS}
_CODE: dict[Any, Any] = {
    method: method.__code__ for method in (*_OWN.values(), *sum(_OWN_HOOKS.values(), [])) if _is_stock(method)
}


def _is_own(method: Any) -> bool:
    """Whether a method is asyncio's, with the code that it had when we were imported."""
    return method in _CODE and method.__code__ is _CODE[method]


def _order_of(cls: type) -> int:
    """Return which of asyncio's queues has the hooks that a class of queues has, as a number."""
    hooks = [_find(cls, name) for name in _HOOKS]
    for stock, order in _ORDERS.items():
        if hooks == _OWN_HOOKS[stock] and all(map(_is_own, hooks)):
            return order
    return _CALLS_HOOKS


def is_plain(kind: str, cls: type) -> int:
    """Return whether a class, ours or derived from it, has all those methods as they were. Called by C code.

    Returns 0 if it has not. If it has: 1, or for queues what their hooks do.
    """
    from . import _core

    ours = getattr(_core, kind)
    for name in _BYPASSED[kind]:
        own = _OWN[kind, name]
        if own is None:
            continue  # asyncio before 3.13 does not have all of them
        if not _is_own(own) or _find(STOCK[kind], name) is not own:
            return 0
        if _find(cls, name) is not (_find(ours, name) or own):
            return 0
    return _order_of(cls) if kind == "Queue" else 1
