"""sleep() and wait_for(): what a program sees of them besides what CPython's own tests look at."""

import asyncio
import gc
import inspect
import math
import pickle
import sys
import types
import unittest.mock

import pytest

import asyncloop

BUILT_ON_TIMEOUT = "timeouts" in asyncio.wait_for.__code__.co_names


@pytest.fixture(params=["sleep", "wait", "wait_for"])
def function(request, waits):
    return getattr(waits, request.param)


class TestFunction:
    def test_passes_for_a_coroutine_function(self, function):
        if hasattr(inspect, "markcoroutinefunction"):
            assert inspect.iscoroutinefunction(function)
        with unittest.mock.patch.object(asyncio, function.__name__, function):
            with unittest.mock.patch(f"asyncio.{function.__name__}") as mocked:
                assert isinstance(mocked, unittest.mock.AsyncMock)

    def test_signature(self, function):
        assert inspect.signature(function) == inspect.signature(getattr(asyncio, function.__name__))

    def test_name_and_pickle(self, function, waits):
        assert function.__name__ == function.__qualname__
        assert function.__doc__
        assert pickle.loads(pickle.dumps(function)) is function
        assert repr(function).startswith(f"<function {function.__name__} at 0x")

    def test_binds_as_a_method(self, function):
        holder = type("Holder", (), {"method": function})
        bound = holder().method
        assert isinstance(bound, types.MethodType)
        assert bound.__func__ is function

    def test_attributes(self, function):
        function.mine = 1
        assert vars(function)["mine"] == 1
        del function.mine


