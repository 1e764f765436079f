"""Makes stock futures, tasks and contexts in known states: the C code learns from them where their fields are.

asyncloop._core imports this module while it is being made, so this must not import asyncloop._core. If a function here
raises, the part of the layout that it is for stays unknown (src/cpython/layout.c).
"""

import _asyncio
import asyncio
import contextlib
import contextvars
import gc
import os
import sys
import weakref
from asyncio import events
from collections.abc import Callable
from typing import Any

_HAS_AWAITED_BY = sys.version_info >= (3, 14)
_TASK = {"is_task": 1} if _HAS_AWAITED_BY else {}
_WEAKREFS = {"weakrefs": ...} if sys.version_info < (3, 13) else {}  # asyncio's set of tasks has one


class _Loop:
    """The methods of a loop that stock futures and tasks call."""

    def __init__(self, *, debug: bool = False) -> None:
        self.debug = debug
        self.queue: list[tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context]] = []

    def get_debug(self) -> bool:
        return self.debug

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: contextvars.Context) -> None:
        self.queue.append((callback, args, context))

    def run(self) -> None:
        """Run the queued callbacks, as the running loop of this thread. Then the loop that was running is so again."""
        running = events._get_running_loop()
        events._set_running_loop(self)  # type: ignore[arg-type]
        swap = getattr(_asyncio, "_swap_current_task", None) if _HAS_AWAITED_BY else None
        task = swap and swap(self, None)
        try:
            for callback, args, context in self.queue:
                context.run(callback, *args)
        finally:
            self.queue.clear()  # it has tasks, which have this loop: a cycle
            if swap:
                swap(self, task)
            events._set_running_loop(running)


def _referent(op: object, kind: type) -> Any:
    """Return the one object of this kind that `op` refers to."""
    (found,) = (item for item in gc.get_referents(op) if isinstance(item, kind))
    return found


def _exception() -> Exception:
    try:
        raise ValueError("asyncloop learns where it is kept")
    except ValueError as exc:
        return exc


