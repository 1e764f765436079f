"""wait(): what it returns and when, what a program that looks inside sees, and what it makes of odd loops."""

import asyncio
import contextvars
import gc
import math
import warnings
import weakref

import pytest
from coroutines import fail, turns

import asyncloop

variable = contextvars.ContextVar("variable", default=0)
WHEN = [asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION]


@pytest.fixture
def reports():
    return []


@pytest.fixture
def run(loop, reports):
    """Runs a coroutine on the loop to its end."""
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    return loop.run_until_complete


def tasks_of(*counts):
    return [asyncio.ensure_future(turns(count)) for count in counts]


class TestResult:
    @pytest.mark.parametrize("make", [list, tuple, set, frozenset, iter, dict.fromkeys])
    def test_of_all(self, waits, run, make):
        async def main():
            tasks = tasks_of(1, 3, 2)
            done, pending = await waits.wait(make(tasks))
            assert type(done) is type(pending) is set
            assert (done, pending) == (set(tasks), set())

        run(main())

    def test_of_the_first(self, waits, run):
        async def main():
            tasks = tasks_of(10, 2, 10)
            done, pending = await waits.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert (done, pending) == ({tasks[1]}, {tasks[0], tasks[2]})
            await waits.wait(tasks)

        run(main())

    def test_of_the_first_exception(self, waits, run, reports):
        async def main():
            tasks = [*tasks_of(1, 10), asyncio.ensure_future(fail()), *tasks_of(10)]
            tasks[-1].cancel()
            done, pending = await waits.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            assert tasks[2] in done
            assert pending == {tasks[1]}
            await waits.wait(tasks)

        run(main())
        gc.collect()
        assert not reports  # the exception counts as retrieved

    @pytest.mark.parametrize("return_when", WHEN)
    def test_which_exceptions_count_as_retrieved(self, waits, run, reports, return_when):
        async def main(wait):
            reports.clear()
            await wait([asyncio.ensure_future(fail()) for _ in range(3)], return_when=return_when)
            gc.collect()
            return len(reports)

        expected = run(main(asyncio.wait))
        assert run(main(waits.wait)) == expected

    @pytest.mark.parametrize("count", [1, 100])
    @pytest.mark.parametrize("return_when", WHEN)
    def test_of_what_is_done(self, waits, run, count, return_when):
        async def main():
            futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
            for future in futures:
                future.set_result(1)
            assert await waits.wait(futures, return_when=return_when) == (set(futures), set())

        run(main())

    def test_of_one_that_stands_twice(self, waits, run):
        async def main():
            (task,) = tasks_of(2)
            assert await waits.wait([task, task]) == ({task}, set())

        run(main())

    def test_of_other_futures(self, waits, run):
        async def main():
            loop = asyncio.get_running_loop()
            futures = [asyncio.Future(), asyncloop.Future(), loop.create_future()]
            for future in futures:
                loop.call_soon(future.set_result, 1)
            assert await waits.wait(futures) == (set(futures), set())

        run(main())

    def test_the_sets_are_the_callers(self, waits, run):
        async def main():
            tasks = set(tasks_of(1, 2))
            done, pending = await waits.wait(tasks)
            assert done is not tasks
            done.clear()
            pending.add(1)
            assert len(tasks) == 2
            other = await waits.wait(tasks)
            assert other[0] is not done
            assert other == (tasks, set())

        run(main())


