"""Task: making one, its names, context, stack, repr and reports."""

import asyncio
import contextvars
import copy
import io
import pickle
import sys
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

SINCE_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="came with Python 3.12")


async def forever():
    await asyncio.get_running_loop().create_future()


async def answer(value=42):
    return value


@pytest.fixture
def pending(loop, Task, turn):
    """A task that waits for ever, cancelled after the test."""
    task = Task(forever(), loop=loop)
    turn()
    yield task
    task.cancel()
    turn(2)
    assert task.done()


def test_task_is_a_task_and_a_future_to_asyncio(pending):
    assert isinstance(pending, asyncio.Task)
    assert isinstance(pending, asyncio.Future)
    assert asyncio.isfuture(pending)
    assert asyncio.ensure_future(pending) is pending


def test_task_is_one_of_the_futures_of_its_own_kind(pending, Task, Future):
    assert isinstance(pending, Future)
    assert issubclass(Task, Future)
    assert not issubclass(Future, Task)

    class Derived(Task):
        pass

    assert issubclass(Derived, Future)
    assert not Future.done(pending)
    assert Future.cancel(pending, "by way of Future")


def test_create_task_makes_the_loops_own_kind(loop, Task):
    task = loop.create_task(answer())
    assert type(task) is Task
    assert loop.run_until_complete(task) == 42


def test_task_does_not_start_before_the_next_turn(loop, Task, turn):
    seen = []

    async def main():
        seen.append("started")

    task = Task(main(), loop=loop)
    assert seen == []
    turn()
    assert seen == ["started"]
    assert task.done()


class TestConstructor:
    @pytest.mark.parametrize("bad", [42, None, "coro", answer, object()])
    def test_takes_coroutines_only(self, Task, loop, bad):
        with pytest.raises(TypeError, match="^a coroutine was expected, got "):
            Task(bad, loop=loop)
        with pytest.raises(TypeError, match="^a coroutine was expected, got "):
            loop.create_task(bad)

    def test_refuses_a_future(self, loop, Task, future):
        with pytest.raises(TypeError, match="^a coroutine was expected, got <Future pending"):
            Task(future, loop=loop)

    def test_refuses_missing_and_unknown_arguments(self, loop, Task):
        with pytest.raises(TypeError):
            Task()
        coro = answer()
        with pytest.raises(TypeError):
            Task(coro, loop=loop, nme="x")
        with pytest.raises(TypeError):
            Task(coro, loop)
        coro.close()

    def test_generator_is_a_coroutine_on_311_only(self, loop, Task):
        @types.coroutine
        def old_style():
            yield
            return 7

        generator = old_style()
        if sys.version_info < (3, 12):
            assert loop.run_until_complete(Task(generator, loop=loop)) == 7
        else:
            with pytest.raises(TypeError, match="^a coroutine was expected, got <generator object"):
                Task(generator, loop=loop)

    def test_takes_a_collections_abc_coroutine(self, loop, Task):
        class Wrapped(types.SimpleNamespace):
            def send(self, value):
                return self.coro.send(value)

            def throw(self, *args):
                return self.coro.throw(*args)

            def close(self):
                return self.coro.close()

            def __await__(self):
                return self.coro.__await__()

        async def main():
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            loop.call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await forever()
            return 7

        task = Task(Wrapped(coro=main()), loop=loop)
        assert loop.run_until_complete(task) == 7

    def test_default_loop_is_the_running_one(self, loop, Task):
        async def main():
            task = Task(answer())
            assert task.get_loop() is loop
            return await task

        assert loop.run_until_complete(main()) == 42

    def test_raises_if_there_is_no_loop(self, Task):
        asyncio.set_event_loop(None)
        coro = answer()
        with pytest.raises(RuntimeError, match="There is no current event loop"):
            Task(coro)
        coro.close()

    @pytest.mark.skipif(sys.version_info >= (3, 15), reason="refused since 3.15: the test below")
    def test_init_again_runs_the_new_coroutine(self, loop, Task, turn):
        task = Task(answer("first"), loop=loop)
        turn()
        task.__init__(answer("second"), loop=loop)
        assert not task.done()
        turn()
        assert task.result() == "second"

    @pytest.mark.skipif(sys.version_info < (3, 15), reason="taken until 3.15: the test above")
    def test_init_again_is_refused(self, loop, Task, turn):
        task = Task(answer("first"), loop=loop)
        second = answer("second")
        with pytest.raises(RuntimeError, match="Task object is already initialized$"):
            task.__init__(second, loop=loop)
        second.close()
        turn()
        assert task.result() == "first"

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copies_are_refused(self, pending, copier):
        with pytest.raises(TypeError, match="pickle"):
            copier(pending)


