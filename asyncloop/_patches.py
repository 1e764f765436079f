"""Notices what a program replaces inside of asyncio, so that the loop obeys it.

    a method of BaseEventLoop  ---> a method in Loop that calls it, in front of the C method of that name
    asyncio.Handle, ...        ---> handles are asyncio's own, and turns are BaseEventLoop._run_once()
    _run_once(), _selector ... ---> turns are asyncio's own

src/loop/loop_patches.c says when the loop looks. It compares version tags of types, and what changes without such a
tag: names in asyncio's modules (PLACES) and the code of functions (CODES).

A program may have replaced something before we are imported. So a function counts as asyncio's own only if its code is
from asyncio's file and nothing was attached to it.
"""

import _asyncio
import contextlib
import functools
import types
from asyncio import base_events, events, futures, tasks, transports
from asyncio.base_events import BaseEventLoop
from asyncio.unix_events import _UnixSelectorEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._loop import Loop

# As in loop.h.
_HANDLES = 1
_TURNS = 2
_RUN_ONCE = 4

_stock_loop: Any = _UnixSelectorEventLoop
_base: Any = BaseEventLoop

_BASE_FILE = base_events._run_until_complete_cb.__code__.co_filename  # type: ignore[attr-defined]
_TRANSPORTS_FILE = transports.BaseTransport.close.__code__.co_filename
_EVENTS_FILE = events.AbstractEventLoop.run_forever.__code__.co_filename

_Task = getattr(_asyncio, "Task", tasks.Task)
_Future = getattr(_asyncio, "Future", futures.Future)

# What C code makes, and asyncio's code by these names: (names of a module, name, object).
PLACES = (
    (vars(events), "Handle", events.Handle),
    (vars(events), "TimerHandle", events.TimerHandle),
    (vars(tasks), "Task", _Task),
    (vars(futures), "Future", _Future),
)

_HANDLE_TYPES: list[Any] = [events.Handle, events.TimerHandle]
if hasattr(events, "_ThreadSafeHandle"):
    _HANDLE_TYPES.append(events._ThreadSafeHandle)

# Private methods of BaseEventLoop that a loop of ours calls only if they are replaced. Of some it has its own.
_MAKE_HANDLES = ("_call_soon", "_timer_handle_cancelled")
_MAKE_TURNS = ("_add_callback", "_process_events")


def _own_functions(cls: Any) -> dict[str, types.FunctionType]:
    return {name: value for name, value in vars(cls).items() if isinstance(value, types.FunctionType)}


_CODE_OF = {function: function.__code__ for cls in (_base, *_HANDLE_TYPES) for function in _own_functions(cls).values()}
# Of the functions that tracers give another code; the loop compares them at polls: function, code, function, ...
_MAY_HAVE_ANOTHER_CODE = {"call_soon", "call_soon_threadsafe", "call_at", "call_later", "create_task", "create_future"}
_MAY_HAVE_ANOTHER_CODE |= {"_run_once", "__init__", "_run", "cancel"}
CODES = tuple(
    part
    for function, code in _CODE_OF.items()
    if function.__name__ in _MAY_HAVE_ANOTHER_CODE and function is not _base.__init__
    for part in (function, code)
)


def _is_stock(value: Any, name: str, file: str) -> bool:
    """Whether a method is asyncio's own function."""
    if type(value) is not types.FunctionType or vars(value):
        return False
    code = value.__code__
    if code is not _CODE_OF.get(value, code) or code.co_filename != file or code.co_name != name:
        return False
    # A tracer may have made this code, with the names of the old one: no compiler makes such constants.
    return not any(isinstance(constant, types.FunctionType | types.MethodType) for constant in code.co_consts)


# --- handles ----------------------------------------------------------------------------------------------------------

# Methods of the classes of handles that our handles call, too, as they are then.
_CALLED = {"__repr__", "_repr_info", "__lt__", "__le__", "__gt__", "__ge__", "__eq__"}
_METHODS = [{*_own_functions(cls)} - _CALLED for cls in _HANDLE_TYPES]
_OTHERS = [
    {name: value for name, value in vars(cls).items() if name not in _own_functions(cls)} for cls in _HANDLE_TYPES
]
_CALLED_BY_PYTHON = {"__new__", "__del__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__"}


def _is_changed(cls: Any, methods: set[str], others: dict[str, Any]) -> bool:
    now = vars(cls)
    if not all(_is_stock(now.get(name), name, _EVENTS_FILE) for name in methods):
        return True
    return any(
        others.get(name) is not value
        for name, value in now.items()
        if name not in methods and (not name.startswith("_") or name in _CALLED_BY_PYTHON or name[1] != "_")
        if name not in _CALLED
    )


def _handles_are_changed() -> bool:
    if events.Handle is not _HANDLE_TYPES[0] or events.TimerHandle is not _HANDLE_TYPES[1]:
        return True
    return any(map(_is_changed, _HANDLE_TYPES, _METHODS, _OTHERS))


# --- methods of transports --------------------------------------------------------------------------------------------


def _stock_method(cls: Any, name: str) -> Any:
    """Return asyncio's own method; None: the program has replaced it already."""
    method = vars(cls).get(name)
    return method if _is_stock(method, name, _TRANSPORTS_FILE) else None


# The methods that asyncio's transports inherit from its public classes, and that are C in ours: C code compares.
GET_EXTRA_INFO = _stock_method(transports.BaseTransport, "get_extra_info")
WRITELINES = _stock_method(transports.WriteTransport, "writelines")


# --- methods of BaseEventLoop ---------------------------------------------------------------------------------------


