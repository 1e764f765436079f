"""One step of a task: the coroutine returns, raises or yields."""

import asyncio
import contextvars
import gc
import logging
import sys
import types
import weakref

import pytest


@types.coroutine
def yield_(value):
    """Yields a value to the task. Only an awaitable can do that."""
    return (yield value)


@pytest.fixture
def finish(loop, Task):
    """Runs a coroutine as a task and returns the finished task."""

    def finish(coro):
        task = Task(coro, loop=loop)
        loop.run_until_complete(asyncio.wait([task], timeout=10))
        assert task.done()
        return task

    return finish


@pytest.mark.parametrize("value", [None, 1, (1, 2), (), StopIteration(1), ValueError("v"), asyncio.CancelledError()])
@pytest.mark.parametrize("suspends", [False, True])
def test_returned_value_is_the_result(finish, value, suspends):
    async def main():
        if suspends:
            await asyncio.sleep(0)
        return value

    assert finish(main()).result() is value


@pytest.mark.parametrize(
    "error", [ValueError("x"), TimeoutError(), GeneratorExit(), BaseException(), StopAsyncIteration()]
)
@pytest.mark.parametrize("suspends", [False, True])
def test_raised_exception_is_the_exception(finish, error, suspends):
    async def main():
        if suspends:
            await asyncio.sleep(0)
        raise error

    task = finish(main())
    assert task.exception() is error
    assert not task.cancelled()


def test_stop_iteration_of_the_coroutine_becomes_a_runtime_error(finish):
    async def main():
        raise StopIteration(1)

    task = finish(main())
    with pytest.raises(RuntimeError, match="^coroutine raised StopIteration$"):
        task.result()


@pytest.mark.parametrize("message", [(), ("why",)])
def test_raised_cancelled_error_cancels_the_task(finish, message):
    async def main():
        raise asyncio.CancelledError(*message)

    task = finish(main())
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError) as raised:
        task.result()
    assert raised.value.args == message


@pytest.mark.parametrize("error", [KeyboardInterrupt("x"), SystemExit(3)])
def test_exit_is_the_exception_and_leaves_the_loop(loop, Task, error, turn):
    seen = []

    async def leave():
        raise error

    task = Task(leave(), loop=loop)
    loop.call_soon(seen.append, "the rest")
    with pytest.raises(type(error)) as raised:
        loop.run_forever()
    assert raised.value is error
    assert task.done()
    assert task.exception() is error
    turn()
    assert seen == ["the rest"]