class TestName:
    def test_default_names_are_numbered(self, loop, Task):
        tasks = [Task(answer(), loop=loop) for _ in range(3)]
        numbers = [int(task.get_name().removeprefix("Task-")) for task in tasks]
        assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
        loop.run_until_complete(asyncio.wait(tasks))

    def test_import_takes_no_number(self, script):
        """The tasks that the import makes are not counted."""
        done = script("""
            import asyncloop

            async def main():
                print(asyncio.current_task().get_name())

            new_loop().run_until_complete(main())
            """)
        assert done.stdout == "Task-1\n"

    def test_stock_tasks_and_ours_share_a_counter(self, loop, Task, run):
        async def main():
            kinds = [Task, asyncio.Task, asyncio.Task, Task, Task, asyncio.Task]
            tasks = [kind(answer(), loop=loop) for kind in kinds] + [loop.create_task(answer())]
            await asyncio.wait(tasks)
            return [int(task.get_name().removeprefix("Task-")) for task in reversed(tasks)][::-1]

        numbers = run(main())
        assert numbers == list(range(numbers[0], numbers[0] + 7))

    def test_import_does_not_reset_the_counter(self, kind, script):
        done = script(
            f"""
            async def name():
                return asyncio.current_task().get_name()

            with asyncio.Runner() as runner:
                names = [runner.run(name()), runner.run(name())]
                from {kind} import new_event_loop
                names.append(runner.run(name()))
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                names.append(runner.run(name()))
            print(*names)  # to close a runner takes two tasks
            """,
            names=False,
        )
        assert done.stdout == "Task-1 Task-2 Task-3 Task-6\n"

    @pytest.mark.parametrize("name", ["given", "", 42, (1,), b"bytes"])
    def test_given_name_becomes_a_string(self, loop, Task, name):
        task = Task(answer(), loop=loop, name=name)
        assert task.get_name() == str(name)
        loop.run_until_complete(task)

    def test_none_means_the_default(self, loop, Task):
        task = Task(answer(), loop=loop, name=None)
        assert task.get_name().startswith("Task-")
        loop.run_until_complete(task)

    @pytest.mark.parametrize("name", ["later", 42, None])
    def test_set_name_changes_the_name(self, pending, name):
        assert pending.set_name(name) is None
        assert pending.get_name() == str(name)

    def test_create_task_passes_the_name(self, loop):
        task = loop.create_task(answer(), name="by name")
        assert task.get_name() == "by name"
        loop.run_until_complete(task)

    def test_failing_str_leaves_the_name(self, pending):
        class Odd:
            def __str__(self):
                raise ZeroDivisionError

        before = pending.get_name()
        with pytest.raises(ZeroDivisionError):
            pending.set_name(Odd())
        assert pending.get_name() == before

    def test_subclass_of_str_is_a_name(self, loop, Task):
        class Name(str):
            pass

        task = Task(answer(), loop=loop, name=Name("x"))
        assert task.get_name() == "x"
        loop.run_until_complete(task)


class TestCoroutine:
    def test_get_coro_returns_the_coroutine(self, loop, Task):
        coro = answer()
        task = Task(coro, loop=loop)
        assert task.get_coro() is coro
        loop.run_until_complete(task)

    def test_finished_task_keeps_no_frame(self, loop, Task):
        class Local:
            pass

        watch = None

        async def main():
            nonlocal watch
            local = Local()
            watch = weakref.ref(local)
            await asyncio.sleep(0)

        task = Task(main(), loop=loop)
        loop.run_until_complete(task)
        assert watch() is None