class TestSleep:
    def test_returns_the_result(self, waits, run):
        async def main():
            assert await waits.sleep(0) is None
            assert await waits.sleep(0, 1) == 1
            assert await waits.sleep(0.001, result=2) == 2
            assert await waits.sleep(result=3, delay=-1) == 3

        run(main())

    def test_arguments(self, waits, run):
        for args in ((), (1, 2, 3)):
            with pytest.raises(TypeError):
                waits.sleep(*args)

        async def main():
            with pytest.raises(TypeError):
                await waits.sleep("1")
            with pytest.raises(TypeError):
                await waits.sleep(None)

        run(main())

    def test_not_a_number(self, waits, run):
        async def main():
            if "isnan" in asyncio.sleep.__code__.co_names:
                with pytest.raises(ValueError):
                    await waits.sleep(math.nan)

        run(main())

    def test_delays_of_other_types(self, waits, run):
        class Delay(float):
            pass

        async def main():
            assert await waits.sleep(Delay(0.001), 1) == 1
            assert await waits.sleep(False, 2) == 2

        run(main())

    def test_too_long(self, waits, run):
        async def main():
            with pytest.raises(OverflowError):
                await waits.sleep(10**400)

        run(main())

    def test_cancelled(self, waits, run):
        async def main():
            loop = asyncio.get_running_loop()
            for delay in (0, 1000):
                task = loop.create_task(waits.sleep(delay))
                await asyncio.sleep(0)
                task.cancel("why")
                with pytest.raises(asyncio.CancelledError, match="why"):
                    await task

        run(main())

    def test_is_a_timer_of_the_loop(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        call_later = loop.call_later

        async def main():
            loop.call_later = lambda *args, **kwargs: calls.append(args) or call_later(*args, **kwargs)
            await waits.sleep(0.001, "x")
            del loop.call_later

        loop.run_until_complete(main())
        loop.close()
        assert [(args[0], args[-1]) for args in calls] == [(0.001, "x")]

    def test_needs_a_running_loop(self, waits):
        with pytest.raises(StopIteration):
            sleeping = waits.sleep(0)
            assert sleeping.send(None) is None
            sleeping.send(None)
        with pytest.raises(RuntimeError, match="no running event loop"):
            waits.sleep(1).send(None)

    def test_stepped_by_hand(self, waits):
        sleeping = waits.sleep(0, 5)
        with pytest.raises(TypeError):
            sleeping.send(1)
        assert sleeping.send(None) is None
        with pytest.raises(ValueError, match="x"):
            sleeping.throw(ValueError("x"))
        with pytest.raises(RuntimeError, match="cannot reuse"):
            sleeping.send(None)
        sleeping = waits.sleep(0, 5)
        sleeping.send(None)
        with pytest.raises(StopIteration) as caught:
            sleeping.send("anything")
        assert caught.value.value == 5
        sleeping = waits.sleep(0)
        sleeping.send(None)
        sleeping.close()

    def test_never_awaited(self, waits):
        with pytest.warns(RuntimeWarning, match="coroutine 'sleep' was never awaited"):
            waits.sleep(0)
            gc.collect()


class TestWaitFor:
    def test_what_can_be_awaited(self, waits, run):
        async def coroutine():
            await asyncio.sleep(0)
            return 1

        @types.coroutine
        def generator():
            yield
            return 1

        class Awaitable:
            def __await__(self):
                yield
                return 1

        async def main():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_soon(future.set_result, 1)
            for one in (coroutine(), Awaitable(), future, loop.create_task(coroutine())):
                assert await waits.wait_for(one, 1000) == 1
            if BUILT_ON_TIMEOUT:
                assert await waits.wait_for(generator(), None) == 1

        run(main())

    @pytest.mark.skipif(not BUILT_ON_TIMEOUT, reason="it makes a task")
    def test_what_cannot_be_awaited(self, waits, run):
        async def wait():
            await asyncio.sleep(0)

        class Iterates:
            def __init__(self, what):
                self.what = what

            def __await__(self):
                return self.what

        def describe(exc):
            return type(exc), str(exc)

        async def errors(wait_for):
            loop = asyncio.get_running_loop()
            found = []
            running = wait()
            running.send(None)
            for one in (1, (i for i in ()), running, Iterates(1), Iterates(running), "x"):
                try:
                    await wait_for(one, 1000)
                except (TypeError, RuntimeError) as exc:
                    found.append(describe(exc))
            assert not getattr(loop, "_scheduled", None) or all(handle.cancelled() for handle in loop._scheduled)
            running.close()
            return found

        assert run(errors(waits.wait_for)) == run(errors(asyncio.wait_for))

    def test_timeouts_of_zero(self, waits, run):
        async def never():
            raise AssertionError

        async def main():
            for timeout in (0, -1, 0.0, False):
                with pytest.raises(TimeoutError):
                    await waits.wait_for(never(), timeout)
            future = asyncio.get_running_loop().create_future()
            with pytest.raises(TypeError):
                await waits.wait_for(future, "1")

        run(main())

    def test_needs_a_task(self, waits):
        with pytest.raises(RuntimeError, match="no running event loop"):
            waits.wait_for(None, 1).send(None)

    @pytest.mark.skipif(not BUILT_ON_TIMEOUT, reason="it does not call timeout()")
    def test_timeout_replaced_in_asyncio_is_called(self, waits, run, monkeypatch):
        calls = []
        stock = asyncio.timeouts.timeout
        monkeypatch.setattr(asyncio.timeouts, "timeout", lambda delay: calls.append(delay) or stock(delay))

        async def main():
            await waits.wait_for(asyncio.sleep(0), 5)

        run(main())
        assert calls == [5]

    @pytest.mark.parametrize("swallows", [False, True])
    def test_handled_exceptions_stay_what_they_are(self, waits, loop, swallows):
        async def body():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                if swallows:
                    return
                raise ValueError from None

        async def wait(future):
            try:
                await waits.wait_for(body(), 1e-9)
            except (ValueError, TimeoutError) as exc:
                assert swallows is False
                assert exc.__cause__ is None
            await future
            return sys.exception()

        future = loop.create_future()
        task = loop.create_task(wait(future))
        try:
            raise KeyError("outer")
        except KeyError:
            for _ in range(20):  # the task waits for the future then
                loop.call_soon(loop.stop)
                loop.run_forever()
        future.set_result(None)
        assert loop.run_until_complete(task) is None

    def test_closed_while_it_waits(self, waits, run):
        async def main():
            waiting = waits.wait_for(asyncio.sleep(0), 1000)
            waiting.send(None)
            waiting.close()
            with pytest.raises(RuntimeError, match="cannot reuse"):
                waiting.send(None)

        run(main())


def test_a_task_of_it_is_shown_by_its_name():
    async def main():
        task = asyncio.ensure_future(asyncloop.sleep(0))
        assert "coro=<sleep()" in repr(task)
        await task

    asyncloop.run(main())
