"""all_tasks(), current_task(), and asyncio's functions that change them."""

import asyncio
import contextvars
import gc
import sys
import threading
import weakref

import pytest
import stock


async def forever():
    await asyncio.get_running_loop().create_future()


class TestCurrentTask:
    def test_is_the_task_in_each_of_its_steps(self, loop, Task):
        async def main():
            seen = [asyncio.current_task()]
            await asyncio.sleep(0)
            seen.append(asyncio.current_task(loop))
            return seen

        task = Task(main(), loop=loop)
        assert loop.run_until_complete(task) == [task, task]
        assert asyncio.current_task(loop) is None

    def test_each_task_sees_itself(self, loop, run):
        async def own(i):
            await asyncio.sleep(0.001 * (i % 3))
            return asyncio.current_task().get_name()

        async def main():
            tasks = [loop.create_task(own(i), name=str(i)) for i in range(10)]
            return await asyncio.gather(*tasks)

        assert run(main()) == [str(i) for i in range(10)]

    def test_none_in_a_callback(self, loop, run):
        async def main():
            future = loop.create_future()
            loop.call_soon(lambda: future.set_result(asyncio.current_task()))
            return await future

        assert run(main()) is None

    def test_none_in_a_done_callback(self, loop, Task):
        seen = []
        task = Task(asyncio.sleep(0), loop=loop)
        task.add_done_callback(lambda _: seen.append(asyncio.current_task()))
        loop.run_until_complete(task)
        assert seen == [None]

    def test_needs_a_running_loop(self):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.current_task()

    def test_none_after_a_failing_step(self, loop, Task, turn):
        async def leave():
            raise KeyboardInterrupt

        task = Task(leave(), loop=loop)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert asyncio.current_task(loop) is None
        assert isinstance(task.exception(), KeyboardInterrupt)

    def test_none_while_a_failed_step_is_reported(self, loop, Task, Future, turn, reports):
        def handler(loop, context):
            seen.append((type(context["exception"]), asyncio.current_task(loop)))

        seen = []
        loop.set_exception_handler(handler)
        task = Task(asyncio.sleep(0), loop=loop)
        turn()
        Future.cancel(task)  # so its next step fails
        turn()
        assert seen == [(asyncio.InvalidStateError, None)]

    def test_none_when_the_loop_asks_for_the_time(self, loop, Task):
        def now():
            seen.append(asyncio.current_task(loop))
            return type(loop).time(loop)

        async def main():
            timer = loop.call_later(100, print)
            await asyncio.sleep(0)  # the first time is ours: call_later()
            loop.time = now
            await asyncio.sleep(0)
            loop.call_soon_threadsafe(future.set_result, 1)
            await future
            timer.cancel()

        seen = []
        future = loop.create_future()
        loop.run_until_complete(Task(main(), loop=loop))
        del loop.time
        assert set(seen) == {None}

    def test_loop_in_another_thread_has_its_own(self, loop, loop_factory, run):
        def other():
            async def main():
                return asyncio.current_task()

            loop = loop_factory()
            task = loop.create_task(main())
            same = loop.run_until_complete(task) is task
            loop.close()
            return same

        async def main():
            me = asyncio.current_task()
            assert await loop.run_in_executor(None, other)
            assert asyncio.current_task() is me

        run(main())