class TestContext:
    @pytest.fixture
    def var(self):
        return contextvars.ContextVar("var", default="outside")

    def test_is_a_copy_of_the_context_of_making_it(self, loop, Task, var):
        async def read():
            await asyncio.sleep(0)
            value = var.get()
            var.set("changed inside")
            return value

        def make():
            var.set("set before")
            task = Task(read(), loop=loop)
            var.set("set after")
            return task

        context = contextvars.copy_context()
        task = context.run(make)
        assert loop.run_until_complete(task) == "set before"
        assert context[var] == "set after"
        if sys.version_info >= (3, 12):
            assert task.get_context()[var] == "changed inside"

    def test_given_context_is_not_copied(self, loop, Task, var):
        async def change():
            var.set("by the task")
            await asyncio.sleep(0)
            return var.get()

        context = contextvars.copy_context()
        task = Task(change(), loop=loop, context=context)
        if sys.version_info >= (3, 12):
            assert task.get_context() is context
        assert loop.run_until_complete(task) == "by the task"
        assert context[var] == "by the task"
        assert var.get() == "outside"

    def test_create_task_passes_the_context(self, loop, var):
        context = contextvars.copy_context()
        context.run(var.set, "given")

        async def read():
            return var.get()

        assert loop.run_until_complete(loop.create_task(read(), context=context)) == "given"

    def test_tasks_do_not_see_each_others_changes(self, loop, run, var):
        async def change(value):
            var.set(value)
            await asyncio.sleep(0)
            return var.get()

        async def main():
            var.set("main")
            assert await asyncio.gather(*map(change, range(5))) == list(range(5))
            return var.get()

        assert run(main()) == "main"

    def test_children_inherit_the_variables(self, loop, run, var):
        async def child():
            return var.get()

        async def main():
            var.set("parent")
            return await loop.create_task(child())

        assert run(main()) == "parent"

    def test_each_task_reads_its_own_values(self, run, var):
        async def read(i):
            var.set(i)
            for _ in range(5):
                assert (var.get(), var.get()) == (i, i)
                await asyncio.sleep(0)
                assert contextvars.copy_context()[var] == i
            return contextvars.copy_context().run(var.get)

        async def main():
            assert await asyncio.gather(*map(read, range(5))) == list(range(5))
            return var.get()

        assert run(main()) == "outside"

    def test_tasks_can_share_a_context(self, loop, Task, var):
        async def write():
            for i in range(3):
                var.set(i)
                await asyncio.sleep(0)

        async def read():
            return [var.get() + 0 * await asyncio.sleep(0, 1) for _ in range(3)]

        context = contextvars.copy_context()
        Task(write(), loop=loop, context=context)
        assert loop.run_until_complete(Task(read(), loop=loop, context=context)) == [0, 1, 2]

    def test_step_in_an_entered_context_is_reported(self, loop, Task, turn, caplog):
        loop.set_exception_handler(None)
        context = contextvars.copy_context()
        coro = answer()
        task = Task(coro, loop=loop, context=context)
        context.run(turn)
        assert "RuntimeError: cannot enter context" in caplog.text
        assert not task.done()
        coro.close()
        task._log_destroy_pending = False


class TestStack:
    def test_pending_task_has_the_frame_of_its_coroutine(self, pending):
        (frame,) = pending.get_stack()
        assert frame.f_code is forever.__code__
        text = io.StringIO()
        assert pending.print_stack(file=text) is None
        assert text.getvalue().startswith(f"Stack for {pending!r} (most recent call last):\n")
        assert "in forever" in text.getvalue()

    def test_task_that_has_not_started_has_a_frame(self, loop, Task):
        task = Task(answer(), loop=loop)
        assert [frame.f_code for frame in task.get_stack()] == [answer.__code__]
        loop.run_until_complete(task)

    def test_done_task_has_no_frame(self, loop, Task):
        task = Task(answer(), loop=loop)
        loop.run_until_complete(task)
        assert task.get_stack() == []
        text = io.StringIO()
        task.print_stack(file=text)
        assert text.getvalue() == f"No stack for {task!r}\n"

    def test_failed_task_has_its_traceback(self, loop, Task):
        async def inner():
            raise ValueError("x")

        async def outer():
            await inner()

        task = Task(outer(), loop=loop)
        with pytest.raises(ValueError):
            loop.run_until_complete(task)
        names = [frame.f_code.co_name for frame in task.get_stack()]
        assert names[-2:] == ["outer", "inner"]
        assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == names[:1]
        text = io.StringIO()
        task.print_stack(limit=None, file=text)
        assert text.getvalue().startswith(f"Traceback for {task!r} (most recent call last):\n")
        assert text.getvalue().endswith("ValueError: x\n")

    def test_running_task_has_its_frame(self, loop, Task):
        async def main():
            return task.get_stack()[-1].f_code

        task = Task(main(), loop=loop)
        assert loop.run_until_complete(task) is main.__code__


