"""Makes asyncio.all_tasks() return our pending tasks, too. Up to 3.13 they are not in asyncio's set of tasks.

To add a task to that set costs more than all else in making it. So the C code has a list of our tasks instead
(src/task/registry.c). The set object gets a class whose __iter__ walks this list, too. So code that imported
all_tasks() or the set before asyncloop was imported sees our tasks as well.

A profiler takes the data of the set, which is a plain set, and reads it in a thread of its own. So whoever asks for
`data` makes the set what it was: its class is WeakSet again, our tasks are added to it, and so is each new one.

Python 3.11 has one set for the whole process. A subinterpreter does not change its class, because the set would keep
this class after the interpreter has ended. It makes a set of its own on the same data, and puts it into asyncio.
"""

import _asyncio
import asyncio
import sys
import weakref
from collections.abc import Iterator
from typing import Any

from . import _core, _layout


def _extended(kind: type[weakref.WeakSet[Any]]) -> type[weakref.WeakSet[Any]]:
    """Make the class of the set of all tasks. `kind` is a class of an earlier import of asyncloop, or WeakSet."""
    unregistered: weakref.WeakSet[Any] = weakref.WeakSet()

    def ours() -> list[Any]:
        tasks = _core._pending_tasks()
        return [task for task in tasks if task not in unregistered] if unregistered else tasks

    is_first = kind is weakref.WeakSet

    class Tasks(kind):  # type: ignore[misc, valid-type]
        @property
        def data(self) -> set[Any]:
            self._become_ordinary()
            return self.data

        @data.setter
        def data(self, data: set[Any]) -> None:
            self.__dict__["data"] = data

        def _become_ordinary(self) -> None:
            tasks = list(self)
            self.__class__ = kind  # type: ignore[assignment]
            try:
                _core._register_tasks_by(self.add)
                data = vars(self)["data"]
                for task in tasks:
                    # WeakSet's callback, unlike that of add() below, lets the set be iterated over meanwhile.
                    reference = weakref.ref(task, self._remove)
                    data.discard(reference)
                    data.add(reference)
            except BaseException:  # no memory: nothing is lost, and the next one to ask tries again
                self.__class__ = Tasks
                raise

        def __len__(self) -> int:
            return sum(1 for _ in self)

        def __iter__(self) -> Iterator[Any]:
            if is_first:
                tasks = [reference() for reference in tuple(vars(self)["data"])]
                yield from (task for task in tasks if task is not None)
            else:
                yield from super().__iter__()
            yield from ours()

        def __contains__(self, task: Any) -> bool:
            if isinstance(task, _core.Task):
                return not task.done() and task not in unregistered
            return weakref.ref(task) in vars(self)["data"] if is_first else super().__contains__(task)

        def copy(self) -> weakref.WeakSet[Any]:
            return weakref.WeakSet(self)

        # asyncio._register_task() and _unregister_task() call these. The C code does not see their changes.

        def add(self, task: Any) -> None:
            tasks = vars(self)["data"]
            tasks.add(weakref.ref(task, tasks.discard))
            unregistered.discard(task)

        def discard(self, task: Any) -> None:
            vars(self)["data"].discard(weakref.ref(task))
            if isinstance(task, _core.Task):
                unregistered.add(task)

    return Tasks


def _forget_remove(tasks: weakref.WeakSet[Any]) -> None:
    """Let no task that is in the set already ask for `data` when it is freed, as WeakSet's own callback does."""
    data = vars(tasks)["data"]
    for reference in tuple(data):
        task = reference()
        if task is not None:
            data.discard(reference)
            data.add(weakref.ref(task, data.discard))


# Modules of profilers that keep the address of `data` and no reference: nothing else shows that they have it.
READERS_OF_DATA = ("ddtrace.profiling._asyncio",)


def _replace_in_this_interpreter(tasks: weakref.WeakSet[Any]) -> None:
    own = _extended(weakref.WeakSet)()
    own.__dict__ = tasks.__dict__
    names = {"_all_tasks": own, "_register_task": own.add, "_unregister_task": own.discard}
    for module in (asyncio, asyncio.tasks, _asyncio):
        vars(module).update((name, value) for name, value in names.items() if name in vars(module))


def extend_all_tasks() -> None:
    """Make asyncio's set of tasks have ours, too. From 3.14 our tasks are in asyncio's own list."""
    if _core.Task is asyncio.Task or sys.version_info >= (3, 14):
        return
    tasks = _layout.set_of_tasks()
    if sys.version_info < (3, 12) and not _core._is_main_interpreter():
        _replace_in_this_interpreter(tasks)
        return
    if type(tasks) is weakref.WeakSet:
        _forget_remove(tasks)
    extended: Any = _extended(type(tasks))
    tasks.__class__ = extended
    if any(name in sys.modules for name in READERS_OF_DATA):
        extended._become_ordinary(tasks)
