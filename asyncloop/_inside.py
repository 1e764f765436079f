"""What programs find that reach inside of a loop: its ready queue, its selector, as asyncio's loops have them."""

import asyncio
import selectors
import weakref
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import _core

_base: Any = BaseEventLoop


def _reads(name: str) -> Callable[..., Any]:
    """A method of deque that changes nothing: called on a copy."""

    def method(self: "ReadyQueue", *args: Any) -> Any:
        return getattr(deque(self), name)(*args)

    method.__name__ = name
    return method


def _changes(name: str) -> Callable[..., Any]:
    """A method of deque that changes it: called on a deque of all handles, which are queued again."""

    def method(self: "ReadyQueue", *args: Any) -> Any:
        handles = deque(self._take())
        try:
            return getattr(handles, name)(*args)
        finally:
            self._put(list(handles))

    method.__name__ = name
    return method


class ReadyQueue(_core.ReadyQueue):
    """loop._ready: shows the ready queue as a deque of handles, and what is put into it runs."""

    __slots__ = ()

    maxlen = None
    appendleft = _changes("appendleft")
    extend = _changes("extend")
    extendleft = _changes("extendleft")
    insert = _changes("insert")
    pop = _changes("pop")
    remove = _changes("remove")
    reverse = _changes("reverse")
    rotate = _changes("rotate")
    __setitem__ = _changes("__setitem__")
    __delitem__ = _changes("__delitem__")

    count = _reads("count")
    index = _reads("index")
    copy = __copy__ = _reads("copy")
    __repr__ = _reads("__repr__")
    __add__ = _reads("__add__")
    __mul__ = __rmul__ = _reads("__mul__")
    __eq__ = _reads("__eq__")
    __lt__ = _reads("__lt__")
    __le__ = _reads("__le__")
    __gt__ = _reads("__gt__")
    __ge__ = _reads("__ge__")
    __hash__ = None  # type: ignore[assignment]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return deque

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __reversed__(self) -> Iterator[Any]:
        return iter([*self][::-1])

    def __iadd__(self, handles: Iterable[Any]) -> "ReadyQueue":  # type: ignore[misc]
        self.extend(handles)
        return self

    def __reduce__(self) -> Any:
        return deque(self).__reduce__()


_core._set_ready_queue(ReadyQueue)


class Selector(selectors.BaseSelector):
    """loop._selector: select() polls, and get_map() shows what the loop watches. There may be others in its place."""

    def __init__(self, loop: "Inside") -> None:
        self._loop = weakref.ref(loop)  # weak: the loop owns us

    def _alive(self) -> "Inside":
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the event loop of this selector is gone")
        return loop

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "select":
            self._alive()._look_soon()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == "select":
            self._alive()._look_soon()

    def _is_replaced(self) -> bool:
        return "select" in vars(self)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll, and return the events for _process_events()."""
        loop = self._alive()
        loop._has_polled = True
        return list(_keys(loop._select(timeout)).values())

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a descriptor. data: a pair of handles, for reading and for writing, as asyncio's own."""
        loop = self._alive()
        reader, writer = data
        if events & selectors.EVENT_READ and reader is not None:
            loop._add_reader(fileobj, reader._run)
        if events & selectors.EVENT_WRITE and writer is not None:
            loop._add_writer(fileobj, writer._run)
        return self.get_key(fileobj)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a descriptor no more. Raises KeyError if it is not watched."""
        key = self.get_key(fileobj)
        loop = self._alive()
        loop.remove_reader(fileobj)
        loop.remove_writer(fileobj)
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return a key for each descriptor that is watched."""
        keys = _keys(self._alive()._watched())
        return {fd: key for fd, (key, _) in keys.items()}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a descriptor, or of an object that has one. Raises KeyError if it is not watched."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        try:
            return self.get_map()[fd]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def close(self) -> None:
        """Do nothing: the loop closes its descriptors itself."""


def _keys(found: list[tuple[int, int, Any]]) -> dict[int, tuple[selectors.SelectorKey, int]]:
    """Make a key of each descriptor, and its events."""
    keys: dict[int, tuple[selectors.SelectorKey, int]] = {}
    for fd, event, handle in found:
        # Without a handle: another thread has woken the loop.
        reader, writer = (handle, None) if event == selectors.EVENT_READ else (None, handle)
        if fd in keys:
            key, mask = keys[fd]
            reader, writer, event = reader or key.data[0], writer or key.data[1], event | mask
        keys[fd] = selectors.SelectorKey(fd, fd, event, (reader, writer)), event
    return keys


class Inside(asyncio.AbstractEventLoop):
    """What Loop inherits for programs that reach inside of it, and for the turns of a loop that is patched."""

    _selector_now: Any  # what the program sees, None <=> nothing yet
    _has_polled: bool  # since the last _process_events()
    _late_timers: dict[int, asyncio.TimerHandle]  # by the id of the handle that each stands for

    if TYPE_CHECKING:
        # Of the C type and of asyncio.BaseEventLoop.
        def _look_soon(self) -> None: ...
        def _hand_on(self) -> None: ...
        def _select(self, timeout: float | None, /) -> list[tuple[int, int, Any]]: ...
        def _watched(self) -> list[tuple[int, int, Any]]: ...
        def _add_callback(self, handle: Any) -> None: ...
        def _add_reader(self, fd: Any, callback: Callable[..., Any]) -> Any: ...
        def _add_writer(self, fd: Any, callback: Callable[..., Any]) -> Any: ...
        def _remove_reader(self, fd: Any) -> bool: ...
        def _remove_writer(self, fd: Any) -> bool: ...

    @property
    def _selector(self) -> Any:
        if self._selector_now is None and not self.is_closed():
            self._selector_now = Selector(self)
        return self._selector_now

    @_selector.setter
    def _selector(self, selector: Any) -> None:
        self._selector_now = selector
        self._look_soon()

    def _selector_is_replaced(self) -> bool:
        selector = self._selector_now
        return selector is not None and (type(selector) is not Selector or selector._is_replaced())

    def _process_events(self, event_list: Iterable[tuple[selectors.SelectorKey, int]]) -> None:
        """Queue the handles of the events that a selector has found."""
        if not self._has_polled:  # the program's own selector has not asked ours
            event_list = [*event_list, *_keys(self._select(0)).values()]
        self._has_polled = False
        for key, mask in event_list:
            reader, writer = key.data
            if mask & selectors.EVENT_READ and reader is not None:
                if reader._cancelled:
                    self._remove_reader(key.fileobj)
                else:
                    self._add_callback(reader)
            if mask & selectors.EVENT_WRITE and writer is not None:
                if writer._cancelled:
                    self._remove_writer(key.fileobj)
                else:
                    self._add_callback(writer)
        self._hand_on()

    def _timer_handle_cancelled(self, handle: Any) -> None:
        late = self._late_timers.pop(id(handle), None)
        if late is None:
            _base._timer_handle_cancelled(self, handle)
        else:
            handle._scheduled = False
            late.cancel()