class TestRepr:
    @pytest.fixture(autouse=True)
    def not_debugging(self, loop):
        loop.set_debug(False)

    def test_shows_name_coroutine_and_awaited_future(self, loop, Task, turn, future):
        async def wait():
            await future

        line = wait.__code__.co_firstlineno
        where = f"{wait.__qualname__}() running at {__file__}:"
        task = Task(wait(), loop=loop, name="me")
        assert repr(task) == f"<Task pending name='me' coro=<{where}{line}>>"
        turn()
        waiting = repr(task)
        assert waiting.startswith(f"<Task pending name='me' coro=<{where}{line + 1}> wait_for=<Future pending cb=[")
        task.cancel()
        turn(2)
        done = f"{wait.__qualname__}() done, defined at {__file__}:{line}"
        assert repr(task) == f"<Task cancelled name='me' coro=<{done}>>"

    def test_shows_that_it_is_being_cancelled(self, loop, Task, turn):
        task = Task(answer(), loop=loop, name="me")
        task.cancel()
        assert repr(task).startswith("<Task cancelling name='me' coro=<answer() running at ")
        turn()

    def test_shows_the_result(self, loop, Task):
        line = answer.__code__.co_firstlineno
        task = Task(answer(7), loop=loop, name="me")
        loop.run_until_complete(task)
        assert repr(task) == f"<Task finished name='me' coro=<answer() done, defined at {__file__}:{line}> result=7>"

    def test_shows_the_exception(self, loop, Task):
        async def fail():
            raise ValueError("x")

        task = Task(fail(), loop=loop, name="me")
        with pytest.raises(ValueError):
            loop.run_until_complete(task)
        assert repr(task).startswith("<Task finished name='me' coro=<")
        assert repr(task).endswith(" exception=ValueError('x')>")

    def test_shows_the_callbacks(self, pending):
        pending.add_done_callback(answer)
        assert f"cb=[answer() at {__file__}:{answer.__code__.co_firstlineno}]" in repr(pending)
        pending.remove_done_callback(answer)

    def test_shows_the_name_of_a_subclass(self, loop, Task):
        class Special(Task):
            pass

        task = Special(answer(), loop=loop)
        assert repr(task).startswith("<Special pending ")
        loop.run_until_complete(task)

    def test_debug_mode_says_where_it_was_made(self, loop, Task):
        loop.set_debug(True)
        line = sys._getframe().f_lineno + 1
        task = Task(answer(), loop=loop)
        assert repr(task).endswith(f" created at {__file__}:{line}>")
        assert task._source_traceback[-1].lineno == line
        loop.run_until_complete(task)


class TestReports:
    def test_exception_that_was_never_retrieved_is_reported(self, loop, Task, turn, reports):
        async def fail():
            raise ValueError("x")

        task = Task(fail(), loop=loop)
        turn()
        del task
        (report,) = reports()
        assert report["message"] == "Task exception was never retrieved"
        assert str(report["exception"]) == "x"
        assert isinstance(report["future"], Task)
        report["exception"].__traceback__ = None

    def test_pending_task_that_is_destroyed_is_reported(self, loop, Task, turn, reports):
        async def wait_for_nobody():
            await lonely.pop()

        lonely = [loop.create_future()]
        task = Task(wait_for_nobody(), loop=loop, name="lost")
        turn()
        del task
        (report,) = reports()
        assert report.keys() - {"source_traceback"} == {"message", "task"}
        assert report["message"] == "Task was destroyed but it is pending!"
        assert report["task"].get_name() == "lost"

    def test_debug_mode_adds_the_traceback(self, loop, Task, turn, reports):
        async def wait_for_nobody():
            await lonely.pop()

        loop.set_debug(True)
        lonely = [loop.create_future()]
        task = Task(wait_for_nobody(), loop=loop)
        turn()
        del task
        (report,) = reports()
        assert report["source_traceback"][-1].filename == __file__

    def test_log_destroy_pending_can_be_switched_off(self, loop, Task, turn, reports):
        async def wait_for_nobody():
            await lonely.pop()

        lonely = [loop.create_future()]
        task = Task(wait_for_nobody(), loop=loop)
        assert task._log_destroy_pending is True
        task._log_destroy_pending = False
        assert task._log_destroy_pending is False
        turn()
        del task
        assert reports() == []

    def test_finished_task_is_freed_without_the_collector(self, loop, Task, turn):
        task = Task(answer(), loop=loop)
        watch = weakref.ref(task)
        turn()
        del task
        assert watch() is None