class TestAllTasks:
    def test_has_pending_tasks_only(self, loop, Task, turn):
        one, two = Task(forever(), loop=loop), Task(asyncio.sleep(0), loop=loop)
        assert asyncio.all_tasks(loop) == {one, two}
        turn(2)
        assert asyncio.all_tasks(loop) == {one}
        one.cancel()
        assert asyncio.all_tasks(loop) == {one}
        turn(2)
        assert asyncio.all_tasks(loop) == set()

    def test_has_the_current_task_and_its_children(self, loop, run):
        async def main():
            child = loop.create_task(forever())
            tasks = asyncio.all_tasks()
            child.cancel()
            assert tasks == asyncio.all_tasks()
            assert {asyncio.current_task(), child} <= tasks
            await asyncio.wait([child])
            assert child not in asyncio.all_tasks()

        run(main())

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has a list of its own, which is no set")
    @pytest.mark.parametrize("read", ["before the import", "before the loop", "between tasks", "after the tasks"])
    def test_data_of_the_set_is_one_set_with_all_tasks(self, script, kind, read):
        """A profiler keeps the address of that set: new tasks are added to it, and tasks that are freed leave it."""
        done = script(
            f"""
            import gc, types, weakref

            the_set = asyncio.tasks._scheduled_tasks if sys.version_info >= (3, 12) else asyncio.tasks._all_tasks
            read = {read!r}
            if read == "before the import":
                data = the_set.data
                sys.modules["ddtrace.profiling._asyncio"] = types.ModuleType("ddtrace.profiling._asyncio")
            from {kind} import Task, new_event_loop
            if read == "before the loop":
                data = the_set.data
            loop = new_event_loop()

            async def forever():
                await loop.create_future()

            one = loop.create_task(forever())
            if read == "between tasks":
                data = the_set.data
            two = Task(forever(), loop=loop)
            stock = asyncio.Task(forever(), loop=loop)
            if read == "after the tasks":
                data = the_set.data
            three = loop.create_task(forever())
            assert set(map(weakref.ref, (one, two, stock, three))) == data, data
            assert len(the_set) == len(list(the_set)) == 4
            assert asyncio.all_tasks(loop) == {{one, two, stock, three}}
            assert all(task in the_set for task in (one, two, stock, three))
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.wait([one, two, stock, three]))
            assert asyncio.all_tasks(loop) == set()
            del one, two, stock, three, task
            gc.collect()
            assert data == set(), data
            loop.close()
            print("done")
            """,
            names=False,
        )
        assert done.stdout == "done\n"

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has a list of its own, which is no set")
    def test_tasks_may_end_while_somebody_iterates_over_the_set(self, script):
        """Also those that were in it before its data was read."""
        done = script("""
            the_set = asyncio.tasks._scheduled_tasks if sys.version_info >= (3, 12) else asyncio.tasks._all_tasks
            loop = new_loop()
            tasks = [make(asyncio.sleep(0), loop=loop) for make in (Task, asyncio.Task) for _ in range(5)]
            registered = [asyncio.Task(asyncio.sleep(0), loop=loop) for _ in range(5)]
            for task in registered:
                asyncio._register_task(task)
            the_set.data
            loop.run_until_complete(asyncio.wait([*tasks, *registered]))
            steps = iter(the_set)
            next(steps)
            del task, tasks[:], registered[:]
            left = list(steps)
            assert len(left) <= 1 and len(the_set) <= 1, left
            loop.close()
            print("done")
        """)
        assert done.stdout == "done\n"

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has a list of its own, which is no set")
    def test_end_of_a_task_that_was_there_before_the_import_reads_no_data(self, script, kind):
        """Only what reads `data` makes each new task pay for the set."""
        done = script(
            f"""
            import gc

            the_set = asyncio.tasks._scheduled_tasks if sys.version_info >= (3, 12) else asyncio.tasks._all_tasks

            async def main():
                import {kind}

                return type(the_set)

            loop = asyncio.SelectorEventLoop()
            assert loop.run_until_complete(main()) is type(the_set)
            gc.collect()
            assert len(the_set) == 0
            loop.close()
            print("done")
            """,
            names=False,
        )
        assert done.stdout == "done\n"

    def test_needs_a_running_loop(self):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.all_tasks()

    def test_has_no_tasks_of_other_loops(self, loop, loop_factory, Task, turn):
        other = loop_factory()
        mine, theirs = Task(asyncio.sleep(0), loop=loop), Task(asyncio.sleep(0), loop=other)
        assert asyncio.all_tasks(loop) == {mine}
        assert asyncio.all_tasks(other) == {theirs}
        loop.run_until_complete(mine)
        other.run_until_complete(theirs)
        other.close()

    def test_has_stock_tasks_and_ours(self, loop, Task):
        ours, stock = Task(asyncio.sleep(0), loop=loop), asyncio.Task(asyncio.sleep(0), loop=loop)
        assert asyncio.all_tasks(loop) == {ours, stock}
        loop.run_until_complete(asyncio.wait([ours, stock]))

    def test_is_the_same_from_asyncio_tasks(self, loop, Task):
        task = Task(asyncio.sleep(0), loop=loop)
        assert asyncio.tasks.all_tasks(loop) == {task}
        loop.run_until_complete(task)

    def test_holds_tasks_weakly(self, loop, Task, turn, reports):
        async def wait_for_nobody():
            await lonely.pop()

        lonely = [loop.create_future()]
        task = Task(wait_for_nobody(), loop=loop)
        watch = weakref.ref(task)
        task._log_destroy_pending = False
        turn()
        del task
        gc.collect()
        assert watch() is None
        assert asyncio.all_tasks(loop) == set()

    def test_is_right_while_another_thread_makes_tasks(self, loop, loop_factory, run):
        stop = threading.Event()

        def churn():
            async def main():
                while not stop.is_set():
                    await asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))

            other = loop_factory()
            other.run_until_complete(main())
            other.close()

        async def main():
            churning = loop.run_in_executor(None, churn)
            for _ in range(100):
                tasks = asyncio.all_tasks()
                assert asyncio.current_task() in tasks
                assert all(task.get_loop() is loop for task in tasks)
                await asyncio.sleep(0)
            stop.set()
            await churning

        run(main())

    def test_has_1_000_tasks(self, loop, run):
        async def main():
            before = asyncio.all_tasks()
            tasks = {loop.create_task(forever()) for _ in range(1_000)}
            assert asyncio.all_tasks() - before == tasks
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert asyncio.all_tasks() == before

        run(main())

    def test_has_tasks_of_subclasses(self, loop, Task):
        class Special(Task):
            pass

        task = Special(asyncio.sleep(0), loop=loop)
        assert asyncio.all_tasks(loop) == {task}
        loop.run_until_complete(task)

    @pytest.mark.parametrize("deferred", [False, True], ids=["slots", "trashcan"])
    @pytest.mark.skipif(stock.FREE_THREADED, reason="all_tasks() itself gives such a task new life in 3.14.7t")
    def test_has_no_task_that_is_being_freed(self, script, deferred):
        """A task of a Python class is still registered when its slots are freed, and while its end is deferred."""
        done = script(f"""
            import gc

            class Special(Task):
                if not {deferred}:
                    __slots__ = ("probe",)

            class Probe:
                __slots__ = ()
                def __del__(self):
                    seen.append(asyncio.all_tasks(loop))

            class Forgetful:
                _asyncio_future_blocking = False
                def get_loop(self):
                    return loop
                def add_done_callback(self, callback, *, context=None):
                    pass
                def __await__(self):
                    self._asyncio_future_blocking = True
                    yield self

            async def wait():
                await Forgetful()

            seen = []
            loop = new_loop()
            loop.set_exception_handler(lambda loop, context: None)
            task = Special(wait(), loop=loop)
            if {deferred}:
                nest = [Probe(), task]
                for _ in range(49):
                    nest = [nest]
            else:
                task.probe = Probe()
                nest = None
            loop.call_soon(loop.stop)
            loop.run_forever()
            del task, nest
            gc.collect()
            print(seen)
            seen.clear()
            junk = [bytearray(300) for _ in range(1_000)]
            gc.collect()
            """)
        assert done.stdout == "[set()]\n"


