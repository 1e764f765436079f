"""Future.add_done_callback and remove_done_callback: when, in which order, in which context."""

import asyncio
import contextlib
import contextvars
import gc
import sys
import threading

import pytest

INIT_AGAIN = ["init"] if sys.version_info < (3, 15) else []  # an attack: __init__() may be called again


@pytest.fixture
def seen():
    return []


def test_callback_gets_the_future_in_a_later_turn(future, seen, turn):
    assert future.add_done_callback(seen.append) is None
    future.set_result(1)
    assert seen == []
    turn()
    assert seen == [future]


@pytest.mark.parametrize("finish", [("set_result", 1), ("set_exception", ValueError()), ("cancel", "why")])
def test_result_exception_and_cancel_call_the_callbacks(future, seen, turn, finish):
    future.add_done_callback(seen.append)
    name, argument = finish
    getattr(future, name)(argument)
    turn()
    assert seen == [future]
    future._log_traceback = False


def test_order_of_callbacks_is_order_of_adding(future, seen, turn, loop):
    loop.call_soon(seen.append, "before")
    for i in range(5):
        future.add_done_callback(lambda _, i=i: seen.append(i))
    future.set_result(None)
    loop.call_soon(seen.append, "after")
    turn()
    assert seen == ["before", 0, 1, 2, 3, 4, "after"]


def test_callback_on_a_done_future_runs_in_the_next_turn(future, seen, turn):
    future.set_result(1)
    future.add_done_callback(seen.append)
    assert seen == []
    turn()
    assert seen == [future]


def test_same_callback_twice_is_called_twice(future, seen, turn):
    future.add_done_callback(seen.append)
    future.add_done_callback(seen.append)
    future.set_result(1)
    turn()
    assert seen == [future, future]


def test_callback_added_by_a_callback_runs_a_turn_later(future, seen, turn):
    future.add_done_callback(lambda f: f.add_done_callback(seen.append))
    future.set_result(1)
    turn()
    assert seen == []
    turn()
    assert seen == [future]


def test_failing_callback_does_not_stop_the_others(future, seen, turn, reports):
    error = ValueError("x")

    def fail(future):
        raise error

    future.add_done_callback(fail)
    future.add_done_callback(seen.append)
    future.set_result(1)
    turn()
    assert seen == [future]
    (report,) = reports()
    assert report["exception"] is error
    assert report["message"].startswith("Exception in callback ")
    assert "fail" in report["message"]
    assert isinstance(report["handle"], asyncio.Handle)


def test_callback_that_is_not_callable_is_reported_when_it_is_called(future, loop, turn, reports):
    loop.set_debug(False)
    future.add_done_callback(42)
    future.set_result(1)
    turn()
    (report,) = reports()
    assert type(report["exception"]) is TypeError
    assert str(report["exception"]) == "'int' object is not callable"