def _bypassed() -> list[str]:
    """The methods of BaseEventLoop that a stock loop inherits and that are C in ours."""
    from . import _core

    return [
        name
        for name in vars(_core.Loop)
        if not name.startswith("__") and name != "_run_once"
        if name in vars(_base) and getattr(_stock_loop, name, None) is vars(_base)[name]
    ]


def base_method(loop: Any, name: str) -> Any:
    """Return what `loop.name` would be if it was not for our classes. Not all that programs put there are functions."""
    method = vars(_base)[name]
    return method.__get__(loop, type(loop)) if hasattr(type(method), "__get__") else method


# Each of them, as it is when it stands in Loop.
_made: dict[str, dict[str, Any]] = {}  # "forwarders": all of them, by name, once they are made


def _forwarder(name: str) -> Any:
    """Make a method that calls BaseEventLoop's, as it is then; or ours, if that is asyncio's own again."""
    from . import _core

    ours = vars(_core.Loop)[name]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        now = vars(_base).get(name)
        if now is None or (_is_stock(now, name, _BASE_FILE) and name not in _made_by_name()):
            return ours(self, *args, **kwargs)
        return base_method(self, name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


def _made_by_name() -> set[str]:
    """The methods whose results the program has changed: they make what asyncio's modules have by a name."""
    made = set()
    if tasks.Task is not _Task:
        made.add("create_task")
    if futures.Future is not _Future:
        made.add("create_future")
    return made


def _forwarders() -> dict[str, Any]:
    """Return all forwarders. Loops of several threads may begin to run at once: the first that has made them wins."""
    made = _made.get("forwarders")
    return made or _made.setdefault("forwarders", {name: _forwarder(name) for name in _bypassed()})


def _place_forwarders() -> None:
    """Put into Loop a forwarder for each method that is replaced in BaseEventLoop, and take out the others.

    Without a lock, because the garbage collector may run anything here: another thread may be at the same.
    """
    from ._loop import Loop

    forwarders = _forwarders()
    now = vars(_base)
    replaced = _made_by_name()
    replaced |= {name for name in forwarders if name in now and not _is_stock(now[name], name, _BASE_FILE)}
    for name, forwarder in forwarders.items():
        present = vars(Loop).get(name)
        if name in replaced and present is None:
            setattr(Loop, name, forwarder)  # unless the program has replaced the method in Loop, too
        elif name not in replaced and present is forwarder:
            with contextlib.suppress(AttributeError):  # another thread has
                delattr(Loop, name)


def as_now(name: str) -> Any:
    """Return a method that calls BaseEventLoop's, or what the program has put in its place by then."""
    stock = getattr(_base, name)

    @functools.wraps(stock)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return base_method(self, name)(*args, **kwargs)

    return method


def is_plain(name: str) -> Callable[[], bool]:
    """Return a function: whether a method of BaseEventLoop is asyncio's own."""
    stock = getattr(_base, name)
    code = stock.__code__
    was_plain = _is_stock(stock, name, _BASE_FILE)

    def check() -> bool:
        return getattr(_base, name) is stock and stock.__code__ is code and was_plain

    return check


def unless_replaced(ours: Any) -> Any:
    """Return a coroutine function that calls ours, or what the program has put in the place of BaseEventLoop's."""
    name = ours.__name__
    plain = is_plain(name)

    @functools.wraps(ours)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if plain():
            return await ours(self, *args, **kwargs)
        return await base_method(self, name)(*args, **kwargs)

    return method


# --- the loop -------------------------------------------------------------------------------------------------------


def _is_replaced(loop: Any, name: str) -> bool:
    """Whether a private method of the loop is the program's: replaced in BaseEventLoop, a subclass or the instance."""
    from ._inside import Inside

    if not _is_stock(vars(_base).get(name), name, _BASE_FILE):
        return True
    function = getattr(getattr(loop, name), "__func__", None)
    return function is not vars(Inside).get(name, vars(_base)[name])


def _runs_once_itself(loop: Any) -> bool:
    """Whether _run_once() of the loop is that of the C type."""
    method: Any = getattr(loop, "_run_once", None)
    return type(method) is types.BuiltinMethodType and method.__self__ is loop and method.__name__ == "_run_once"


def find(loop: "Loop") -> int:
    """Find out what the program has replaced of what the loop bypasses. Called by C code; returns flags."""
    if not isinstance(loop, BaseEventLoop):
        return 0  # the C type alone
    _place_forwarders()
    found = 0
    if _handles_are_changed():
        found |= _HANDLES | _TURNS
    if any(_is_replaced(loop, name) for name in _MAKE_HANDLES):
        found |= _HANDLES
    if any(_is_replaced(loop, name) for name in _MAKE_TURNS) or loop._selector_is_replaced():
        found |= _TURNS
    if not _is_stock(vars(_base).get("_run_once"), "_run_once", _BASE_FILE):
        found |= _TURNS
    if not _runs_once_itself(loop):
        found |= _RUN_ONCE
    return found


# --- timers of asyncio's own ------------------------------------------------------------------------------------------


def arm_late(loop: "Loop", handle: Any) -> None:
    """Arm a timer of ours for a TimerHandle of asyncio's own, which the program has put into loop._scheduled."""
    from . import _core

    if not handle._cancelled:
        loop._late_timers[id(handle)] = _core.Loop.call_at(loop, handle._when, run_late, loop, handle)


def run_late(loop: "Loop", handle: Any) -> None:
    """Run the handle: its time has come."""
    loop._late_timers.pop(id(handle), None)
    handle._scheduled = False
    if not handle._cancelled:
        handle._run()


def forget_late(loop: "Loop", handle: Any) -> None:
    """Forget the timer of ours: the handle is in loop._scheduled again."""
    loop._late_timers.pop(id(handle), None)