class TestYielded:
    def test_none_means_next_turn(self, loop, Task, turn):
        seen = []

        async def main():
            for i in range(3):
                seen.append(i)
                await yield_(None)

        task = Task(main(), loop=loop)
        for i in range(1, 4):
            turn()
            assert seen == list(range(i))
        turn()
        assert task.done()

    @pytest.mark.parametrize("value", [42, "text", (1,), object(), [], True], ids=lambda value: type(value).__name__)
    def test_object_that_is_no_future_is_refused(self, finish, value):
        async def main():
            await yield_(value)

        coro = main()
        task = finish(coro)
        with pytest.raises(RuntimeError) as raised:
            task.result()
        assert str(raised.value).startswith("Task got bad yield: ")
        assert str(raised.value) == f"Task got bad yield: {value!r}"

    def test_coroutine_may_catch_the_refusal(self, finish):
        async def main():
            with pytest.raises(RuntimeError, match="bad yield"):
                await yield_(42)
            await asyncio.sleep(0)
            return "went on"

        assert finish(main()).result() == "went on"

    def test_generator_is_refused(self, finish):
        def generator():
            yield

        odd = generator()

        async def main():
            await yield_(odd)

        with pytest.raises(RuntimeError, match="^yield was used instead of yield from for generator in task <Task "):
            finish(main()).result()

    def test_future_without_await_is_refused(self, finish, future):
        async def main():
            await yield_(future)

        task = finish(main())
        with pytest.raises(RuntimeError, match="^yield was used instead of yield from in task <Task ") as raised:
            task.result()
        assert str(raised.value).endswith(f"> with {future!r}")

    def test_future_of_another_loop_is_refused(self, finish, loop_factory, Future):
        other = loop_factory()
        foreign = Future(loop=other)

        async def main():
            await foreign

        task = finish(main())
        with pytest.raises(RuntimeError) as raised:
            task.result()
        assert str(raised.value).startswith("Task <Task pending name=")
        assert str(raised.value).endswith(f"> got Future {foreign!r} attached to a different loop")
        other.close()

    def test_done_future_of_another_loop_gives_its_result(self, finish, loop_factory, Future):
        other = loop_factory()
        foreign = Future(loop=other)
        foreign.set_result(3)

        async def main():
            return await foreign

        assert finish(main()).result() == 3
        other.close()

    def test_task_cannot_await_itself(self, loop, Task):
        async def main():
            await task

        task = Task(main(), loop=loop)
        loop.run_until_complete(asyncio.wait([task], timeout=10))
        with pytest.raises(RuntimeError) as raised:
            task.result()
        assert str(raised.value).startswith("Task cannot await on itself: <Task pending name=")

    def test_object_that_acts_as_a_future_can_be_awaited(self, finish, loop):
        """A task takes any object for a future if its _asyncio_future_blocking is not None."""

        class Duck:
            _asyncio_future_blocking = False

            def __init__(self):
                self.callbacks = []
                self.is_done = False

            def get_loop(self):
                return loop

            def add_done_callback(self, callback, *, context=None):
                self.callbacks.append((callback, context))

            def set_done(self):
                self.is_done = True
                for callback, context in self.callbacks:
                    loop.call_soon(callback, self, context=context)

            def result(self):
                return None

            def __await__(self):
                if not self.is_done:
                    self._asyncio_future_blocking = True
                    yield self
                return "quack"

        async def main():
            duck = Duck()
            loop.call_soon(duck.set_done)
            return await duck

        assert finish(main()).result() == "quack"

    def test_failing_blocking_flag_is_reported(self, fails):
        class Odd:
            @property
            def _asyncio_future_blocking(self):
                raise ZeroDivisionError

        fails(yield_(Odd()))

    def test_failing_add_done_callback_is_reported(self, fails, Future, loop):
        class Odd(Future):
            def add_done_callback(self, callback, *, context=None):
                raise ZeroDivisionError

        async def main():
            await Odd(loop=loop)

        fails(main())

    @pytest.fixture
    def fails(self, loop, Task, turn, reports):
        """Runs a step that fails outside of the coroutine: the loop reports it, and the task does not go on."""

        async def wrap(awaitable):
            await awaitable

        def fails(awaitable):
            coro = wrap(awaitable)
            task = Task(coro, loop=loop)
            turn()
            assert [type(report["exception"]) for report in reports()] == [ZeroDivisionError]
            assert not task.done()
            task._log_destroy_pending = False
            coro.close()

        return fails


def test_awaitable_object_can_be_awaited(finish):
    class Awaitable:
        def __await__(self):
            yield
            yield from asyncio.sleep(0).__await__()
            return (yield from asyncio.sleep(0.001, "done").__await__())

    async def main():
        return await Awaitable()

    assert finish(main()).result() == "done"