class TestFunctions:
    """asyncio documents _enter_task() and the like for authors of task classes."""

    @pytest.fixture
    def task(self, loop, Task, turn):
        task = Task(forever(), loop=loop, name="me")
        turn()
        yield task
        task.cancel()
        turn(2)

    def test_enter_and_leave_change_the_current_task(self, loop, task, turn):
        seen = []

        def check():
            asyncio.tasks._enter_task(loop, task)
            seen.append(asyncio.current_task(loop))
            asyncio.tasks._leave_task(loop, task)
            seen.append(asyncio.current_task(loop))

        loop.call_soon(check)  # from 3.14 the loop must be the running one
        turn()
        assert seen == [task, None]

    def test_enter_inside_another_task_is_refused(self, loop, task):
        async def main():
            with pytest.raises(RuntimeError, match="^Cannot enter into task .* while another task .* is being exec"):
                asyncio.tasks._enter_task(loop, task)
            return asyncio.current_task()

        outer = loop.create_task(main())
        assert loop.run_until_complete(outer) is outer

    def test_leave_of_a_task_that_is_not_current_is_refused(self, loop, task):
        if sys.version_info >= (3, 14):
            message = "^Invalid attempt to leave task .* while task .* is entered"
        else:
            message = "^Leaving task .* does not match the current task"

        async def main():
            with pytest.raises(RuntimeError, match=message):
                asyncio.tasks._leave_task(loop, task)

        loop.run_until_complete(main())

    def test_step_while_another_task_is_entered_fails(self, loop, task, Task, turn, caplog):
        """If a task was not left, the step of any other task fails, as with stock tasks."""
        loop.set_exception_handler(None)
        coro = asyncio.sleep(0)
        loop.call_soon(asyncio.tasks._enter_task, loop, task)
        other = Task(coro, loop=loop)
        other._log_destroy_pending = False
        loop.call_soon(asyncio.tasks._leave_task, loop, task)
        turn()
        assert "RuntimeError: Cannot enter into task" in caplog.text
        assert not other.done()
        coro.close()

    def test_register_and_unregister_are_repeatable(self, loop, task):
        asyncio.tasks._unregister_task(task)
        asyncio.tasks._unregister_task(task)
        assert asyncio.all_tasks(loop) == set()
        asyncio.tasks._register_task(task)
        asyncio.tasks._register_task(task)
        assert asyncio.all_tasks(loop) == {task}

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="came with Python 3.12")
    def test_swap_returns_the_task_before(self, loop, task):
        async def main():
            me = asyncio.current_task()
            assert asyncio.tasks._swap_current_task(loop, task) is me
            assert asyncio.current_task() is task
            assert asyncio.tasks._swap_current_task(loop, me) is task
            assert asyncio.tasks._swap_current_task(loop, None) is me
            assert asyncio.current_task() is None
            asyncio.tasks._swap_current_task(loop, me)

        loop.run_until_complete(main())

    def test_registered_task_of_another_class_is_in_all_tasks(self, loop):
        """The class has no more than the registering functions need."""

        class Foreign:
            def get_loop(self):
                return loop

            def done(self):
                return False

        foreign = Foreign()
        asyncio.tasks._register_task(foreign)
        assert foreign in asyncio.all_tasks(loop)
        asyncio.tasks._unregister_task(foreign)
        assert foreign not in asyncio.all_tasks(loop)