class TestTimeout:
    @pytest.mark.parametrize("timeout", [0, 0.001, -1, False])
    def test_expires(self, waits, run, timeout):
        async def main():
            futures = [asyncio.get_running_loop().create_future(), *tasks_of(0)]
            await turns(3)
            done, pending = await waits.wait(futures, timeout=timeout)
            assert (done, pending) == ({futures[1]}, {futures[0]})
            assert not futures[0]._callbacks

        run(main())

    @pytest.mark.parametrize("timeout", [None, 1000, 1000.0, math.inf])
    def test_does_not_expire(self, waits, run, timeout):
        async def main():
            tasks = tasks_of(1, 2)
            assert await waits.wait(tasks, timeout=timeout) == (set(tasks), set())

        run(main())

    def test_the_timer_is_cancelled(self, waits, run, loop):
        async def main():
            for _ in range(10):
                await waits.wait(tasks_of(1), timeout=1000)
            waiting = asyncio.ensure_future(waits.wait(tasks_of(100), timeout=1000))
            await turns(2)
            waiting.cancel()
            await turns(2)

        run(main())
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]

    def test_is_a_timer_of_the_loop(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        call_later = loop.call_later

        async def main():
            loop.call_later = lambda *args, **kwargs: calls.append(args) or call_later(*args, **kwargs)
            await waits.wait(tasks_of(1), timeout=1000)
            del loop.call_later

        loop.run_until_complete(main())
        loop.close()
        ((delay, callback, waiter),) = calls
        assert (delay, callback) == (1000, asyncio.tasks._release_waiter)
        assert waiter.done()

    @pytest.mark.parametrize("timeout", ["1", math.nan, 10**400])
    def test_that_is_no_number(self, waits, run, timeout):
        """What asyncio makes of it depends on the version, and on the loop."""

        async def main(wait):
            tasks = tasks_of(1, 2)
            try:
                done, pending = await asyncio.wait_for(wait(tasks, timeout=timeout), 5)
            except Exception as exc:
                await turns(4)
                return type(exc)
            return len(done), len(pending)

        expected = run(main(asyncio.wait))
        assert run(main(waits.wait)) == expected


class TestRefused:
    @pytest.mark.parametrize(
        "arguments",
        [
            ([], {}),
            ((), {}),
            ({}, {}),
            (1, {}),
            ([1], {}),
            ([[]], {}),
            ("future", {}),
            ("coroutine", {}),
            ("coroutines", {}),
            ("futures", {"return_when": "wrong"}),
            ("futures", {"return_when": 1}),
            ("futures", {"return_when": None}),
        ],
        ids=repr,
    )
    def test_as_asyncio_does(self, waits, run, arguments):
        async def main(wait):
            what, kwargs = arguments
            futures = tasks_of(1, 2)
            coroutine = turns()
            what = {"future": futures[0], "coroutine": coroutine, "coroutines": [futures[0], coroutine]}.get(
                *(what, what) if isinstance(what, str) else (None, what)
            )
            what = futures if what == "futures" else what
            try:
                with pytest.raises(Exception) as caught:
                    await wait(what, **kwargs)
            finally:
                coroutine.close()
                await asyncio.gather(*futures)
            return type(caught.value), str(caught.value)

        expected = run(main(asyncio.wait))
        assert run(main(waits.wait)) == expected

    def test_arguments(self, waits):
        for args, kwargs in (((), {}), (([], 1), {}), (([],), {"wrong": 1})):
            with pytest.raises(TypeError):
                waits.wait(*args, **kwargs)

    def test_outside_of_a_loop(self, waits, loop):
        future = loop.create_future()
        waiting = waits.wait([future])
        with pytest.raises(RuntimeError, match="no running event loop"):
            waiting.send(None)
        assert not future._callbacks

    def test_never_awaited(self, waits):
        with pytest.warns(RuntimeWarning, match="coroutine 'wait' was never awaited"):
            waits.wait([1])
            gc.collect()


class TestCancelled:
    def test_futures_go_on(self, waits, run):
        async def main():
            tasks = tasks_of(5, 6)
            waiting = asyncio.ensure_future(waits.wait(tasks, timeout=1000))
            await turns(2)
            waiting.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await waiting
            assert not any(task._callbacks for task in tasks)
            assert [await task for task in tasks] == [5, 6]

        run(main())

    def test_closed(self, waits, run):
        async def main():
            future = asyncio.get_running_loop().create_future()
            waiting = waits.wait([future])
            waiting.send(None)
            assert len(future._callbacks) == 1
            waiting.close()
            assert not future._callbacks

        run(main())

    def test_a_callback_that_cannot_be_compared(self, waits, run):
        class Callback:
            def __call__(self, future):
                pass

            def __eq__(self, other):
                raise ZeroDivisionError

        async def main():
            future = asyncio.get_running_loop().create_future()
            future.add_done_callback(Callback())
            waiting = asyncio.ensure_future(waits.wait([future]))
            await turns()
            waiting.cancel()
            with pytest.raises(ZeroDivisionError) as caught:
                await waiting
            assert isinstance(caught.value.__context__, asyncio.CancelledError)
            future.cancel()

        run(main())

    def test_a_comparison_that_ends_the_others(self, waits, run):
        async def main():
            futures = [asyncio.get_running_loop().create_future() for _ in range(5)]

            class Callback:
                def __call__(self, future):
                    pass

                def __eq__(self, other):
                    for future in futures:
                        if not future.done():
                            future.set_result(1)
                    return False

            for future in futures:
                future.add_done_callback(Callback())
            done, pending = await waits.wait(futures, timeout=0.001)
            assert (done, pending) == (set(futures), set())

        run(main())


class TestInside:
    def test_name_of_the_callback(self, waits, run):
        async def main():
            future = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(waits.wait([future]))
            await turns()
            ((callback, _context),) = future._callbacks
            assert callback.__qualname__ == "_wait.<locals>._on_completion"
            assert callback.__name__ == "_on_completion"
            future.set_result(1)
            await waiting

        run(main())

    def test_order_of_callbacks(self, waits, run):
        async def main():
            calls = []
            future = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(waits.wait([future]))
            waiting.add_done_callback(lambda _: calls.append("waiting"))
            await turns()
            future.add_done_callback(lambda _: calls.append("future"))
            asyncio.get_running_loop().call_soon(calls.append, "before")
            future.set_result(1)
            asyncio.get_running_loop().call_soon(calls.append, "after")
            await waiting
            await turns()
            assert calls == ["before", "future", "after", "waiting"]

        run(main())

    @pytest.mark.skipif(not hasattr(asyncio, "future_add_to_awaited_by"), reason="no call graphs")
    @pytest.mark.parametrize("ends", ["done", "first", "cancelled"])
    def test_call_graph(self, waits, run, ends):
        def awaiters(task):
            return [entry.future for entry in asyncio.capture_call_graph(task).awaited_by]

        async def main():
            tasks = tasks_of(4, 8)
            when = asyncio.FIRST_COMPLETED if ends == "first" else asyncio.ALL_COMPLETED
            waiting = asyncio.ensure_future(waits.wait(tasks, return_when=when))
            await turns(2)
            assert [awaiters(task) for task in tasks] == [[waiting], [waiting]]
            if ends == "cancelled":
                waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert [awaiters(task) for task in tasks] == [[], []]
            await asyncio.gather(*tasks)

        run(main())

    def test_debug_mode(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_debug(True)
            tasks = tasks_of(1, 2)
            assert await waits.wait(tasks, timeout=1000) == (set(tasks), set())

        run(main())

    def test_goes_where_coroutines_go(self, waits, run):
        async def main():
            assert asyncio.iscoroutine(waiting := waits.wait(tasks_of(1)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert asyncio.iscoroutinefunction(waits.wait)
            done, _pending = await asyncio.get_running_loop().create_task(waiting)
            assert len(done) == 1

        run(main())

    def test_within_asyncios_functions(self, waits, run, monkeypatch):
        monkeypatch.setattr(asyncio.tasks, "wait", waits.wait)
        monkeypatch.setattr(asyncio, "wait", waits.wait)

        async def main():
            assert sorted([await one for one in asyncio.as_completed(tasks_of(1, 2))]) == [1, 2]
            results = []

            async def first():
                results.append(await turns(2))
                return 1

            from asyncio import staggered

            monkeypatch.setattr(staggered.tasks, "wait", waits.wait)
            winner, index, _exceptions = await staggered.staggered_race([first, first], 0.001)
            assert (winner, index) == (1, 0)

        run(main())

    def test_create_future_of_the_loop_is_called(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        create_future = loop.create_future

        async def main():
            tasks = tasks_of(1)
            loop.create_future = lambda: calls.append(1) or create_future()
            await waits.wait(tasks)
            del loop.create_future

        loop.run_until_complete(main())
        loop.close()
        assert calls == [1]


class TestCallback:
    def test_is_collected(self, waits, run):
        async def main():
            future = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(waits.wait([future]))
            waiting._log_destroy_pending = False
            await turns()
            future.itself = [waiting, future]
            reference = weakref.ref(future)
            del waiting, future
            await turns()
            gc.collect()
            assert reference() is None

        run(main())

    def test_takes_a_future_that_is_done(self):
        async def main():
            future = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(asyncloop.wait([future]))
            await turns()
            ((callback, _context),) = future._callbacks
            for args in ((), (1,), (future,), (future, future)):
                with pytest.raises(TypeError):
                    callback(*args)
            future.set_result(1)
            callback(future)  # once too often
            assert await waiting == ({future}, set())

        asyncloop.run(main())

    def test_what_a_program_finds_in_it_may_be_changed(self):
        async def main():
            futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
            waiting = asyncio.ensure_future(asyncloop.wait(futures))
            await turns()
            ((callback, _context),) = futures[0]._callbacks
            for found in gc.get_referents(callback):
                if type(found) is set:
                    found.clear()
            for future in futures:
                future.set_result(1)
            assert await waiting == (set(futures), set())

        asyncloop.run(main())