@pytest.mark.parametrize(
    "name, value", [("set_result", 1), ("set_exception", ValueError())], ids=["set_result", "set_exception"]
)
def test_set_result_and_set_exception_are_refused(pending, name, value):
    with pytest.raises(RuntimeError, match=f"^Task does not support {name} operation$"):
        getattr(pending, name)(value)
    assert not pending.done()


class TestPrivateNames:
    """Private attributes that libraries read."""

    def test_show_coroutine_awaited_future_and_state(self, loop, Task, turn, future):
        async def wait():
            await future

        coro = wait()
        task = Task(coro, loop=loop)
        assert task._coro is coro
        assert task._fut_waiter is None
        turn()
        assert task._fut_waiter is future
        assert task._must_cancel is False
        assert task._state == "PENDING"
        future.set_result(1)
        turn()
        assert task._fut_waiter is None
        assert task._state == "FINISHED"

    def test_must_cancel_is_true_until_the_next_step(self, loop, Task, turn):
        task = Task(answer(), loop=loop)
        task.cancel("why")
        assert task._must_cancel is True
        assert task._cancel_message == "why"
        turn()
        assert task._must_cancel is False
        assert task._make_cancelled_error().args == ("why",) or task.cancelled()

    @pytest.mark.parametrize("name", ["_coro", "_fut_waiter", "_must_cancel", "_state", "_loop"])
    def test_cannot_be_set(self, pending, name):
        with pytest.raises(AttributeError):
            setattr(pending, name, None)


class TestObject:
    def test_can_be_subscripted(self, Task):
        assert Task[int].__args__ == (int,)

    def test_takes_attributes_and_weak_references(self, pending):
        pending.note = "mine"
        assert pending.note == "mine"
        assert weakref.ref(pending)() is pending

    def test_hash_and_equality_are_identity(self, loop, Task):
        one, two = Task(answer(), loop=loop), Task(answer(), loop=loop)
        assert one == one
        assert one != two
        assert len({one, two, one}) == 2
        loop.run_until_complete(asyncio.wait([one, two]))

    def test_subclass_may_have_its_own_init(self, loop, Task):
        class Named(Task):
            def __init__(self, coro, *, loop, tag):
                super().__init__(coro, loop=loop, name=f"tag-{tag}")
                self.tag = tag

        task = Named(answer(), loop=loop, tag=5)
        assert (task.tag, task.get_name()) == (5, "tag-5")
        assert loop.run_until_complete(task) == 42

    def test_overridden_cancel_is_called(self, loop, Task, turn):
        class Stubborn(Task):
            def cancel(self, msg=None):
                return False

        async def parent():
            await child

        child = Stubborn(forever(), loop=loop)
        task = Task(parent(), loop=loop)
        turn()
        assert task.cancel() is True
        turn()
        assert not task.done()  # the child said no, so the parent has to wait for its next step
        assert task._must_cancel
        Task.cancel(child)
        turn(2)
        assert task.cancelled()

    def test_overridden_add_done_callback_is_called(self, loop, Task, run):
        calls = []

        class Watched(Task):
            def add_done_callback(self, callback, *, context=None):
                calls.append("add")
                super().add_done_callback(callback, context=context)

        async def main():
            return await Watched(answer(), loop=loop)

        assert run(main()) == 42
        assert calls == ["add"]


