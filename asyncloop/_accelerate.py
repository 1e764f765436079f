"""accelerate(): puts what we have of asyncio's under asyncio's names, for programs that cannot be changed."""

import asyncio
import importlib
import threading
from typing import Any

from . import _primitives, _streams, _waits

# What stands in for what: the module of asyncio that defines it, and its name there. asyncio itself has it by that
# name, too.
_TABLE: dict[tuple[str, str], Any] = {
    ("asyncio.locks", "Lock"): _primitives.Lock,
    ("asyncio.locks", "Event"): _primitives.Event,
    ("asyncio.locks", "Condition"): _primitives.Condition,
    ("asyncio.locks", "Semaphore"): _primitives.Semaphore,
    ("asyncio.locks", "BoundedSemaphore"): _primitives.BoundedSemaphore,
    ("asyncio.locks", "Barrier"): _primitives.Barrier,
    ("asyncio.queues", "Queue"): _primitives.Queue,
    ("asyncio.queues", "PriorityQueue"): _primitives.PriorityQueue,
    ("asyncio.queues", "LifoQueue"): _primitives.LifoQueue,
    ("asyncio.timeouts", "Timeout"): _waits.Timeout,
    ("asyncio.timeouts", "timeout"): _waits.timeout,
    ("asyncio.timeouts", "timeout_at"): _waits.timeout_at,
    ("asyncio.tasks", "gather"): _waits.gather,
    ("asyncio.tasks", "shield"): _waits.shield,
    ("asyncio.tasks", "sleep"): _waits.sleep,
    ("asyncio.tasks", "wait"): _waits.wait,
    ("asyncio.tasks", "wait_for"): _waits.wait_for,
    ("asyncio.taskgroups", "TaskGroup"): _waits.TaskGroup,
    ("asyncio.streams", "StreamReader"): _streams.StreamReader,
    ("asyncio.streams", "StreamWriter"): _streams.StreamWriter,
    ("asyncio.streams", "StreamReaderProtocol"): _streams.StreamReaderProtocol,
    ("asyncio.streams", "open_connection"): _streams.open_connection,
    ("asyncio.streams", "start_server"): _streams.start_server,
    ("asyncio.streams", "open_unix_connection"): _streams.open_unix_connection,
    ("asyncio.streams", "start_unix_server"): _streams.start_unix_server,
}

_STOCK = {(module, name): getattr(importlib.import_module(module), name) for module, name in _TABLE}
_TABLE = {place: ours for place, ours in _TABLE.items() if ours is not _STOCK[place]}
_lock = threading.Lock()
_replaced: list[tuple[Any, str, Any, Any]] = []  # module, name, asyncio's object, ours


def accelerate() -> list[str]:
    """Put asyncloop's locks, queues, timeouts and streams under asyncio's names: asyncio.Queue is asyncloop.Queue.

    It concerns who looks these names up from now on. Objects and subclasses that exist, and names that a module has
    imported before (`from asyncio import Queue`), stay asyncio's. A name under which the program has put something
    else is left alone. A second call changes nothing.

    Returns what is replaced, such as ["asyncio.Lock", "asyncio.locks.Lock", ...].
    """
    with _lock:
        if not _replaced:
            for (module_name, name), ours in _TABLE.items():
                stock = _STOCK[module_name, name]
                for module in (asyncio, importlib.import_module(module_name)):
                    if getattr(module, name, None) is stock:
                        setattr(module, name, ours)
                        _replaced.append((module, name, stock, ours))
        return [f"{module.__name__}.{name}" for module, name, _, _ in _replaced]


def decelerate() -> None:
    """Undo accelerate(): asyncio's names mean asyncio's objects again, unless the program has changed them since."""
    with _lock:
        while _replaced:
            module, name, stock, ours = _replaced.pop()
            if getattr(module, name, None) is ours:
                setattr(module, name, stock)
