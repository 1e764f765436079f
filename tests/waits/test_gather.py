"""gather(): what a program that looks inside, and an odd loop see."""

import asyncio
import gc
import weakref

import pytest
from coroutines import fail, turns

import asyncloop


class TestResults:
    def test_in_their_order(self, waits, run):
        async def main():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_soon(future.set_result, "set")
            outer = waits.gather(turns(3), loop.create_task(turns(2)), future, turns(0))
            assert type(outer) is asyncio.tasks._GatheringFuture
            assert await outer == [3, 2, "set", 0]

        run(main())

    def test_of_nothing(self, waits, run):
        async def main():
            assert await waits.gather() == []

        run(main())

    @pytest.mark.parametrize("count", [2, 20])
    def test_of_one_that_stands_twice(self, waits, run, count):
        async def main():
            coroutines = [turns(i) for i in range(count)]
            assert await waits.gather(*coroutines, coroutines[1]) == [*range(count), 1]

        run(main())

    def test_of_many(self, waits, run):
        async def main():
            assert await waits.gather(*[turns(i % 3) for i in range(50)]) == [i % 3 for i in range(50)]

        run(main())

    def test_of_what_is_done(self, waits, run):
        async def main():
            done = asyncio.get_running_loop().create_future()
            done.set_result(1)
            assert await waits.gather(done, turns()) == [1, 1]
            assert await waits.gather(done) == [1]

        run(main())

    def test_of_other_awaitables(self, waits, run):
        class Awaitable:
            def __await__(self):
                yield
                return 1

        async def main():
            assert await waits.gather(Awaitable(), turns()) == [1, 1]
            assert await waits.gather(asyncloop.sleep(0, 2), asyncloop.wait_for(turns(), 5)) == [2, 1]

        run(main())

    def test_exceptions_among_them(self, waits, run):
        async def main():
            cancelled = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(cancelled.cancel, "why")
            results = await waits.gather(turns(), fail(), cancelled, return_exceptions=True)
            assert results[0] == 1
            assert isinstance(results[1], ValueError)
            assert isinstance(results[2], asyncio.CancelledError)
            assert results[2].args == ("why",)

        run(main())


class TestFailures:
    def test_the_first_exception_is_raised(self, waits, run):
        async def main():
            other = asyncio.ensure_future(turns(3))
            with pytest.raises(ValueError, match="failed"):
                await waits.gather(other, fail())
            assert await other == 3

        run(main())

    def test_a_second_exception_counts_as_retrieved(self, waits, run):
        async def main():
            reports = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
            with pytest.raises(ValueError):
                await waits.gather(fail(), fail())
            await turns(2)
            gc.collect()
            assert not reports

        run(main())

    def test_a_cancelled_one(self, waits, run):
        async def main():
            task = asyncio.ensure_future(asyncio.sleep(1000))
            outer = waits.gather(turns(5), task)
            await turns()
            task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await outer
            assert not outer.cancelled()

        run(main())

    @pytest.mark.parametrize("returns", [False, True])
    def test_cancelled_itself(self, waits, run, returns):
        async def main():
            tasks = [asyncio.ensure_future(asyncio.sleep(1000)) for _ in range(3)]
            outer = waits.gather(*tasks, return_exceptions=returns)
            await turns()
            assert outer.cancel("why")
            with pytest.raises(asyncio.CancelledError):
                await outer
            assert all(task.cancelled() for task in tasks)

        run(main())

    def test_what_cannot_be_gathered(self, waits, run):
        async def main():
            task = asyncio.ensure_future(turns())
            with pytest.raises(TypeError):
                waits.gather(task, 1)
            with pytest.raises(TypeError):
                waits.gather(task, wrong=1)
            assert await task == 1
            await turns()

        run(main())

    def test_the_list_of_the_outer_future_may_be_changed(self):
        async def main():
            outer = asyncloop.gather(turns(), turns())
            outer._children.clear()
            assert await outer == [1, 1]

        asyncloop.run(main())


class TestHooks:
    def test_create_task_of_the_loop_is_called(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        create_task = loop.create_task

        async def main():
            loop.create_task = lambda *args, **kwargs: calls.append(args) or create_task(*args, **kwargs)
            await waits.gather(turns(), turns())
            del loop.create_task

        loop.run_until_complete(main())
        loop.close()
        assert len(calls) == 2

    @pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks")
    def test_eager_tasks(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            assert await waits.gather(turns(0), turns(1)) == [0, 1]

        run(main())

    def test_debug_mode(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_debug(True)
            assert await waits.gather(turns(0), turns(1)) == [0, 1]

        run(main())

    @pytest.mark.skipif(not hasattr(asyncio, "future_add_to_awaited_by"), reason="no call graphs")
    def test_call_graph(self, waits, run):
        async def main():
            task = asyncio.ensure_future(turns(3))
            outer = waits.gather(task, turns(3))
            await turns()
            (entry,) = asyncio.capture_call_graph(task).awaited_by
            assert entry.future is asyncio.current_task()
            await outer
            assert not asyncio.capture_call_graph(task).awaited_by

        run(main())

    def test_outside_of_a_loop(self, waits, loop):
        asyncio.set_event_loop(loop)
        try:
            assert loop.run_until_complete(waits.gather(*[loop.create_task(turns())])) == [1]
        finally:
            asyncio.set_event_loop(None)


class TestCallback:
    def test_is_collected(self, waits, run):
        async def main():
            future = asyncio.get_running_loop().create_future()
            outer = waits.gather(future, turns())
            outer.itself = [outer, future]
            reference = weakref.ref(outer)
            await turns(3)
            del outer, future
            gc.collect()
            assert reference() is None

        run(main())


def test_the_callback_takes_a_future_that_is_done():
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncloop.gather(future, asyncio.sleep(0))
        ((callback, _context),) = future._callbacks
        assert callback.__qualname__ == "gather.<locals>._done_callback"
        for args in ((), (1,), (future,), (future, future)):
            with pytest.raises(TypeError):
                callback(*args)
        future.cancel()

    asyncloop.run(main())


def test_what_a_program_finds_in_the_callback_may_be_changed():
    async def main():
        future = asyncio.get_running_loop().create_future()
        outer = asyncloop.gather(future, turns(1))
        ((callback, _context),) = future._callbacks
        for found in gc.get_referents(callback):
            if type(found) is list:
                found.clear()
        future.set_result("set")
        return await asyncio.wait_for(outer, 5)

    assert asyncloop.run(main()) == ["set", 1]
