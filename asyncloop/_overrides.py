"""Notices what a program overrides of locks, queues and the like, so that C code does not bypass it.

src/primitives/primitive.c asks is_plain() when it first meets a class, and again when the class or a base of it has
changed. What is overridden on an object it notices itself.
"""

import asyncio
import os
import types
from asyncio import mixins
from typing import Any

STOCK: dict[str, Any] = {
    "Lock": asyncio.Lock,
    "Event": asyncio.Event,
}
"""asyncio's classes, by the names of ours in _core."""

# The methods that C code bypasses: of our class, or else of asyncio's.
_BYPASSED = {
    "Lock": ("acquire", "release", "_wake_up_first", "_get_loop"),
    "Event": ("_get_loop",),
}

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
_CODE = {method: method.__code__ for method in _OWN.values() if _is_stock(method)}


def is_plain(kind: str, cls: type) -> bool:
    """Return whether a class, ours or derived from it, has all those methods as they were. Called by C code."""
    from . import _core

    ours = vars(getattr(_core, kind))
    for name in _BYPASSED[kind]:
        own = _OWN[kind, name]
        if own not in _CODE or own.__code__ is not _CODE[own]:
            return False
        if _find(STOCK[kind], name) is not own or _find(cls, name) is not ours.get(name, own):
            return False
    return True
