"""Loop(keep_tasks=True): a task to which nobody refers is not collected while it waits."""

import asyncio
import functools
import gc
import weakref

import pytest

import asyncloop


def keeping(**options):
    return functools.partial(asyncloop.Loop, keep_tasks=True, **options)


async def wait(ended):
    """Wait for a future that only this frame and the task refer to."""
    try:
        await asyncio.get_running_loop().create_future()
    except BaseException as exc:
        ended.append(type(exc))
        raise


async def start_and_collect(ended):
    task = weakref.ref(asyncio.create_task(wait(ended)))
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    return task()


def test_by_default_a_task_is_collected_as_in_asyncio(run, loop, reports):
    ended = []
    assert run(start_and_collect(ended)) is None
    assert ended == [GeneratorExit]
    assert [report["message"] for report in reports()] == ["Task was destroyed but it is pending!"]


class TestKept:
    """asyncio's loop has no such option."""

    def test_a_task_is_there_until_it_is_done(self):
        ended = []

        async def main():
            task = await start_and_collect(ended)
            assert task in asyncio.all_tasks() and not task.done()
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            freed = weakref.ref(task)
            del task
            return freed

        freed = asyncloop.run(main(), loop_factory=keeping())
        assert ended == [asyncio.CancelledError]
        gc.collect()
        assert freed() is None

    @pytest.mark.parametrize("end", ["return 1", "raise ValueError", "raise asyncio.CancelledError"])
    def test_it_is_freed_when_it_is_done(self, end):
        namespace = {"asyncio": asyncio}
        exec(f"async def job():\n    await asyncio.sleep(0)\n    {end}", namespace)

        async def main():
            task = asyncio.create_task(namespace["job"]())
            await asyncio.wait([task])
            assert task.done()
            task.cancelled() or task.exception()
            freed = weakref.ref(task)
            del task
            await asyncio.sleep(0)
            return freed()

        assert asyncloop.run(main(), loop_factory=keeping()) is None

    def test_tasks_of_a_task_factory_are_kept(self):
        ended = []

        class OwnTask(asyncio.Task):
            pass

        async def main():
            asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: OwnTask(coro, loop=loop, **more))
            task = await start_and_collect(ended)
            assert type(task) is OwnTask
            task.cancel()

        asyncloop.run(main(), loop_factory=keeping())
        assert ended == [asyncio.CancelledError]

    def test_what_a_factory_makes_must_take_callbacks(self):
        class Named:
            def set_name(self, name):  # some patch releases of 3.13 call it
                pass

        async def main():
            asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: coro.close() or Named())
            with pytest.raises(AttributeError, match="add_done_callback"):
                asyncio.create_task(asyncio.sleep(0))
            asyncio.get_running_loop().set_task_factory(None)
            return await asyncio.create_task(asyncio.sleep(0, "works"))

        assert asyncloop.run(main(), loop_factory=keeping()) == "works"

    def test_close_frees_the_tasks(self):
        loop = keeping()()
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
        ended = []
        loop.run_until_complete(start_and_collect(ended))
        assert ended == []
        loop.close()
        gc.collect()
        assert ended == [GeneratorExit]
        assert reports == ["Task was destroyed but it is pending!"]

    def test_a_loop_that_is_dropped_frees_the_tasks(self):
        loop = keeping()()
        loop.set_exception_handler(lambda _, context: None)
        ended = []
        loop.run_until_complete(start_and_collect(ended))
        freed = weakref.ref(loop)
        with pytest.warns(ResourceWarning, match="unclosed event loop"):
            del loop
            gc.collect()
        assert freed() is None
        assert ended == [GeneratorExit]

    def test_it_is_a_truth_value(self):
        class Unclear:
            def __bool__(self):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            asyncloop.Loop(keep_tasks=Unclear())