def test_async_generators_and_context_managers_work(finish):
    class Manager:
        async def __aenter__(self):
            await asyncio.sleep(0)
            return 10

        async def __aexit__(self, *exc):
            await asyncio.sleep(0)
            return True

    async def count(n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def main():
        async with Manager() as ten:
            total = sum([i async for i in count(ten)])
            raise ValueError  # swallowed by __aexit__
        return total

    assert finish(main()).result() == 45


def test_exception_of_a_future_is_thrown_into_the_coroutine(finish, future, loop):
    async def main():
        try:
            await future
        except ValueError as exc:
            return exc

    error = ValueError("x")
    loop.call_soon(future.set_exception, error)
    assert finish(main()).result() is error


def test_exception_that_one_task_handles_is_not_seen_by_others(run):
    async def handle():
        try:
            raise KeyError
        except KeyError as exc:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return sys.exc_info()[1] is exc

    async def look():
        await asyncio.sleep(0)
        return sys.exc_info()[1]

    async def main():
        return await asyncio.gather(handle(), look())

    assert run(main()) == [True, None]


def test_exception_of_a_future_has_the_handled_exception_as_context(future, loop, run):
    async def main():
        try:
            raise KeyError("context")
        except KeyError:
            await future

    loop.call_soon(future.set_exception, ValueError("x"))
    with pytest.raises(ValueError, match="^x$") as raised:
        run(main())
    assert isinstance(raised.value.__context__, KeyError)


def test_exception_of_a_future_keeps_its_context_inside_an_except_block(loop, future):
    async def main():
        loop.call_soon(future.set_exception, error)
        try:
            await future
        except ValueError as exc:
            return exc.__context__

    cause = KeyError("cause")
    error = ValueError("x")
    error.__context__ = cause
    try:
        raise LookupError("around")
    except LookupError:
        assert loop.run_until_complete(main()) is cause


@pytest.mark.parametrize(
    ("cancels", "remembers"),
    [("future", True), ("task", True), ("woken task", False)],
)
def test_context_of_a_cancelled_error_depends_on_where_it_comes_from(loop, future, Task, turn, cancels, remembers):
    """The error of a cancelled future is raised before it is thrown, that of a cancelled task is not."""

    async def main():
        try:
            await future
        except asyncio.CancelledError as exc:
            return exc

    task = Task(main(), loop=loop)
    turn()
    if cancels == "woken task":
        future.set_result(None)
    (future if cancels == "future" else task).cancel()
    try:
        raise LookupError("around")
    except LookupError as around:
        error = loop.run_until_complete(task)
        assert error.__context__ is (around if remembers else None)


class TestEndOfATask:
    """If only the loop owns a task that ends, its finalisers and reports run as no task and in no task's context."""

    var = contextvars.ContextVar("var", default="nobody's")

    @pytest.fixture
    def seen(self, loop):
        """Runs a coroutine as a task that only the loop owns, while another task runs. Returns what look() saw."""

        def seen(ends):
            async def innocent():
                self.var.set("the innocent's")
                for _ in range(5):
                    await asyncio.sleep(0)
                return self.var.get()

            async def main():
                task = loop.create_task(innocent())
                await asyncio.sleep(0)
                loop.create_task(ends)
                return await task

            self.seen = []
            assert loop.run_until_complete(main()) == "the innocent's"
            return self.seen

        return seen

    def look(self, loop):
        self.seen.append((asyncio.current_task(loop), self.var.get() == "the innocent's"))
        self.var.set("somebody else's")

    def test_result_is_freed_as_no_task(self, loop, seen):
        class Result:
            def __del__(result):
                self.look(loop)

        async def ends():
            return Result()

        assert seen(ends()) == [(None, False)]

    def test_exception_is_reported_as_no_task(self, loop, seen):
        async def ends():
            raise ValueError

        loop.set_exception_handler(lambda loop, context: self.look(loop))
        assert seen(ends()) == [(None, False)]

    def test_slow_step_is_logged_as_no_task(self, loop, seen):
        class Log(logging.Handler):
            def emit(log, record):
                if ".ends()" in record.getMessage():
                    self.look(loop)

        async def ends():
            pass

        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        logger, log = logging.getLogger("asyncio"), Log()
        level, propagate = logger.level, logger.propagate
        logger.addHandler(log)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        try:
            looks = seen(ends())
        finally:
            logger.removeHandler(log)
            logger.setLevel(level)
            logger.propagate = propagate
        assert looks
        assert all(task is None for task, _ in looks)


@pytest.mark.parametrize("count", [10, 1_000])
def test_tasks_take_turns(loop, run, count):
    seen = []

    async def step(i):
        seen.append(i)
        await asyncio.sleep(0)
        seen.append(i)

    async def main():
        await asyncio.gather(*map(step, range(count)))

    run(main())
    assert seen == [*range(count), *range(count)]


def test_woken_tasks_run_in_the_order_of_waking(loop, run, Future):
    seen = []

    async def wait(future):
        seen.append(await future)

    async def main():
        futures = [Future(loop=loop) for _ in range(5)]
        tasks = [loop.create_task(wait(future)) for future in futures]
        await asyncio.sleep(0)
        order = [3, 1, 4, 0, 2]
        for i in order:
            futures[i].set_result(i)
            loop.call_soon(seen.append, f"after {i}")
        await asyncio.wait(tasks)
        assert seen == [entry for i in order for entry in (i, f"after {i}")]

    run(main())


def test_waiting_tasks_and_callbacks_of_a_future_run_in_one_order(loop, run, future):
    seen = []

    async def wait(i):
        await future
        seen.append(i)

    async def main():
        future.add_done_callback(lambda _: seen.append("first"))
        one = loop.create_task(wait(1))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _: seen.append("middle"))
        two = loop.create_task(wait(2))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _: seen.append("last"))
        future.set_result(None)
        await asyncio.wait([one, two])

    run(main())
    assert seen == ["first", 1, "middle", 2, "last"]


