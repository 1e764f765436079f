"""Stock Tasks and Futures with ours, in both directions, on stock loops and ours.

With the kind "asyncio" everything is stock, which proves the tests.
"""

import asyncio
import concurrent.futures
import sys

import pytest

PyFuture, PyTask = asyncio.futures._PyFuture, asyncio.tasks._PyTask


def needs_current_task(AnyTask):
    if AnyTask is PyTask and sys.version_info >= (3, 14):
        pytest.skip("asyncio's own current_task() does not know its pure-Python tasks from 3.14 on")


@pytest.fixture(params=["own", "stock", "pure Python"])
def AnyFuture(request, Future):
    return {"own": Future, "stock": asyncio.Future, "pure Python": PyFuture}[request.param]


@pytest.fixture(params=["own", "stock", "pure Python"])
def AnyTask(request, Task):
    return {"own": Task, "stock": asyncio.Task, "pure Python": PyTask}[request.param]


@pytest.fixture(params=["own", "stock"])
def loop(request, loop_factory):
    loop = loop_factory() if request.param == "own" else asyncio.SelectorEventLoop()
    unhandled = []
    loop.set_exception_handler(lambda loop, context: unhandled.append(context))
    yield loop
    loop.close()
    assert unhandled == []


def test_task_gets_the_result_of_a_future(loop, AnyTask, AnyFuture, run):
    async def main():
        future = AnyFuture(loop=loop)
        loop.call_soon(future.set_result, (1, 2))
        return await future

    assert loop.run_until_complete(AnyTask(main(), loop=loop)) == (1, 2)


def test_task_gets_the_exception_of_a_future(loop, AnyTask, AnyFuture):
    async def main():
        future = AnyFuture(loop=loop)
        loop.call_soon(future.set_exception, ValueError("x"))
        with pytest.raises(ValueError, match="^x$"):
            await future
        return "seen"

    assert loop.run_until_complete(AnyTask(main(), loop=loop)) == "seen"


def test_cancel_goes_from_task_to_future(loop, AnyTask, AnyFuture):
    async def main():
        try:
            await future
        except asyncio.CancelledError as exc:
            return exc.args

    future = AnyFuture(loop=loop)
    task = AnyTask(main(), loop=loop)
    loop.call_later(0.001, task.cancel, "why")
    assert loop.run_until_complete(task) == ("why",)
    assert future.cancelled()


def test_cancel_goes_from_future_to_task(loop, AnyTask, AnyFuture):
    async def main():
        await future

    future = AnyFuture(loop=loop)
    task = AnyTask(main(), loop=loop)
    loop.call_later(0.001, future.cancel, "why")
    with pytest.raises(asyncio.CancelledError, match="^why$"):
        loop.run_until_complete(task)
    assert task.cancelled()


def test_task_gets_the_result_of_a_task(loop, AnyTask, Task):
    async def child(value):
        await asyncio.sleep(0)
        return value

    async def parent(kind):
        return await kind(child(5), loop=loop)

    assert loop.run_until_complete(AnyTask(parent(Task), loop=loop)) == 5
    assert loop.run_until_complete(Task(parent(AnyTask), loop=loop)) == 5


def test_current_task_is_right_in_all_kinds_of_tasks(loop, AnyTask, Task):
    needs_current_task(AnyTask)

    async def child():
        seen = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is seen
        return seen

    async def parent():
        me = asyncio.current_task()
        for kind in AnyTask, Task, asyncio.Task:
            task = kind(child(), loop=loop)
            assert await task is task
            assert asyncio.current_task() is me
        return me

    task = AnyTask(parent(), loop=loop)
    assert loop.run_until_complete(task) is task


@pytest.mark.parametrize("combine", ["gather", "wait", "wait_for", "shield", "as_completed"])
def test_combinators_take_all_kinds(loop, AnyTask, AnyFuture, combine):
    if combine == "wait_for":
        needs_current_task(AnyTask)

    async def child():
        await asyncio.sleep(0)
        return "result"

    async def main():
        future = AnyFuture(loop=loop)
        loop.call_later(0.001, future.set_result, "result")
        for awaitable in AnyTask(child(), loop=loop), future:
            match combine:
                case "gather":
                    (result,) = await asyncio.gather(awaitable)
                case "wait":
                    done, pending = await asyncio.wait([awaitable])
                    assert (done, pending) == ({awaitable}, set())
                    result = awaitable.result()
                case "wait_for":
                    result = await asyncio.wait_for(awaitable, 5)
                case "shield":
                    result = await asyncio.shield(awaitable)
                case "as_completed":
                    (result,) = [await each for each in asyncio.as_completed([awaitable])]
            assert result == "result"

    loop.run_until_complete(AnyTask(main(), loop=loop))


def test_chained_futures_pass_on_result_and_cancel(loop, AnyFuture):
    source, target = concurrent.futures.Future(), AnyFuture(loop=loop)
    asyncio.futures._chain_future(source, target)
    source.set_result(3)
    assert loop.run_until_complete(target) == 3
    source, target = AnyFuture(loop=loop), concurrent.futures.Future()
    asyncio.futures._chain_future(source, target)
    target.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(source)


def test_future_of_another_loop_is_refused(loop, loop_factory, AnyTask, AnyFuture):
    other = loop_factory()

    async def main():
        with pytest.raises(RuntimeError, match=r"got Future .* attached to a different loop$"):
            await AnyFuture(loop=other)
        return "seen"

    assert loop.run_until_complete(AnyTask(main(), loop=loop)) == "seen"
    other.close()