def leave(loop):
    asyncio.tasks._leave_task(loop, asyncio.current_task())


def swap(loop):
    asyncio.tasks._swap_current_task(loop, None)


def forget(loop):
    del asyncio.tasks._current_tasks[loop]


MEDDLING = [leave]
if sys.version_info >= (3, 12):
    MEDDLING.append(swap)
if sys.version_info < (3, 14):
    MEDDLING.append(forget)


@pytest.fixture(params=MEDDLING, ids=lambda meddle: meddle.__name__)
def meddle(request):
    return request.param


class TestTaskThatIsNotCurrentAtTheEndOfItsStep:
    @staticmethod
    def check(reports):
        if sys.version_info >= (3, 14):
            message = "Invalid attempt to leave task"
        else:
            message = "Leaving task"
        found = reports()
        assert [type(report["exception"]) for report in found] == [RuntimeError]
        assert str(found[0]["exception"]).startswith(message)
        assert found[0]["message"].startswith("Exception in callback")

    @pytest.mark.parametrize("others", [0, 1, 3])
    def test_is_reported_and_the_task_goes_on(self, loop, meddle, others, reports):
        async def main():
            me = asyncio.current_task()
            await asyncio.sleep(0)
            meddle(loop)
            await asyncio.sleep(0.001)
            seen = [asyncio.current_task() is me]
            await asyncio.sleep(0)
            return [*seen, asyncio.current_task() is me]

        async def busy():
            for _ in range(5):
                await asyncio.sleep(0)

        tasks = [loop.create_task(busy()) for _ in range(others)]
        assert loop.run_until_complete(main()) == [True, True]
        assert all(task.done() for task in tasks)
        self.check(reports)
        assert asyncio.current_task(loop) is None

    def test_is_reported_if_the_same_task_is_next(self, loop, meddle, reports):
        async def main():
            me = asyncio.current_task()
            meddle(loop)
            await asyncio.sleep(0)
            return asyncio.current_task() is me

        assert loop.run_until_complete(main())
        self.check(reports)

    def test_is_reported_if_no_step_follows(self, loop, meddle, reports):
        async def main():
            meddle(loop)

        loop.run_until_complete(main())
        self.check(reports)

    def test_is_reported_if_another_task_is_current(self, loop, Task, turn, reports):
        async def main():
            asyncio.tasks._leave_task(loop, asyncio.current_task())
            asyncio.tasks._enter_task(loop, other)
            loop.call_soon(asyncio.tasks._leave_task, loop, other)
            loop.call_soon(other.cancel)
            await asyncio.sleep(0.001)

        other = Task(forever(), loop=loop, name="other")
        turn()
        loop.run_until_complete(main())
        (report,) = reports()
        assert "other" in str(report["exception"])
        turn()

    def test_is_reported_in_debug_mode(self, loop, meddle, reports):
        async def main():
            await asyncio.sleep(0)
            meddle(loop)
            await asyncio.sleep(0.001)

        loop.set_debug(True)
        loop.run_until_complete(main())
        self.check(reports)

    def test_is_reported_if_the_next_task_has_the_same_context(self, loop, reports):
        async def main():
            leave(loop)
            await asyncio.sleep(0.001)

        context = contextvars.copy_context()
        loop.create_task(main(), context=context)
        loop.create_task(asyncio.sleep(0), context=context)
        loop.run_until_complete(asyncio.sleep(0.01))
        self.check(reports)

    def test_handler_that_ends_the_run_loses_no_step(self, loop):
        def handler(loop, context):
            raise KeyboardInterrupt

        async def main():
            leave(loop)
            await asyncio.sleep(0)
            return "main"

        async def other():
            return "other"

        loop.set_exception_handler(handler)
        tasks = [loop.create_task(main()), loop.create_task(other())]
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert loop.run_until_complete(asyncio.gather(*tasks)) == ["main", "other"]

    def test_is_not_reported_if_it_is_current_again(self, loop, run):
        async def main():
            me = asyncio.current_task()
            asyncio.tasks._leave_task(loop, me)
            asyncio.tasks._enter_task(loop, me)
            await asyncio.sleep(0)
            if sys.version_info >= (3, 12):
                assert asyncio.tasks._swap_current_task(loop, None) is me
                asyncio.tasks._swap_current_task(loop, me)
            await asyncio.sleep(0)
            return asyncio.current_task() is me

        assert run(main())