def _futures(loop: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Make futures in all states, each with its fields."""
    futures: list[asyncio.Future[Any]] = [_asyncio.Future(loop=loop) for _ in range(5)]
    pending, finished, failed, cancelled, awaited = futures
    context, other = contextvars.Context(), contextvars.Context()
    pending.add_done_callback(id, context=context)
    pending.add_done_callback(hash, context=other)
    result = object()
    finished.set_result(result)
    exc = _exception()
    failed.set_exception(exc)
    message = "asyncloop learns where a message is kept"
    cancelled.cancel(message)
    awaited._asyncio_future_blocking = True
    traced: asyncio.Future[Any] = _asyncio.Future(loop=_Loop(debug=True))  # type: ignore[arg-type]
    state = {"callback0": id, "context0": context, "callbacks": _referent(pending, list)}
    return [
        (pending, {"loop": loop, **state}),
        (finished, {"loop": loop, "state": 2, "result": result}),
        (failed, {"loop": loop, "state": 2, "exception": exc, "exception_tb": exc.__traceback__, "log_tb": 1}),
        (cancelled, {"loop": loop, "state": 1, "cancel_msg": message}),
        (awaited, {"loop": loop, "blocking": 1}),
        (traced, {"loop": traced.get_loop(), "source_tb": ...}),
    ]


def _tasks(loop: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Make a cancelled task, a waiting one and one to be cancelled, and the awaited future, each with its fields."""
    awaited: asyncio.Future[Any] = _asyncio.Future(loop=loop)

    async def waits() -> None:
        await awaited

    async def ends() -> None:
        error: Any = awaited  # in a subinterpreter of 3.11, asyncio raises the main interpreter's CancelledError
        raise error._make_cancelled_error()

    def make(function: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
        coro, context = function(), contextvars.Context()
        name = f"asyncloop learns of a task that {function.__name__}"
        task = _asyncio.Task(coro, loop=loop, name=name, context=context)
        fields = {"loop": loop, "coro": coro, "name": name, "context": context, "log_destroy_pending": 1}
        return task, {**fields, **_TASK, **_WEAKREFS}

    (ended, ended_fields), (waiting, waiting_fields) = make(ends), make(waits)
    loop.run()
    (cancelled, cancelled_fields), message = make(waits), "asyncloop learns where a message is kept"
    cancelled.cancel()
    cancelled.cancel(message)
    (wakeup, context), *_ = awaited._callbacks
    awaited_by = {"awaited_by": waiting} if _HAS_AWAITED_BY else {}
    before, after = ({"before": waiting}, {"after": cancelled}) if _HAS_AWAITED_BY else ({}, {})
    return [
        (ended, {**ended_fields, "state": 1, "cancelled_exc": _referent(ended, BaseException)}),
        (waiting, {**waiting_fields, **after, "fut_waiter": awaited}),
        (cancelled, {**cancelled_fields, **before, "must_cancel": 1, "cancel_requests": 2, "cancel_msg": message}),
        (awaited, {"loop": loop, "callback0": wakeup, "context0": context, **awaited_by}),
    ]


def set_of_tasks() -> weakref.WeakSet[Any]:
    """Return the set that has, up to 3.13, the tasks that are not of asyncio's own types."""
    name = "_all_tasks" if sys.version_info < (3, 12) else "_scheduled_tasks"
    tasks: weakref.WeakSet[Any] = getattr(_asyncio, name)
    if not isinstance(vars(tasks)["data"], set):  # in a subinterpreter of 3.11 it is of another's WeakSet
        raise TypeError(name)
    return tasks


def make_specimens() -> list[tuple[Any, dict[str, Any]]]:
    """Return pairs of a stock future or task and its fields, by their names in src/cpython/layout.h."""
    if not _HAS_AWAITED_BY:
        set_of_tasks()  # if it raises, all_tasks() could not find our tasks
    loop = _Loop()
    return [*_futures(loop), *_tasks(loop)]


def drop_specimens(specimens: list[tuple[Any, dict[str, Any]]]) -> None:
    """End all specimens without a report, and leave no cycle of references."""
    for specimen, _ in specimens:
        specimen._log_traceback = False
        specimen.cancel()
    for specimen, _ in specimens:
        specimen.get_loop().run()
    for specimen, fields in specimens:  # drop tracebacks, which own frames of this module, which own specimens
        if specimen.cancelled():
            specimen._make_cancelled_error()
        elif "exception" in fields:
            with contextlib.suppress(ValueError):
                specimen.result()
            fields["exception"].__traceback__ = None


def make_contexts() -> tuple[contextvars.Context, contextvars.Context, contextvars.Context]:
    """Return an empty context, a context with a variable, and a copy of it."""
    variable: contextvars.ContextVar[None] = contextvars.ContextVar("variable")
    context = contextvars.Context()
    context.run(variable.set, None)
    return contextvars.Context(), context, context.copy()


async def _nothing() -> None:
    pass


def make_task() -> int:
    """Make a stock task without a name and return its number."""
    loop, coro = _Loop(), _nothing()
    task = _asyncio.Task(coro, loop=loop)  # type: ignore[arg-type]
    loop.queue.clear()
    coro.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return int(task.get_name().removeprefix("Task-"))


def show_current_task(locate: Callable[[Any, asyncio.Task[None]], None]) -> None:
    """Call locate(loop, task) with the running loop of this thread, and its current task, which was made last."""
    loop, coro = _Loop(), _nothing()
    task: Any = _asyncio.Task(coro, loop=loop, name="asyncloop learns of it")  # type: ignore[arg-type]
    swap: Any = vars(_asyncio)["_swap_current_task"]

    def show() -> None:
        swap(loop, task)
        locate(loop, task)
        swap(loop, None)

    loop.queue = [(show, (), contextvars.Context())]
    try:
        loop.run()
    finally:
        coro.close()
        task._log_destroy_pending = False


def make_ssl_object() -> tuple[Any, ...]:
    """Return the file of _ssl, OpenSSL's version, and a context, two BIOs and an SSLObject with what is in it."""
    import _ssl
    import ssl  # may be missing: then asyncio has no TLS

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    found = context.wrap_bio(incoming, outgoing, server_hostname="asyncloop")
    inner: Any = vars(found)["_sslobj"]
    file = os.fsencode(_ssl.__file__)
    return file, ssl.OPENSSL_VERSION, context, incoming, outgoing, found, inner, inner.server_hostname


def describe_callback(callback: Any, args: tuple[Any, ...], *, debug: bool = False) -> str:
    """Describe a callback for a report, if asyncio's own function for that is missing."""
    return f"{callback!r}{args!r}" if debug else repr(callback)
