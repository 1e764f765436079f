"""shield(): what it passes on, what a program that looks inside sees, and what it makes of odd loops."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import weakref

import pytest
from coroutines import fail, turns

import asyncloop

HAS_CALL_GRAPHS = hasattr(asyncio, "future_add_to_awaited_by")
variable = contextvars.ContextVar("variable", default=0)


@pytest.fixture
def reports():
    return []


@pytest.fixture
def run(loop, reports):
    """Runs a coroutine on the loop to its end."""
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    return loop.run_until_complete


class TestOutcome:
    @pytest.mark.parametrize("make", [turns, lambda: asyncio.ensure_future(turns())])
    def test_result(self, waits, run, make):
        async def main():
            outer = waits.shield(make())
            assert isinstance(outer, asyncio.Future)
            assert not isinstance(outer, asyncio.Task)
            assert await outer == 1

        run(main())

    def test_of_a_future(self, waits, run):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            outer = waits.shield(arg=inner)
            inner.set_result("set")
            assert not outer.done()
            await turns()
            assert outer.result() == "set"

        run(main())

    def test_exception(self, waits, run, reports):
        async def main():
            inner = asyncio.ensure_future(fail())
            with pytest.raises(ValueError, match="failed") as caught:
                await waits.shield(inner)
            assert caught.value is inner.exception()

        run(main())
        gc.collect()
        assert not reports

    def test_exception_that_nobody_retrieves(self, waits, run, reports):
        async def main():
            waits.shield(fail())
            await turns(4)
            gc.collect()

        run(main())
        assert [report["message"] for report in reports] == ["Future exception was never retrieved"]

    def test_inner_is_cancelled(self, waits, run):
        async def main():
            inner = asyncio.ensure_future(turns(100))
            outer = waits.shield(inner)
            await turns()
            inner.cancel("why")
            with pytest.raises(asyncio.CancelledError) as caught:
                await outer
            assert caught.value.args == ()
            assert outer.cancelled()

        run(main())

    def test_of_what_is_done(self, waits, run):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            inner.set_result(1)
            assert waits.shield(inner) is inner

        run(main())

    def test_of_other_awaitables(self, waits, run):
        class Awaitable:
            def __await__(self):
                yield
                return 1

        async def main():
            assert await waits.shield(Awaitable()) == 1
            assert await waits.shield(waits.sleep(0, 2)) == 2
            for inner in (asyncio.Future(), asyncloop.Future()):
                asyncio.get_running_loop().call_soon(inner.set_result, 3)
                assert await waits.shield(inner) == 3

        run(main())

    def test_of_a_shield(self, waits, run):
        async def main():
            outer = asyncio.ensure_future(turns())
            for _ in range(1000):
                outer = waits.shield(outer)
            assert await outer == 1

        run(main())

    def test_outer_is_done_already(self, waits, run, reports):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            outer = waits.shield(inner)
            inner.set_result(1)
            outer.set_result(2)
            await turns(2)
            assert outer.result() == 2

        run(main())
        assert [type(report["exception"]) for report in reports] == [asyncio.InvalidStateError]

    def test_arguments(self, waits, run):
        async def main():
            for args, kwargs in (((), {}), ((1, 2), {}), ((1,), {}), ((), {"wrong": 1})):
                with pytest.raises(TypeError):
                    waits.shield(*args, **kwargs)

        run(main())


class TestCancelled:
    def test_inner_goes_on(self, waits, run):
        async def main():
            inner = asyncio.ensure_future(turns(5))
            outer = waits.shield(inner)
            await turns()
            assert outer.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await outer
            assert await inner == 5

        run(main())

    def test_a_task_that_waits(self, waits, run):
        async def main():
            inner = asyncio.ensure_future(turns(5))

            async def wait():
                await waits.shield(inner)

            task = asyncio.ensure_future(wait())
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not inner.cancelling()
            assert await inner == 5

        run(main())

    def test_callbacks_pile_up_where_asyncios_do(self, waits, run):
        """Which depends on the patch release: so asyncio is asked."""

        async def main(shield):
            inner = asyncio.get_running_loop().create_future()
            counts = []
            for _ in range(5):
                shield(inner).cancel()
                await turns(2)
                counts.append(len(inner._callbacks or ()))
            inner.cancel()
            return counts

        expected = run(main(asyncio.shield))
        assert run(main(waits.shield)) == expected

    @pytest.mark.parametrize("outcome", ["set_result", "set_exception", "cancel"])
    @pytest.mark.parametrize("at_once", [True, False])
    def test_what_is_reported_is_what_asyncio_reports(self, loop, waits, run, reports, outcome, at_once):
        """Which depends on the patch release: so asyncio is asked."""

        async def main(shield):
            reports.clear()
            inner = asyncio.get_running_loop().create_future()
            for _ in range(2):
                outer = shield(inner)
                outer.cancel()
                if not at_once:
                    await turns(2)
            argument = {"set_result": [1], "set_exception": [ValueError("x")], "cancel": []}
            getattr(inner, outcome)(*argument[outcome])
            await turns(3)
            del inner, outer
            gc.collect()
            return [(report["message"], type(report.get("exception"))) for report in reports]

        expected = run(main(asyncio.shield))
        assert run(main(waits.shield)) == expected


class TestInside:
    def test_names_of_callbacks(self, waits, run):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            outer = waits.shield(inner)
            ((callback, _context),) = outer._callbacks
            assert callback.__qualname__ == "shield.<locals>._outer_done_callback"
            assert callback.__name__ in callback.__qualname__
            callback, _context = inner._callbacks[-1]
            assert callback.__qualname__ == "shield.<locals>._inner_done_callback"
            assert "_inner_done_callback" in repr(inner)
            inner.cancel()

        run(main())

    def test_order_of_callbacks(self, waits, run):
        async def main():
            calls = []
            inner = asyncio.get_running_loop().create_future()
            inner.add_done_callback(lambda _: calls.append(("first", outer.done())))
            outer = waits.shield(inner)
            inner.add_done_callback(lambda _: calls.append(("last", outer.done())))
            outer.add_done_callback(lambda _: calls.append("outer"))
            inner.set_result(1)
            await turns(3)
            assert calls == [("first", False), ("last", True), "outer"]

        run(main())

    def test_context(self, waits, run):
        async def main():
            variable.set(1)
            outer = waits.shield(look())
            variable.set(2)
            assert await outer == 1

        async def look():
            await turns()
            return variable.get()

        run(main())

    @pytest.mark.skipif(not HAS_CALL_GRAPHS, reason="no call graphs")
    @pytest.mark.parametrize("is_cancelled", [False, True])
    def test_call_graph(self, waits, run, is_cancelled):
        def awaiters(task):
            return [entry.future for entry in asyncio.capture_call_graph(task).awaited_by]

        async def main(shield):
            task = asyncio.ensure_future(turns(6))
            outer = shield(task)
            await turns()
            seen = [awaiters(task)]
            if is_cancelled:
                outer.cancel()
                await turns()
                seen.append(awaiters(task))  # depends on the patch release
            await task
            await turns()
            assert not awaiters(task)
            return [[one is asyncio.current_task() for one in some] for some in seen]

        expected = run(main(asyncio.shield))
        assert expected[0] == [True]
        assert run(main(waits.shield)) == expected

    def test_debug_mode(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_debug(True)
            assert await waits.shield(turns()) == 1
            inner = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(inner.set_result, 1)
            assert await waits.shield(inner) == 1

        run(main())


class TestHooks:
    def test_methods_of_the_loop_are_called(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        stock = {"create_task": loop.create_task, "create_future": loop.create_future}

        def replace(name):
            setattr(loop, name, lambda *args, **kwargs: calls.append(name) or stock[name](*args, **kwargs))

        async def main():
            for name in stock:
                replace(name)
            await waits.shield(turns())
            for name in stock:
                delattr(loop, name)

        loop.run_until_complete(main())
        loop.close()
        assert calls == ["create_task", "create_future"]

    def test_ensure_future_is_called(self, waits, run, monkeypatch):
        calls = []
        name = "ensure_future" if "ensure_future" in asyncio.shield.__code__.co_names else "_ensure_future"
        stock = getattr(asyncio.tasks, name)

        async def main():
            monkeypatch.setattr(asyncio.tasks, name, lambda arg: calls.append(arg) or stock(arg))
            await waits.shield(turns())

        run(main())
        assert len(calls) == 1

    @pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks")
    def test_eager_tasks(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            assert waits.shield(turns(0)).done()
            assert await waits.shield(turns(1)) == 1

        run(main())

    def test_outside_of_the_loop(self, waits, loop):
        inner = loop.create_future()
        outer = waits.shield(inner)
        loop.call_soon(inner.set_result, 1)
        assert loop.run_until_complete(outer) == 1


class TestCallback:
    def test_is_collected(self, waits, run):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            outer = waits.shield(inner)
            inner.itself = outer.itself = [inner, outer]
            references = [weakref.ref(inner), weakref.ref(outer)]
            del inner, outer
            await turns()
            gc.collect()
            assert [reference() for reference in references] == [None, None]

        run(main())

    def test_takes_a_future_that_is_done(self):
        async def main():
            inner = asyncio.get_running_loop().create_future()
            outer = asyncloop.shield(inner)
            for future in (inner, outer):
                callback, _context = future._callbacks[0]
                for args in ((), (1,), (future,), (future, future)):
                    with pytest.raises(TypeError):
                        callback(*args)
            inner.cancel()

        asyncloop.run(main())


UNKNOWN = """
import asyncio
stock, calls = asyncio.shield, []
def shield(arg):
    calls.append(arg)
    return stock(arg)
asyncio.shield = shield
import asyncloop
async def main():
    return await asyncloop.shield(asyncio.sleep(0, 1))
assert asyncloop.run(main()) == 1
assert len(calls) == 1
"""


def test_a_shield_whose_code_is_unknown_is_called():
    subprocess.run([sys.executable, "-c", UNKNOWN], check=True, timeout=60)