class TestTurnsOfATask:
    """Synchronous code of a task may run turns of the loop, if it leaves the task meanwhile."""

    @staticmethod
    def wait(loop, coro):
        me, task = asyncio.current_task(), loop.create_task(coro)
        if me is not None:
            asyncio.tasks._leave_task(loop, me)
        while not task.done():
            loop._run_once()
        if me is not None:
            asyncio.tasks._enter_task(loop, me)
        return task.result()

    def test_task_is_the_current_one_again(self, loop, run):
        async def answer(n):
            before = asyncio.current_task()
            await asyncio.sleep(0)
            return n if asyncio.current_task() is before else None

        async def main():
            me = asyncio.current_task()
            seen = [self.wait(loop, answer(1)), asyncio.current_task() is me]
            await asyncio.sleep(0)
            return [*seen, asyncio.current_task() is me, self.wait(loop, answer(2))]

        assert loop.run_until_complete(main()) == [1, True, True, 2]

    def test_turns_can_be_nested(self, loop, run):
        async def nest(n):
            if n > 0:
                me = asyncio.current_task()
                self.wait(loop, nest(n - 1))
                assert asyncio.current_task() is me
            await asyncio.sleep(0)

        loop.run_until_complete(nest(5))

    def test_callback_may_turn_the_loop(self, loop, run):
        async def main():
            future = loop.create_future()
            loop.call_soon(lambda: future.set_result(self.wait(loop, asyncio.sleep(0.001, 7))))
            return await future

        assert loop.run_until_complete(main()) == 7

    def test_other_tasks_do_not_step_if_it_is_not_left(self, loop, reports):
        """Callbacks run, and the task is the current one in them. Other tasks do not step."""

        async def main():
            me = asyncio.current_task()
            seen = []
            loop.call_soon(lambda: seen.append(asyncio.current_task() is me))
            coro = asyncio.sleep(0)
            other = loop.create_task(coro)
            loop._run_once()
            seen.append(asyncio.current_task() is me)
            assert not other.done()
            other._log_destroy_pending = False
            coro.close()
            async with asyncio.timeout(10):
                await asyncio.sleep(0)
            return seen

        assert loop.run_until_complete(main()) == [True, True]
        (report,) = reports()
        assert str(report["exception"]).startswith("Cannot enter into task")

    def test_step_of_another_task_can_be_run_by_hand(self, loop, Task):
        """A task leaves itself, and runs the handle of another task's step."""

        async def child():
            return asyncio.current_task()

        async def main():
            me = asyncio.current_task()
            other = Task(child(), loop=loop)
            handle = loop._ready[-1]
            asyncio.tasks._leave_task(loop, me)
            handle._run()
            handle.cancel()
            asyncio.tasks._enter_task(loop, me)
            await asyncio.sleep(0)
            return other.result() is other and asyncio.current_task() is me

        loop.set_debug(True)  # so that the step is a handle here, too
        assert loop.run_until_complete(main())