class TestDepth:
    """Recursion ends in RecursionError, never in a crash. Each test runs in an interpreter of its own."""

    def test_100_000_nested_awaits_are_a_recursion_error(self, script):
        done = script("""
            async def nest(depth):
                if depth:
                    return 1 + await nest(depth - 1)
                return 0

            loop = new_loop()
            try:
                loop.run_until_complete(nest(100_000))
            except RecursionError:
                print("RecursionError")
            print(loop.run_until_complete(nest(100)))
            loop.close()
        """)
        assert done.stdout.split() == ["RecursionError", "100"]

    def test_await_chain_near_the_limit_suspends_and_resumes(self, script):
        done = script("""
            async def nest(depth, future):
                if depth:
                    return 1 + await nest(depth - 1, future)
                return await future

            loop = new_loop()
            future = Future(loop=loop)
            loop.call_later(0.01, future.set_result, 0)
            print(loop.run_until_complete(nest(700, future)))
            loop.close()
        """)
        assert done.stdout.split() == ["700"]

    def test_chain_of_100_000_tasks_ends(self, script):
        done = script("""
            async def link(previous):
                return 1 + await previous

            loop = new_loop()
            first = last = Future(loop=loop)
            for _ in range(100_000):
                last = loop.create_task(link(last))
            loop.call_later(0.01, first.set_result, 0)
            print(loop.run_until_complete(last))
            loop.close()
        """)
        assert done.stdout.split() == ["100000"]

    def test_chains_of_100_000_objects_are_freed(self, script):
        done = script("""
            import gc

            async def link(previous):
                await previous

            loop = new_loop()
            result = Future(loop=loop)
            for _ in range(100_000):
                outer = Future(loop=loop)
                outer.set_result(result)
                result = outer
            first = last = Future(loop=loop)
            for _ in range(100_000):
                last = loop.create_task(link(last))
                last._log_destroy_pending = False
            handle = loop.call_soon(print)
            for _ in range(100_000):
                handle = loop.call_later(1_000, print, handle)
            loop.stop()
            loop.run_forever()
            del result, outer, first, last, handle
            gc.collect()
            loop.close()
            print("alive")
        """)
        assert done.stdout.split() == ["alive"]

    def test_2_000_nested_awaitable_objects_are_a_recursion_error(self, script):
        done = script("""
            class Nested:
                def __init__(self, inner):
                    self.inner = inner
                def __await__(self):
                    return (yield from self.inner.__await__())

            loop = new_loop()
            awaitable = future = Future(loop=loop)
            future.set_result(5)
            for _ in range(2_000):
                awaitable = Nested(awaitable)

            async def main():
                await awaitable
            try:
                loop.run_until_complete(main())
            except RecursionError:
                print("RecursionError")
            loop.close()
        """)
        assert done.stdout.split() == ["RecursionError"]

    def test_recursion_of_eager_tasks_is_a_recursion_error(self, script):
        if sys.version_info < (3, 12):
            pytest.skip("eager tasks came with Python 3.12")
        done = script("""
            async def nest(depth):
                return await Task(nest(depth - 1), loop=loop, eager_start=True) if depth else 0

            async def main():
                try:
                    await nest(100_000)
                except RecursionError:
                    print("RecursionError")

            loop = new_loop()
            loop.set_exception_handler(lambda loop, context: None)
            loop.run_until_complete(main())
            loop.close()
        """)
        assert done.stdout.split() == ["RecursionError"]


