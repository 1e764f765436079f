"""Wrong arguments of every kind to every method: the outcome is stock asyncio's, and nothing crashes afterwards.

What stock does is found out by asking it, with the same arguments, in the same test.
"""

import asyncio
import inspect
import math
import sys

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


def function(*args):
    pass


async def coroutine_function():
    pass


ARGUMENTS = {
    "nothing": (),
    "None": (None,),
    "int": (42,),
    "str": ("text",),
    "object": (object(),),
    "function": (function,),
    "coroutine function": (coroutine_function,),
    "dict": ({},),
    "two ints": (1, 2),
    "int and function": (1, function),
    "nan and function": (math.nan, function),
    "str and function": ("1", function),
    "None and function": (None, function),
    "function and int": (function, 1),
    "None and int": (None, 1),
    "many": (1, 2, 3, 4, 5, 6, 7, 8, 9),
}
KEYWORDS = {
    "": {},
    "context": {"context": None},
    "name": {"name": "x"},
    "loop": {"loop": None},
    "msg": {"msg": "x"},
    "unknown": {"no_such_keyword": 1},
}

LOOP_METHODS = [
    "run_until_complete",
    "stop",
    "is_running",
    "is_closed",
    "time",
    "call_soon",
    "call_soon_threadsafe",
    "call_later",
    "create_future",
    "create_task",
    "set_task_factory",
    "get_task_factory",
    "set_exception_handler",
    "get_exception_handler",
    "default_exception_handler",
    "call_exception_handler",
    "get_debug",
    "set_debug",
    "run_in_executor",
    "set_default_executor",
    "shutdown_asyncgens",
    "shutdown_default_executor",
]
FUTURE_METHODS = [
    "result",
    "exception",
    "set_result",
    "set_exception",
    "done",
    "cancelled",
    "cancel",
    "add_done_callback",
    "remove_done_callback",
    "get_loop",
    "__await__",
    "__iter__",
    "__repr__",
    "__init__",
]
TASK_METHODS = [
    *FUTURE_METHODS[:-1],
    "uncancel",
    "cancelling",
    "get_coro",
    "get_name",
    "set_name",
    "get_stack",
    *(["get_context"] if sys.version_info >= (3, 12) else []),
]


def outcome(method, args, kwargs):
    """The type of the exception, or "returns"."""
    try:
        result = method(*args, **kwargs)
    except Exception as exc:
        return type(exc)
    if inspect.iscoroutine(result):
        result.close()
    return "returns"


def compare(mine, stock):
    """Asserts the same outcome of two methods for all arguments."""
    got, expected = {}, {}
    for arguments, args in ARGUMENTS.items():
        for keyword, kwargs in KEYWORDS.items():
            got[arguments, keyword] = outcome(mine(), args, kwargs)
            expected[arguments, keyword] = outcome(stock(), args, kwargs)
    assert got == expected


@pytest.fixture
def stock_loop():
    loop = asyncio.SelectorEventLoop()
    yield loop
    loop.close()


@pytest.fixture(autouse=True)
def quiet(loop, stock_loop):
    """Both loops have to survive what was queued; what they complain about is no matter here."""
    yield
    for each in loop, stock_loop:
        each.set_exception_handler(lambda loop, context: None)
        each.set_task_factory(None)
        for _ in range(3):
            each.call_soon(each.stop)
            each.run_forever()


@pytest.mark.parametrize("name", LOOP_METHODS)
def test_methods_of_a_loop_fail_as_stock_ones(loop, stock_loop, name):
    for each in loop, stock_loop:
        each.set_exception_handler(lambda loop, context: None)
    compare(lambda: getattr(loop, name), lambda: getattr(stock_loop, name))


NO_ARGUMENTS = {
    "exception",
    "result",
    "done",
    "cancelled",
    "get_loop",
    "uncancel",
    "cancelling",
    "get_coro",
    "get_name",
}


@pytest.fixture
def stock_checks(name):
    """Skips what stock does not check, so that there is nothing to compare with."""
    if sys.version_info[:2] == (3, 12) and name in NO_ARGUMENTS:
        pytest.skip("3.12 ignores the keywords of methods without arguments")


@pytest.mark.usefixtures("stock_checks")
@pytest.mark.parametrize("name", FUTURE_METHODS)
def test_methods_of_a_future_fail_as_stock_ones(loop, stock_loop, Future, name):
    compare(
        lambda: getattr(Future(loop=loop), name),
        lambda: getattr(asyncio.Future(loop=stock_loop), name),
    )


@pytest.mark.usefixtures("stock_checks")
@pytest.mark.parametrize("name", TASK_METHODS)
def test_methods_of_a_task_fail_as_stock_ones(loop, stock_loop, Task, name):
    compare(
        lambda: getattr(Task(coroutine_function(), loop=loop), name),
        lambda: getattr(asyncio.Task(coroutine_function(), loop=stock_loop), name),
    )


@pytest.mark.parametrize("name", ["cancel", "cancelled", "__repr__"])
def test_methods_of_a_handle_fail_as_stock_ones(loop, stock_loop, name):
    compare(
        lambda: getattr(loop.call_soon(function), name),
        lambda: getattr(stock_loop.call_soon(function), name),
    )


@pytest.mark.parametrize("name", ["cancel", "cancelled", "when", "__repr__", "__eq__", "__hash__"])
def test_methods_of_a_timer_handle_fail_as_stock_ones(loop, stock_loop, name):
    compare(
        lambda: getattr(loop.call_later(100, function), name),
        lambda: getattr(stock_loop.call_later(100, function), name),
    )


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
@pytest.mark.parametrize("name", TASK_METHODS)
def test_task_without_init_does_not_crash(Task, name):
    """Stock does, so what it answers is not compared."""
    if Task is asyncio.Task:
        pytest.skip("it is stock's where the layout of that is unknown")
    task = Task.__new__(Task)
    for args in ARGUMENTS.values():
        outcome(getattr(task, name), args, {})
    assert not task.done()
