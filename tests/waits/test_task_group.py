"""TaskGroup: what a subclass, a program that looks inside, and an odd loop see."""

import asyncio
import gc
import weakref

import pytest
import stock
from coroutines import fail, turns

import asyncloop


class TestInterface:
    def test_class(self, waits):
        group = waits.TaskGroup()
        assert isinstance(group, asyncio.TaskGroup)
        assert type(group) is waits.TaskGroup
        with pytest.raises(TypeError):
            waits.TaskGroup(1)

    def test_repr(self, waits, run):
        async def main():
            group = waits.TaskGroup()
            assert repr(group) == "<TaskGroup>"
            async with group as entered:
                assert entered is group
                assert repr(group) == "<TaskGroup entered>"
                group.create_task(turns(3))
                assert repr(group) == "<TaskGroup tasks=1 entered>"
            assert repr(group) == "<TaskGroup entered>"

        run(main())

    def test_results(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                tasks = [group.create_task(turns(count)) for count in range(4)]
                named = group.create_task(turns(), name="mine")
                assert named.get_name() == "mine"
                assert tasks[0] in group._tasks
            assert [task.result() for task in tasks] == [0, 1, 2, 3]
            assert not group._tasks

        run(main())

    def test_context_of_a_task(self, waits, run):
        import contextvars

        variable = contextvars.ContextVar("variable")

        async def get():
            return variable.get()

        async def main():
            variable.set(1)
            context = contextvars.copy_context()
            context.run(variable.set, 2)
            async with waits.TaskGroup() as group:
                tasks = [group.create_task(get()), group.create_task(get(), context=context)]
            assert [task.result() for task in tasks] == [1, 2]

        run(main())

    def test_wrong_arguments(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                for args, kwargs in (((), {}), ((1, 2), {}), ((), {"coro": 1, "name": 2})):
                    with pytest.raises((TypeError, AttributeError)):
                        group.create_task(*args, **kwargs)
                with pytest.raises(TypeError):
                    group.create_task(1)
                assert not group._tasks

        run(main())

    def test_coroutine_by_name(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                task = group.create_task(coro=turns())
            assert task.result() == 1

        run(main())

    def test_awaitables_of_ours(self, run):
        async def main():
            async with asyncloop.TaskGroup() as group:
                task = group.create_task(asyncloop.sleep(0, "slept"))
            assert task.result() == "slept"

        run(main())


class TestRefusals:
    def refuse(self, group, match):
        coroutine = turns()
        with pytest.raises(RuntimeError, match=match):
            group.create_task(coroutine)
        coroutine.close()

    def test_before_it_is_entered(self, waits):
        self.refuse(waits.TaskGroup(), "has not been entered")

    def test_after_it_is_left(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                pass
            self.refuse(group, "is finished")
            words = "already been" if stock.GROUP_LOOKS_FIRST else "been already"
            with pytest.raises(RuntimeError, match=f"has {words} entered"):
                await group.__aenter__()

        run(main())

    def test_while_it_shuts_down(self, waits, run):
        async def late(group):
            try:
                await asyncio.sleep(1000)
            finally:
                self.refuse(group, "is shutting down")

        async def main():
            with pytest.raises(ExceptionGroup):
                async with waits.TaskGroup() as group:
                    group.create_task(late(group))
                    await turns()
                    group.create_task(fail())

        run(main())

    def test_without_a_task(self, waits, loop_factory):
        loop = loop_factory()
        errors = []

        def callback():
            try:
                waits.TaskGroup().__aenter__().send(None)
            except RuntimeError as exc:
                errors.append(str(exc))
            loop.stop()

        loop.call_soon(callback)
        loop.run_forever()
        loop.close()
        group = "<TaskGroup>" if stock.GROUP_LOOKS_FIRST else "<TaskGroup entered>"
        assert errors == [f"TaskGroup {group} cannot determine the parent task"]


class TestFailures:
    def test_of_a_task_while_the_block_runs(self, waits, run):
        async def main():
            with pytest.raises(ExceptionGroup) as caught:
                async with waits.TaskGroup() as group:
                    other = group.create_task(asyncio.sleep(1000))
                    group.create_task(fail())
                    await asyncio.sleep(1000)
            assert [type(exc) for exc in caught.value.exceptions] == [ValueError]
            assert other.cancelled()
            assert asyncio.current_task().cancelling() == 0

        run(main())

    def test_of_a_task_while_the_group_waits(self, waits, run):
        async def main():
            with pytest.raises(ExceptionGroup) as caught:
                async with waits.TaskGroup() as group:
                    other = group.create_task(asyncio.sleep(1000))
                    group.create_task(fail())
            assert [type(exc) for exc in caught.value.exceptions] == [ValueError]
            assert other.cancelled()

        run(main())

    def test_of_the_last_task_while_the_group_waits(self, waits, run):
        async def main():
            with pytest.raises(ExceptionGroup):
                async with waits.TaskGroup() as group:
                    group.create_task(fail())

        run(main())

    def test_of_the_block(self, waits, run):
        async def main():
            with pytest.raises(ExceptionGroup) as caught:
                async with waits.TaskGroup() as group:
                    task = group.create_task(asyncio.sleep(1000))
                    raise KeyError
            assert [type(exc) for exc in caught.value.exceptions] == [KeyError]
            assert task.cancelled()

        run(main())

    def test_cancelled_while_the_group_waits(self, waits, run):
        async def wait(group):
            async with group:
                group.create_task(asyncio.sleep(1000))
                group.create_task(turns(5))

        async def main():
            group = waits.TaskGroup()
            task = asyncio.ensure_future(wait(group))
            await turns(3)
            assert group._on_completed_fut is not None
            task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await task
            assert not group._tasks

        run(main())

    def test_cancelled_in_the_turn_in_which_the_last_task_ends(self, waits, run):
        async def wait(group, future):
            async with group:
                group.create_task(asyncio.wait_for(future, None))

        async def main():
            future = asyncio.get_running_loop().create_future()
            group = waits.TaskGroup()
            task = asyncio.ensure_future(wait(group, future))
            await turns(3)
            future.set_result(None)
            await turns(2)
            assert not group._tasks
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())

    def test_a_cancelled_task_is_no_failure(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(1000))
                await turns()
                task.cancel()

        run(main())


class TestHooks:
    @pytest.mark.parametrize("name", ["create_task", "_on_task_done", "__aenter__", "__aexit__"])
    def test_overridden_methods_are_called(self, waits, run, name):
        calls = []

        def method(self, *args, **kwargs):
            calls.append(name)
            return getattr(waits.TaskGroup, name)(self, *args, **kwargs)

        mine = type("Mine", (waits.TaskGroup,), {name: method})

        async def main():
            async with mine() as group:
                task = group.create_task(turns())
            assert task.result() == 1

        run(main())
        assert calls == [name]

    def test_create_task_of_the_loop_is_called(self, waits, loop_factory):
        loop = loop_factory()
        calls = []
        create_task = loop.create_task

        async def main():
            loop.create_task = lambda *args, **kwargs: calls.append(args) or create_task(*args, **kwargs)
            async with waits.TaskGroup() as group:
                group.create_task(turns())
            del loop.create_task

        loop.run_until_complete(main())
        loop.close()
        assert len(calls) == 1

    @pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks")
    def test_eager_tasks(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            async with waits.TaskGroup() as group:
                tasks = [group.create_task(turns(count)) for count in range(3)]
                assert tasks[0].done()
            assert [task.result() for task in tasks] == [0, 1, 2]

        run(main())

    def test_debug_mode(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_debug(True)
            async with waits.TaskGroup() as group:
                tasks = [group.create_task(turns(count)) for count in range(3)]
            assert [task.result() for task in tasks] == [0, 1, 2]

        run(main())

    @pytest.mark.skipif(not hasattr(asyncio, "future_add_to_awaited_by"), reason="no call graphs")
    def test_call_graph(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                task = group.create_task(turns(3))
                await turns()
                (entry,) = asyncio.capture_call_graph(task).awaited_by
                assert entry.future is asyncio.current_task()

        run(main())


class TestLifetime:
    def test_is_collected(self, waits, run):
        async def main():
            async with waits.TaskGroup() as group:
                group.create_task(turns())
            group.itself = group
            reference = weakref.ref(group)
            del group
            gc.collect()
            assert reference() is None

        run(main())

    def test_closed_while_it_waits(self, waits, run):
        async def main():
            group = waits.TaskGroup()
            await group.__aenter__()
            task = group.create_task(asyncio.sleep(0))
            leaving = group.__aexit__(None, None, None)
            leaving.send(None)
            leaving.close()
            with pytest.raises(RuntimeError, match="cannot reuse"):
                leaving.send(None)
            await task

        run(main())

    def test_private_attributes(self, waits):
        group = waits.TaskGroup()
        assert (group._loop, group._parent_task, group._base_error, group._on_completed_fut) == (None,) * 4
        assert (group._entered, group._exiting, group._aborting, group._parent_cancel_requested) == (False,) * 4
        assert (group._tasks, group._errors) == (set(), [])
        assert group._tasks is group._tasks
        assert group._errors is group._errors
        group._entered = group._aborting = True
        assert repr(group) == "<TaskGroup cancelling>"