class TestReentrancy:
    def test_task_that_is_dropped_in_its_step_goes_on(self, loop, Task, turn):
        async def main():
            tasks.clear()
            gc.collect()
            await asyncio.sleep(0)
            seen.append("went on")

        seen = []
        tasks = [Task(main(), loop=loop)]
        watch = weakref.ref(tasks[0])
        turn(2)
        assert seen == ["went on"]
        assert watch() is None

    def test_waiting_task_gets_the_result_of_a_future_that_nobody_else_has(self, loop, Task, Future, turn):
        async def main():
            future = Future(loop=loop)
            loop.call_soon(future.set_result, 3)
            return await future

        task = Task(main(), loop=loop)
        turn(2)
        gc.collect()
        turn()
        assert task.result() == 3

    @pytest.mark.parametrize("method", ["run_forever", "run_until_complete"])
    def test_running_the_loop_inside_a_step_is_refused(self, loop, future, method):
        async def main():
            with pytest.raises(RuntimeError, match="^This event loop is already running$"):
                getattr(loop, method)(*[future] * (method == "run_until_complete"))
            return "went on"

        assert loop.run_until_complete(main()) == "went on"

    def test_coroutine_that_sends_to_itself_is_refused(self, finish):
        async def main():
            with pytest.raises(ValueError, match="already executing"):
                coro.send(None)
            return "went on"

        coro = main()
        assert finish(coro).result() == "went on"

    def test_coroutine_closed_before_its_step_is_a_runtime_error(self, finish):
        async def main():
            pass

        coro = main()
        coro.close()
        task = finish(coro)
        with pytest.raises(RuntimeError, match="^cannot reuse already awaited coroutine$"):
            task.result()

    def test_coroutine_of_two_tasks_is_a_runtime_error(self, loop, Task, finish):
        async def main():
            await asyncio.sleep(0)

        coro = main()
        finish(coro)
        with pytest.raises(RuntimeError, match="^cannot reuse already awaited coroutine$"):
            finish(coro).result()

    def test_coroutine_that_ignores_generator_exit_is_unraisable(self, loop, Task, turn, reports):
        """The coroutine is destroyed with its task, and awaits once more."""

        async def main():
            try:
                await lonely.pop()
            finally:
                await asyncio.sleep(0)

        lonely = [loop.create_future()]
        task = Task(main(), loop=loop)
        task._log_destroy_pending = False
        turn()
        caught = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: caught.append(str(unraisable.exc_value))
        try:
            del task
            gc.collect()
        finally:
            sys.unraisablehook = hook
        assert caught == ["coroutine ignored GeneratorExit"]

    @pytest.mark.parametrize("whose", ["another's", "its own"])
    def test_waking_by_hand_inside_a_step_is_refused(self, loop, future, Task, whose):
        """It is refused, and the task goes on."""

        async def other():
            await future
            if whose == "its own":
                refused()
            await asyncio.sleep(0)
            return asyncio.current_task()

        def refused():
            with pytest.raises(RuntimeError, match="^Cannot enter into task .* while another task .* is being exec"):
                wake(future)

        async def main():
            nonlocal wake
            await asyncio.sleep(0)
            ((wake, _),) = future._callbacks
            future.remove_done_callback(wake)
            future.set_result(None)
            if whose == "another's":
                refused()
                assert asyncio.current_task().get_name() == "main"
            loop.call_soon(wake, future)
            return await task

        wake = None
        task = Task(other(), loop=loop)
        assert loop.run_until_complete(Task(main(), loop=loop, name="main")) is task

    def test_task_is_left_when_its_callable_returns(self, loop, Task):
        def call_soon(callback, *args, context=None):
            def wrapped(*args):
                callback(*args)
                seen.append(asyncio.current_task(loop))

            return type(loop).call_soon(loop, wrapped, *args, context=context)

        seen = []
        loop.call_soon = call_soon
        loop.run_until_complete(Task(asyncio.sleep(0), loop=loop))
        del loop.call_soon
        assert set(seen) == {None}

    def test_running_loop_unset_by_a_task_is_reported_from_314_on(self, loop, Task, turn, reports):
        """From 3.14 the task cannot be left then: that is reported, and the other entries run."""

        async def main():
            asyncio._set_running_loop(None)

        def repair():
            asyncio._set_running_loop(loop)
            if sys.version_info >= (3, 14):
                asyncio.tasks._leave_task(loop, task)
            seen.append("repaired")

        seen = []
        task = Task(main(), loop=loop)
        loop.call_soon(seen.append, "next")
        loop.call_soon(repair)
        turn()
        assert seen == ["next", "repaired"]
        assert task.done()
        errors = [(context["message"][:21], type(context["exception"])) for context in reports()]
        assert errors == [("Exception in callback", RuntimeError)] * (sys.version_info >= (3, 14))

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="nothing fails of it")
    def test_running_loop_unset_by_a_task_fails_its_step_in_debug_mode(self, loop, Task, turn, reports):
        """The step fails, because it cannot leave the task. The coroutine's exception is the __context__."""

        async def main():
            asyncio._set_running_loop(None)
            raise SystemExit

        def repair():
            asyncio._set_running_loop(loop)
            asyncio.tasks._leave_task(loop, task)

        loop.set_debug(True)
        task = Task(main(), loop=loop)
        loop.call_soon(repair)
        turn()
        (report,) = reports()
        assert sorted(report) == ["exception", "handle", "message", "source_traceback"]
        assert type(report["exception"]) is RuntimeError
        assert report["exception"].__context__ is task.exception()

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="nothing fails of it")
    def test_exception_handler_may_run_a_loop_that_a_task_has_unset(self, script):
        done = script("""
            async def main():
                asyncio._set_running_loop(None)

            def handle(loop, context):
                asyncio._set_running_loop(loop)
                loop.call_soon(int)
                loop._run_once()
                asyncio.tasks._leave_task(loop, task)
                loop.call_soon(loop.stop)

            loop = new_loop()
            loop.set_exception_handler(handle)
            task = Task(main(), loop=loop)
            loop.run_forever()
            loop.close()
            print(task.result())
        """)
        assert done.stdout == "None\n"

    def test_step_of_a_task_that_is_done_is_reported(self, loop, Task, Future, turn, reports):
        task = Task(asyncio.sleep(0), loop=loop)
        turn()
        Future.cancel(task)
        turn()
        (report,) = reports()
        assert report.keys() - {"source_traceback"} == {"exception", "handle", "message"}
        assert ("source_traceback" in report) is loop.get_debug()
        assert isinstance(report["handle"], asyncio.Handle)
        step = "__step" if sys.version_info >= (3, 14) else "_step"
        assert str(report["exception"]) == f"{step}(): already done: {task!r} None"
