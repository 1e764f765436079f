"""call_soon and friends, create_future, create_task and task factories: arguments, contexts, errors."""

import asyncio
import contextvars
import functools

import pytest
import stock


async def answer():
    return 42


@pytest.fixture
def seen():
    return []


@pytest.fixture(params=["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def schedule(request, loop):
    return {
        "call_soon": loop.call_soon,
        "call_soon_threadsafe": loop.call_soon_threadsafe,
        "call_later": functools.partial(loop.call_later, 0),
        "call_at": functools.partial(loop.call_at, loop.time()),
    }[request.param]


class TestContext:
    @pytest.fixture
    def var(self):
        return contextvars.ContextVar("var", default="outside")

    def test_default_is_a_copy_of_the_current_one(self, schedule, turn, seen, var):
        def make(value):
            var.set(value)
            schedule(lambda: seen.append(var.get()))
            var.set("changed afterwards")

        for i in range(3):
            contextvars.copy_context().run(make, i)
        turn()
        assert sorted(seen) == [0, 1, 2]

    def test_given_context_is_not_copied(self, schedule, turn, var):
        context = contextvars.copy_context()
        schedule(var.set, "inside", context=context)
        turn()
        assert context[var] == "inside"
        assert var.get() == "outside"

    def test_none_means_the_current_one(self, schedule, turn, seen, var):
        contextvars.copy_context().run(lambda: (var.set(1), schedule(lambda: seen.append(var.get()), context=None)))
        turn()
        assert seen == [1]

    def test_callbacks_do_not_see_each_others_changes(self, schedule, turn, seen, var):
        schedule(var.set, "leaked")
        schedule(lambda: seen.append(var.get()))
        turn()
        assert seen == ["outside"]

    def test_callbacks_of_one_context_do(self, loop, turn, seen, var):
        context = contextvars.copy_context()
        loop.call_soon(var.set, "shared", context=context)
        loop.call_soon(lambda: seen.append(var.get()), context=context)
        turn()
        assert seen == ["shared"]

    def test_each_callback_reads_its_own(self, loop, turn, seen, var):
        """Contexts take turns, also inside of callbacks, and reading twice (once from a cache) is the same."""

        def read():
            seen.append((var.get(), var.get()))

        def callback(i, other):
            read()
            other.run(read)
            read()

        contexts = [contextvars.copy_context() for _ in range(4)]
        for i, context in enumerate(contexts):
            context.run(var.set, i)
        order = [0, 1, 0, 2, 3, 3, 1, 2, 0]
        for i in order:
            loop.call_soon(callback, i, contexts[i - 1], context=contexts[i])
        turn()
        assert seen == [(i, i) for mine in order for i in (mine, (mine - 1) % 4, mine)]
        assert var.get() == "outside"

    def test_current_context_is_the_callbacks(self, schedule, turn, seen, var):
        context = contextvars.copy_context()
        context.run(var.set, 1)
        schedule(lambda: seen.append(contextvars.copy_context()), context=context)
        turn()
        assert dict(seen[0]) == dict(context)
        assert seen[0] is not context

    def test_token_of_one_callback_resets_in_another(self, loop, turn, seen, var):
        context = contextvars.copy_context()
        tokens = []
        loop.call_soon(lambda: tokens.append(var.set("changed")), context=context)
        loop.call_soon(lambda: seen.append(var.get()), context=context)
        loop.call_soon(lambda: var.reset(tokens[0]), context=context)
        loop.call_soon(lambda: seen.append(var.get()), context=context)
        turn()
        assert seen == ["changed", "outside"]

    def test_callback_runs_the_loops_context_nowhere_else(self, loop, turn, seen):
        """A context stays entered for the time of its callback."""

        def callback():
            with pytest.raises(RuntimeError, match="^cannot enter context"):
                context.run(int)
            seen.append("entered")

        context = contextvars.copy_context()
        loop.call_soon(callback, context=context)
        turn()
        context.run(seen.append, "left")
        assert seen == ["entered", "left"]

    def test_run_forever_does_not_change_its_callers_context(self, schedule, turn, var):
        schedule(var.set, "inside")
        turn()
        assert var.get() == "outside"

    def test_callback_scheduled_by_a_callback_inherits_its_variables(self, loop, turn, seen, var):
        def callback():
            var.set("inherited")
            loop.call_soon(lambda: seen.append(var.get()))

        loop.call_soon(callback)
        turn(2)
        assert seen == ["inherited"]

    def test_callback_in_an_entered_context_is_reported(self, schedule, turn, seen, loop, caplog):
        loop.set_exception_handler(None)
        context = contextvars.copy_context()
        schedule(seen.append, "does not run", context=context)
        schedule(seen.append, "the others do")
        context.run(turn)
        assert seen == ["the others do"]
        assert "RuntimeError: cannot enter context" in caplog.text

    def test_exception_leaves_the_context(self, loop, turn, seen, var, reports):
        context = contextvars.copy_context()
        loop.call_soon(lambda: 1 / 0, context=context)
        loop.call_soon(seen.append, "again", context=context)
        turn()
        assert seen == ["again"]
        assert len(reports()) == 1

    def test_dropped_values_may_run_anything(self, loop, turn, seen):
        """The last reference to a context's value is the handle's."""

        class Attacker:
            def __del__(self):
                loop.call_soon(seen.append, "attack")
                loop.stop()

        var = contextvars.ContextVar("var")
        context = contextvars.Context()
        context.run(var.set, Attacker())
        loop.call_soon(seen.append, "callback", context=context)
        del context
        turn(2)
        assert seen == ["callback", "attack"]


class TestArguments:
    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
    def test_callback_is_needed(self, loop, method):
        with pytest.raises(TypeError):
            getattr(loop, method)()

    def test_other_keywords_are_refused(self, schedule, seen):
        with pytest.raises(TypeError):
            schedule(seen.append, 1, contxt=None)
        with pytest.raises(TypeError):
            schedule(seen.append, argument=1)

    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
    def test_callback_can_be_named(self, loop, turn, seen, method):
        getattr(loop, method)(callback=lambda: seen.append(1))
        turn()
        assert seen == [1]

    def test_partial_passes_keywords(self, schedule, turn, seen):
        schedule(functools.partial(lambda a, *, b: seen.append((a, b)), 1, b=2))
        turn()
        assert seen == [(1, 2)]

    @pytest.mark.parametrize("bad", [42, None, "text"])
    def test_object_that_is_not_callable_fails_when_it_is_called(self, schedule, loop, turn, reports, bad):
        loop.set_debug(False)
        schedule(bad)
        turn()
        (report,) = reports()
        assert type(report["exception"]) is TypeError
        assert str(report["exception"]).endswith("object is not callable")

    def test_wrong_number_of_arguments_fails_when_it_is_called(self, schedule, turn, reports):
        schedule(lambda: None, 1, 2)
        turn()
        assert [type(report["exception"]) for report in reports()] == [TypeError]

    @pytest.mark.parametrize(
        "callback", [len, str.upper, [].append, dict, lambda x: x, functools.partial(print, end="")]
    )
    def test_all_kinds_of_callables_are_called(self, schedule, turn, callback):
        schedule(callback, "")
        turn()


class TestCreateFuture:
    def test_takes_no_argument(self, loop):
        with pytest.raises(TypeError):
            loop.create_future(1)

    def test_each_is_new(self, loop):
        assert loop.create_future() is not loop.create_future()


class TestCreateTask:
    def test_refuses_bad_arguments(self, loop):
        with pytest.raises(TypeError):
            loop.create_task()
        coro = answer()
        with pytest.raises(TypeError):
            loop.create_task(coro, "name")
        with pytest.raises(TypeError):
            loop.create_task(coro, nme="name")
        coro.close()

    def test_coroutine_can_be_named(self, loop):
        task = loop.create_task(name="named", coro=answer())
        assert type(task) is type(loop.create_task(coro=answer())) is type(loop.create_task(answer()))
        assert task.get_name() == "named"
        assert loop.run_until_complete(task) == 42
        coro = answer()
        with pytest.raises(TypeError):
            loop.create_task(coro, coro=coro)
        coro.close()

    def test_subclass_of_the_loop_may_override_it(self, loop, run):
        made = []
        original = loop.create_task

        def create_task(coro, **kwargs):
            made.append(coro.__name__)
            return original(coro, **kwargs)

        async def main():
            return await asyncio.create_task(answer())

        loop.create_task = create_task
        try:
            assert loop.run_until_complete(main()) == 42
        finally:
            del loop.create_task
        assert made == ["main", "answer"]


class TestTaskFactory:
    def test_default_is_none(self, loop):
        assert loop.get_task_factory() is None

    @pytest.mark.parametrize("bad", [42, "factory", object()])
    def test_must_be_callable(self, loop, bad):
        with pytest.raises(TypeError, match="^task factory must be a callable or None$"):
            loop.set_task_factory(bad)
        assert loop.get_task_factory() is None

    def test_makes_the_tasks(self, loop, Task):
        calls = []

        def factory(loop, coro, **kwargs):
            calls.append((loop, coro))
            return Task(coro, loop=loop, **kwargs)

        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        coro = answer()
        task = loop.create_task(coro, name="named")
        assert calls == [(loop, coro)]
        assert task.get_name() == "named"
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None
        assert loop.run_until_complete(task) == 42

    def test_gets_the_context_as_a_keyword(self, loop, Task):
        calls = []

        def factory(loop, coro, **kwargs):
            calls.append(kwargs.get("context"))
            return Task(coro, loop=loop, **kwargs)

        context = contextvars.copy_context()
        loop.set_task_factory(factory)
        task = loop.create_task(answer(), context=context)
        loop.run_until_complete(task)
        loop.set_task_factory(None)
        assert calls[0] is context

    @pytest.mark.skipif(stock.FACTORY_IS_GIVEN_ALL, reason="the factory is given name and context")
    def test_factory_of_two_arguments_is_enough(self, loop, Task):
        loop.set_task_factory(lambda loop, coro: Task(coro, loop=loop))
        task = loop.create_task(answer(), name="named")
        loop.set_task_factory(None)
        assert task.get_name() == "named"
        assert loop.run_until_complete(task) == 42

    def test_exception_of_the_factory_is_raised(self, loop):
        def factory(loop, coro, **kwargs):
            raise ZeroDivisionError

        loop.set_task_factory(factory)
        coro = answer()
        with pytest.raises(ZeroDivisionError):
            loop.create_task(coro)
        coro.close()
        loop.set_task_factory(None)

    def test_is_used_by_run_until_complete_and_task_groups(self, loop, Task):
        names = []

        def factory(loop, coro, **kwargs):
            names.append(coro.__name__)
            return Task(coro, loop=loop, **kwargs)

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(answer())
            await asyncio.gather(answer())

        loop.set_task_factory(factory)
        loop.run_until_complete(main())
        loop.set_task_factory(None)
        assert names == ["main", "answer", "answer"]