class TestRemove:
    def test_returns_how_many_were_removed(self, future, seen, turn):
        for _ in range(3):
            future.add_done_callback(seen.append)
        future.add_done_callback(print)
        assert future.remove_done_callback(seen.append) == 3
        assert future.remove_done_callback(seen.append) == 0
        assert future.remove_done_callback(print) == 1
        future.set_result(1)
        turn()
        assert seen == []

    @pytest.mark.parametrize("position", range(4))
    def test_keeps_the_order_of_the_others(self, future, seen, turn, position):
        callbacks = [lambda _, i=i: seen.append(i) for i in range(4)]
        for callback in callbacks:
            future.add_done_callback(callback)
        assert future.remove_done_callback(callbacks[position]) == 1
        future.set_result(1)
        turn()
        assert seen == [i for i in range(4) if i != position]

    def test_removes_nothing_once_the_future_is_done(self, future, seen, turn):
        future.add_done_callback(seen.append)
        future.set_result(1)
        assert future.remove_done_callback(seen.append) == 0
        turn()
        assert seen == [future]

    def test_compares_by_equality(self, future):
        class Callback:
            def __init__(self, key):
                self.key = key

            def __eq__(self, other):
                return self.key == other.key

            def __call__(self, future):
                pass

        for key in 1, 2, 1:
            future.add_done_callback(Callback(key))
        assert future.remove_done_callback(Callback(1)) == 2
        assert [callback.key for callback, _ in future._callbacks] == [2]

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_failing_comparison_is_raised(self, future, count):
        class Odd:
            def __eq__(self, other):
                raise ZeroDivisionError

        for _ in range(count):
            future.add_done_callback(Odd())
        with pytest.raises(ZeroDivisionError):
            future.remove_done_callback(Odd())

    @pytest.mark.parametrize("count", [1, 2, 5])
    @pytest.mark.parametrize("attack", ["set_result", "set_itself", "cancel", "remove", "add", *INIT_AGAIN])
    def test_comparison_may_change_the_future(self, future, loop, turn, count, attack):
        class Attacker:
            attacks = 0

            def __eq__(self, other):
                Attacker.attacks += 1
                if Attacker.attacks < 50 and not future.done():
                    {
                        "set_result": lambda: future.set_result(1),
                        "set_itself": lambda: future.set_result(self),
                        "cancel": future.cancel,
                        "remove": lambda: future.remove_done_callback(print),
                        "add": lambda: future.add_done_callback(id),
                        "init": lambda: future.__init__(loop=loop),
                    }[attack]()
                return False

            def __call__(self, future):
                pass

        for _ in range(count):
            future.add_done_callback(Attacker())
        future.add_done_callback(id)
        assert 0 <= future.remove_done_callback(Attacker()) <= count
        turn()

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_comparison_may_remove_everything(self, future, count):
        class Greedy:
            active = False

            def __eq__(self, other):
                if not Greedy.active:
                    Greedy.active = True
                    future.remove_done_callback(self)
                    gc.collect()
                return True

        for _ in range(count):
            future.add_done_callback(Greedy())
        future.remove_done_callback(Greedy())
        assert not future._callbacks

    @pytest.mark.parametrize("key", "abcd")
    @pytest.mark.parametrize("inner", ["a", "b", "d", "", "abcd"])
    @pytest.mark.parametrize("meets", "abcd")
    def test_comparison_may_remove_others(self, future, seen, turn, key, inner, meets):
        """Both removals take effect, whichever callbacks are still to be compared when the inner one comes."""
        if meets >= min(inner, default="z"):
            pytest.skip("asyncio's code, which both inherit, loses track of what it has compared already")
        for name in "abcd":
            future.add_done_callback(Named(name, seen))

        def remove_inner(name):
            if name == meets:
                for name in inner:
                    future.remove_done_callback(Named(name))

        future.remove_done_callback(Named(key, watch=remove_inner))
        future.set_result(1)
        turn()
        assert seen == sorted(set("abcd") - set(inner) - {key})

    def test_both_removals_are_counted(self, future, seen, turn):
        for name in "abc":
            future.add_done_callback(Named(name, seen))
        counts = []

        def remove_inner(name):
            if name == "a":
                counts.append(future.remove_done_callback(Named("c")))

        assert future.remove_done_callback(Named("a", watch=remove_inner)) == 1
        assert counts == [1]
        future.set_result(1)
        turn()
        assert seen == ["b"]

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_comparison_may_add_others(self, future, seen, turn, count):
        for _ in range(count):
            future.add_done_callback(Named("a", seen))
        future.add_done_callback(Named("b", seen))
        watch = iter([lambda: future.add_done_callback(Named("c", seen))])
        future.remove_done_callback(Named("a", watch=lambda name: next(watch, int)()))
        future.set_result(1)
        turn()
        assert seen == ["b", "c"]

    def test_comparison_may_remove_everything_and_add_another(self, future, seen, turn):
        for name in "abc":
            future.add_done_callback(Named(name, seen))

        def begin_again(name):
            if name == "b":
                for name in "abc":
                    future.remove_done_callback(Named(name))
                future.add_done_callback(Named("d", seen))

        future.remove_done_callback(Named("a", watch=begin_again))
        future.set_result(1)
        turn()
        assert seen == ["d"]


class Named:
    """A callback that is equal to others of its name. Each comparison calls `watch` of the one looked for."""

    def __init__(self, name, seen=None, watch=None):
        self.name = name
        self.seen = seen
        self.watch = watch

    def __eq__(self, other):
        if other.watch is not None:
            other.watch(self.name)
        return other.name == self.name

    def __call__(self, future):
        self.seen.append(self.name)