@SINCE_312
class TestEager:
    def test_runs_at_once_to_its_end(self, loop, Task):
        async def main():
            task = Task(answer(), loop=loop, eager_start=True)
            assert task.done()
            assert task.result() == 42
            if sys.version_info >= (3, 13):  # stock 3.12.1 crashes
                assert task.get_coro() is None
            assert asyncio.current_task().get_name() == "main"
            return await task

        assert loop.run_until_complete(loop.create_task(main(), name="main")) == 42

    def test_goes_on_in_the_loop_after_its_first_await(self, loop, Task, run):
        seen = []

        async def child():
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
            return 7

        async def main():
            task = Task(child(), loop=loop, eager_start=True)
            assert not task.done()
            assert seen == [task]
            assert task in asyncio.all_tasks()
            assert await task == 7
            assert seen == [task, task]

        run(main())

    @pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError("x")])
    def test_exception_of_the_first_step_is_the_outcome(self, loop, Task, run, error):
        async def fail():
            raise error

        async def main():
            task = Task(fail(), loop=loop, eager_start=True)
            assert task.done()
            with pytest.raises(type(error)):
                await task

        run(main())

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_exit_leaves_the_constructor(self, loop, Task, run, reports, error):
        async def leave():
            raise error

        async def main():
            with pytest.raises(error):
                Task(leave(), loop=loop, eager_start=True)

        run(main())
        assert [report["message"] for report in reports()] == ["Task exception was never retrieved"]

    def test_runs_in_its_own_context(self, loop, Task, run):
        var = contextvars.ContextVar("var", default=0)

        async def change():
            var.set(1)

        async def main():
            Task(change(), loop=loop, eager_start=True)
            return var.get()

        assert run(main()) == 0

    def test_can_be_nested(self, loop, Task, run):
        async def nest(depth):
            if depth:
                task = Task(nest(depth - 1), loop=loop, eager_start=True)
                assert task.done()
                return 1 + task.result()
            return 0

        assert run(nest(20)) == 20

    def test_waits_for_a_loop_that_does_not_run_yet(self, loop, Task):
        task = Task(answer(), loop=loop, eager_start=True)
        assert not task.done()
        assert loop.run_until_complete(task) == 42

    def test_waits_for_a_loop_that_does_not_run_yet_in_another_thread(self, loop, Task):
        with ThreadPoolExecutor() as pool:
            task = pool.submit(Task, answer(), loop=loop, eager_start=True).result()
        assert not task.done()
        assert loop.run_until_complete(task) == 42

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="it starts in the wrong thread there")
    @pytest.mark.parametrize("there", ["no loop", "another loop"])
    def test_is_refused_in_a_thread_that_does_not_run_the_loop(self, loop, loop_factory, Task, run, there, reports):
        started = []

        async def child():
            started.append(1)

        def make():
            coro = child()
            with pytest.raises(RuntimeError, match="is not the running loop"):
                Task(coro, loop=loop, eager_start=True)
            coro.close()

        async def make_within():
            make()

        def make_beside():
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(make_within())

        async def main():
            await loop.run_in_executor(None, make if there == "no loop" else make_beside)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        loop.run_until_complete(main())
        assert started == []
        assert [report["message"] for report in reports()] == ["Task was destroyed but it is pending!"]

    def test_asks_the_loop_whether_it_runs(self, loop, Task, run):
        async def main():
            loop.is_running = lambda: False
            task = Task(answer(), loop=loop, eager_start=True)
            del loop.is_running
            assert not task.done()
            return await task

        assert run(main()) == 42

    def test_factory_starts_tasks_eagerly(self, loop, Task, run):
        async def main():
            loop.set_task_factory(asyncio.eager_task_factory)
            task = loop.create_task(answer(1), name="eager")
            assert task.done()
            assert task.get_name() == "eager"
            waiting = loop.create_task(asyncio.sleep(0.001, 2))
            assert not waiting.done()
            async with asyncio.TaskGroup() as group:
                third = group.create_task(answer(3))
            result = [await task, await waiting, await third, await asyncio.gather(answer(4), answer(5))]
            loop.set_task_factory(None)
            return result

        assert run(main()) == [1, 2, 3, [4, 5]]

    def test_factory_for_a_subclass_makes_its_tasks(self, loop, Task, run):
        class Special(Task):
            pass

        async def main():
            loop.set_task_factory(asyncio.create_eager_task_factory(Special))
            task = loop.create_task(answer())
            loop.set_task_factory(None)
            assert type(task) is Special
            assert task.done()
            return task.result()

        assert run(main()) == 42

    def test_can_be_cancelled_after_the_eager_step(self, loop, Task, run):
        async def main():
            task = Task(forever(), loop=loop, eager_start=True)
            assert task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="^why$"):
                await task
            assert task.cancelled()

        run(main())
