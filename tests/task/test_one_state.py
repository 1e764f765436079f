"""asyncio's own methods and ours work on one state: each reads what the other has set, and wakes its waiters."""

import asyncio
import inspect
import itertools

import pytest


@pytest.fixture
def make(loop, Future, Task):
    """Makes a future or a task in a given state."""

    async def waits():
        await asyncio.sleep(10)

    async def fails():
        raise KeyError("x")

    async def ends():
        return 3

    def make(what):
        if what == "future":
            return Future(loop=loop)
        if what == "failed future":
            future = Future(loop=loop)
            future.set_exception(KeyError("x"))
            return future
        coro = {"new": waits, "waiting": waits, "failed": fails, "finished": ends}[what]()
        task = Task(coro, loop=loop, name="its name")
        if what != "new":
            asyncio.gather(task, return_exceptions=True)
            loop.call_soon(loop.stop)
            loop.run_forever()
        return task

    made = []
    yield lambda what: made.append(make(what)) or made[-1]
    for future in made:
        future._log_traceback = False
        future.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()


def told(function, *args):
    """Returns the result or the exception of a call, in a form that can be compared."""
    try:
        result = function(*args)
    except (Exception, asyncio.CancelledError) as exc:
        return repr(exc)
    return result


WITHOUT_ARGUMENTS = "result", "exception", "cancelled", "done", "get_loop", "__repr__"
OF_TASKS = "cancelling", "get_name", "get_coro", "get_stack"
ATTRIBUTES = "_state", "_result", "_exception", "_loop", "_cancel_message", "_log_traceback", "_asyncio_future_blocking"


@pytest.mark.parametrize("what", ["future", "failed future", "new", "waiting", "failed", "finished"])
@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS + OF_TASKS + ATTRIBUTES)
def test_unbound_methods_read_what_the_bound_ones_read(make, what, name):
    owner = asyncio.Future if "future" in what else asyncio.Task
    if not hasattr(owner, name):
        pytest.skip("tasks alone have it")
    future = make(what)
    if name in ATTRIBUTES:
        assert getattr(owner, name).__get__(future) == getattr(future, name)
    else:
        assert told(getattr(owner, name), future) == told(getattr(future, name))


def test_every_method_of_a_task_is_in_the_test():
    """A new method of asyncio is noticed here."""
    changing = (
        "cancel",
        "uncancel",
        "set_name",
        "set_result",
        "set_exception",
        "add_done_callback",
        "remove_done_callback",
    )
    known = {*WITHOUT_ARGUMENTS, *OF_TASKS, *changing, "get_context", "print_stack", "_make_cancelled_error"}
    methods = {name for name, _ in inspect.getmembers(asyncio.Task, inspect.ismethoddescriptor)}
    assert {name for name in methods if not name.startswith("__")} <= known


def test_unbound_cancel_cancels(loop, Task, run):
    async def main():
        tasks = [Task(asyncio.sleep(10), loop=loop) for _ in range(3)]
        await asyncio.sleep(0)
        assert all(map(asyncio.Task.cancel, tasks))
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        late = Task(asyncio.sleep(10), loop=loop)
        loop.call_later(0.001, asyncio.Task.cancel, late, "late")
        with pytest.raises(asyncio.CancelledError, match="late"):
            await late

    run(main())


@pytest.mark.parametrize("setter", [(asyncio.Future.set_result, 1), (asyncio.Future.set_exception, KeyError("x"))])
def test_unbound_setters_wake_waiting_tasks(loop, Future, Task, run, setter):
    async def waits(future):
        return await asyncio.gather(future, return_exceptions=True)

    async def main():
        future = Future(loop=loop)
        tasks = [Task(waits(future), loop=loop) for _ in range(3)]
        direct = Task(asyncio.wait_for(future, 5), loop=loop)
        await asyncio.sleep(0)
        setter[0](future, setter[1])
        assert await asyncio.gather(*tasks) == [[setter[1]]] * 3
        assert await asyncio.gather(direct, return_exceptions=True) == [setter[1]]

    run(main())


def test_unbound_methods_add_and_remove_callbacks(loop, Future, turn):
    called = []
    future = Future(loop=loop)
    asyncio.Future.add_done_callback(future, called.append)
    asyncio.Future.add_done_callback(future, print)
    asyncio.Future.add_done_callback(future, called.append)
    assert asyncio.Future.remove_done_callback(future, print) == 1
    future.set_result(1)
    turn()
    assert called == [future, future]


def test_unbound_await_returns_the_result(loop, Future, run):
    future = Future(loop=loop)

    class Through:
        def __await__(self):
            return asyncio.Future.__await__(future)

    async def main():
        loop.call_soon(future.set_result, 9)
        return await Through()

    assert run(main()) == 9


def test_exception_of_result_as_a_done_callback_is_reported(loop, Task, turn, reports):
    async def fails():
        raise KeyError("x")

    task = Task(fails(), loop=loop)
    task.add_done_callback(asyncio.Task.result)
    turn(3)
    (report,) = reports()
    assert isinstance(report["exception"], KeyError)


def test_subclass_may_call_cancel_of_the_stock_class(loop, Task, run):
    class Mine(Task):
        def cancel(self, msg=None):
            return asyncio.Task.cancel(self, msg)

    async def main():
        task = Mine(asyncio.sleep(10), loop=loop)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_unbound_cancel_cancels_handles_and_timers(loop, turn):
    called = []
    handle, timer = loop.call_soon(called.append, 1), loop.call_later(0, called.append, 2)
    asyncio.Handle.cancel(handle)
    asyncio.TimerHandle.cancel(timer)
    assert handle.cancelled() and timer.cancelled()
    turn(2)
    assert called == []


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)  # asyncio's own overflow the stack when they are freed
@pytest.mark.parametrize("count", [200_000])
def test_long_chains_need_no_stack(loop, Future, Task, run, count):
    """The callback of each future sets the result of the next one, and the first one frees all others."""
    chain = [Future(loop=loop) for _ in range(count)]
    for one, other in itertools.pairwise(chain):
        one.add_done_callback(lambda future, other=other: other.set_result(future))

    async def main():
        chain[0].set_result(None)
        return await chain[-1]

    last = run(main())
    chain.clear()
    del last