class TestContext:
    @pytest.fixture
    def var(self):
        return contextvars.ContextVar("var", default="outside")

    @pytest.mark.parametrize("done_before", [False, True])
    def test_given_context_is_used(self, future, turn, seen, var, done_before):
        context = contextvars.copy_context()
        context.run(var.set, "inside")
        if done_before:
            future.set_result(1)
        future.add_done_callback(lambda _: seen.append(var.get()), context=context)
        if not done_before:
            future.set_result(1)
        turn()
        assert seen == ["inside"]

    @pytest.mark.parametrize("others", [0, 1])
    def test_none_means_the_context_of_set_result(self, future, turn, seen, var, others):
        for _ in range(others):
            future.add_done_callback(lambda _: None)
        future.add_done_callback(lambda _: seen.append(var.get()), context=None)
        context = contextvars.copy_context()
        context.run(var.set, "setter")
        context.run(future.set_result, None)
        turn()
        future.add_done_callback(lambda _: seen.append(var.get()), context=None)
        turn()
        assert seen == ["setter", "outside"]

    def test_default_is_a_copy_of_the_current_context(self, future, turn, seen, var):
        def add(value):
            var.set(value)
            future.add_done_callback(lambda _: seen.append(var.get()))
            var.set("changed afterwards")

        contextvars.copy_context().run(add, 1)
        contextvars.copy_context().run(add, 2)
        future.set_result(1)
        turn()
        assert seen == [1, 2]
        assert var.get() == "outside"

    def test_changes_of_one_callback_are_not_seen_by_another(self, future, turn, seen, var):
        future.add_done_callback(lambda _: var.set("leaked"))
        future.add_done_callback(lambda _: seen.append(var.get()))
        future.set_result(1)
        turn()
        assert seen == ["outside"]


class TestPrivateList:
    def test_is_empty_at_first(self, future):
        assert not future._callbacks

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_has_pairs_of_callback_and_context(self, future, count):
        context = contextvars.copy_context()
        callbacks = [lambda _: None for _ in range(count)]
        for callback in callbacks:
            future.add_done_callback(callback, context=context)
        assert future._callbacks == [(callback, context) for callback in callbacks]

    def test_has_a_callable_for_a_waiting_task(self, future, loop, turn):
        async def wait():
            await future

        task = loop.create_task(wait())
        turn()
        ((callback, context),) = future._callbacks
        assert callable(callback)
        assert isinstance(context, contextvars.Context)
        future.set_result(1)
        turn(2)
        assert task.done()
        assert not future._callbacks

    @pytest.mark.parametrize("outcome", [[], [1], (print, None), print])
    def test_result_is_not_mistaken_for_callbacks(self, future, seen, turn, outcome):
        future.add_done_callback(seen.append)
        future.set_result(outcome)
        assert not future._callbacks
        assert future.remove_done_callback(print) == 0
        turn()
        assert seen == [future]
        assert future.result() is outcome

    @pytest.mark.parametrize("callback", [[], [print], (print, None)])
    @pytest.mark.parametrize("others", [0, 2])
    def test_callback_that_is_a_list_or_tuple_is_one_callback(self, future, callback, others):
        for _ in range(others):
            future.add_done_callback(id)
        future.add_done_callback(callback)
        assert [function for function, _ in future._callbacks] == [id] * others + [callback]
        assert future.remove_done_callback(callback) == 1
        assert len(future._callbacks or ()) == others

    @pytest.mark.parametrize("finish", ["set_result", "set_exception", "cancel"])
    @pytest.mark.parametrize("count", [1, 3])
    def test_outcome_is_set_before_call_soon_is_called(self, loop_factory, Future, finish, count):
        """call_soon() is called within set_result() and the like."""
        loop = loop_factory()
        future = Future(loop=loop)
        for _ in range(count):
            future.add_done_callback(print)
        seen = []

        def call_soon(callback, *args, context=None):
            repr(future._callbacks)  # must not crash
            seen.append((future._state, future._result, type(future._exception)))

        loop.call_soon = call_soon
        argument, outcome = {
            "set_result": (1, ("FINISHED", 1, type(None))),
            "set_exception": (ValueError(), ("FINISHED", None, ValueError)),
            "cancel": ("why", ("CANCELLED", None, type(None))),
        }[finish]
        getattr(future, finish)(argument)
        assert seen == [outcome] * count
        future._log_traceback = False
        del loop.call_soon
        loop.close()


class TestTasksAmongThem:
    """Waiting tasks and callbacks are in one order."""

    @pytest.fixture
    def wait(self, future, seen):
        async def wait(name):
            await future
            seen.append(name)

        return wait

    @pytest.mark.parametrize("kinds", ["tt", "tc", "ct", "ttcc", "ctct", "tttt"])
    @pytest.mark.parametrize("debug", [False, True])
    def test_tasks_and_callbacks_run_in_the_order_of_adding(self, future, loop, turn, seen, wait, kinds, debug):
        loop.set_debug(debug)
        tasks = []
        for i, kind in enumerate(kinds):
            if kind == "t":
                tasks.append(loop.create_task(wait(i)))
                turn()
            else:
                future.add_done_callback(lambda _, i=i: seen.append(i))
        assert len(future._callbacks) == len(kinds)
        contexts = [context for _, context in future._callbacks]
        assert all(isinstance(context, contextvars.Context) for context in contexts)
        future.set_result(None)
        turn(2)
        assert seen == list(range(len(kinds)))
        assert all(task.done() for task in tasks)

    @pytest.mark.parametrize("count", [1, 3])
    def test_removed_task_is_not_woken(self, future, loop, turn, seen, wait, count):
        tasks = [loop.create_task(wait(i)) for i in range(count)]
        turn()
        last = future._callbacks[-1][0]
        assert future.remove_done_callback(last) == 1
        assert len(future._callbacks or ()) == count - 1
        future.set_result(None)
        turn(2)
        assert seen == list(range(count - 1))
        tasks[-1]._log_destroy_pending = False

    def test_others_are_woken_if_one_is_cancelled(self, loop, turn, Future):
        futures = [Future(loop=loop) for _ in range(2)]

        async def wait():
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)

        tasks = [loop.create_task(wait()) for _ in range(3)]
        turn()
        tasks[1].cancel()
        turn(2)
        assert [len(future._callbacks) for future in futures] == [2, 2]
        futures[0].set_result(None)
        turn(3)
        assert all(task.done() for task in tasks)
        assert not futures[1]._callbacks


def test_unknown_keyword_is_refused(future):
    with pytest.raises(TypeError):
        future.add_done_callback(print, ctx=None)
    assert not future._callbacks


def test_callback_that_is_freed_may_use_the_future(Future, loop, turn):
    class Attacker:
        def __init__(self, future):
            self.future = future

        def __call__(self, future):
            pass

        def __del__(self):
            with contextlib.suppress(RuntimeError):  # stock's Future is not initialised while __init__ clears it
                self.future.add_done_callback(id)
                self.future.remove_done_callback(id)
            gc.collect()

    future = Future(loop=loop)
    for _ in range(3):
        callback = Attacker(future)
        future.add_done_callback(callback)
        assert future.remove_done_callback(callback) == 1
        del callback
    future.add_done_callback(Attacker(future))
    if INIT_AGAIN:
        future.__init__(loop=loop)
    future.set_result(1)
    turn()


def test_set_result_raises_what_call_soon_raises(Future, loop, seen):
    loop.close()
    future = Future(loop=loop)
    future.set_result("no callbacks, no loop needed")
    other = Future(loop=loop)
    other.add_done_callback(seen.append)
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        other.set_result(1)
    assert other.done()
    assert seen == []


def test_overridden_call_soon_is_called(Future, loop, seen):
    asked = []
    loop.call_soon = lambda *args, **kwargs: asked.append((args, kwargs))
    future = Future(loop=loop)
    context = contextvars.copy_context()
    future.add_done_callback(seen.append, context=context)
    future.set_result(1)
    assert asked == [((seen.append, future), {"context": context})]
    del loop.call_soon


def test_chain_of_100_000_futures_gets_done(Future, loop):
    loop.set_debug(False)  # as many creation tracebacks take a minute
    futures = [Future(loop=loop) for _ in range(100_000)]
    for one, following in zip(futures, futures[1:], strict=False):
        one.add_done_callback(lambda f, following=following: following.set_result(f.result() + 1))
    loop.call_soon(futures[0].set_result, 1)
    assert loop.run_until_complete(futures[-1]) == 100_000


def test_100_000_callbacks_of_one_future_run(future, loop, turn, seen):
    loop.set_debug(False)
    for _ in range(100_000):
        future.add_done_callback(seen.append)
    future.set_result(1)
    turn()
    assert len(seen) == 100_000


def test_set_result_by_call_soon_threadsafe_wakes_the_loop(future, loop):
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, "hello"))
    loop.call_soon(thread.start)
    assert loop.run_until_complete(future) == "hello"
    thread.join()
