"""Handle and TimerHandle: what call_soon and call_later return.

Texts are compared with those of stock handles of the running Python, which differ by version.
"""

import asyncio
import contextvars
import functools
import gc
import socket
import sys
import threading
import time
import weakref
from fractions import Fraction

import pytest


def nothing(*args):
    pass


@pytest.fixture(params=["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def schedule(request, loop):
    """Schedules a callback in any of the four ways, for now."""
    return {
        "call_soon": loop.call_soon,
        "call_soon_threadsafe": loop.call_soon_threadsafe,
        "call_later": functools.partial(loop.call_later, 0),
        "call_at": functools.partial(loop.call_at, loop.time()),
    }[request.param]


@pytest.fixture
def seen():
    return []


@pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")
class TestFromAnotherThread:
    """Of call_soon_threadsafe() alone: after cancel() it does not run, nor does it still run."""

    @pytest.mark.parametrize("ask", ["cancel", "cancelled"])
    def test_waits_for_the_end_of_the_callback(self, loop, run, ask):
        begun, seen = threading.Event(), []

        def slow():
            begun.set()
            time.sleep(0.05)
            seen.append("ended")

        def other():
            handle = loop.call_soon_threadsafe(slow)
            assert begun.wait(10)
            getattr(handle, ask)()
            return list(seen)

        async def main():
            return await asyncio.to_thread(other)

        assert run(main()) == ["ended"]

    def test_the_callback_may_cancel_itself(self, loop, turn):
        handle = loop.call_soon_threadsafe(lambda: handle.cancel())
        turn()
        assert handle.cancelled()

    def test_the_callback_may_cancel_itself_in_a_single_turn(self, script):
        done = script("""
            loop = new_loop()
            handle = loop.call_soon_threadsafe(lambda: (handle.cancelled(), handle.cancel()))
            loop._run_once()
            print(handle.cancelled())
            loop.close()
        """)
        assert done.stdout.split() == ["True"]

    def test_is_told_apart(self, loop):
        assert repr(loop.call_soon_threadsafe(nothing)).startswith("<_ThreadSafeHandle ")
        assert repr(loop.call_soon(nothing)).startswith("<Handle ")


class TestAnyHandle:
    def test_is_a_handle_to_asyncio(self, schedule, loop):
        handle = schedule(nothing)
        assert isinstance(handle, asyncio.Handle)
        assert isinstance(handle, asyncio.TimerHandle) is hasattr(handle, "when")
        names = ["TimerHandle"] if hasattr(handle, "when") else ["Handle", "_ThreadSafeHandle"]
        assert type(handle).__name__ in names

    def test_runs_once(self, schedule, turn):
        seen = []
        handle = schedule(seen.append, 1)
        turn(3)
        assert seen == [1]
        assert not handle.cancelled()

    @pytest.mark.parametrize("args", [(), (1,), (1, 2), (1, 2, 3), tuple(range(50)), ((1, 2),), (None,)], ids=len)
    def test_callback_gets_its_arguments(self, schedule, turn, args):
        seen = []
        schedule(lambda *args: seen.append(args), *args)
        turn()
        assert seen == [args]

    def test_cancelled_handle_does_not_run(self, schedule, turn):
        seen = []
        handle = schedule(seen.append, 1)
        assert handle.cancelled() is False
        assert handle.cancel() is None
        assert handle.cancelled() is True
        turn()
        assert seen == []

    def test_cancel_may_be_repeated_and_come_late(self, schedule, turn):
        handle = schedule(nothing)
        handle.cancel()
        handle.cancel()
        handle = schedule(nothing)
        turn()
        handle.cancel()
        assert handle.cancelled()

    def test_running_callback_may_cancel_itself(self, schedule, turn):
        seen = []

        def callback(argument):
            handle.cancel()
            gc.collect()
            seen.append((handle.cancelled(), argument))

        handle = schedule(callback, [1])
        turn()
        assert seen == [(True, [1])]

    def test_cancel_drops_callback_and_arguments(self, schedule):
        class Argument:
            pass

        argument = Argument()
        watch = weakref.ref(argument)
        handle = schedule(nothing, argument)
        del argument
        assert watch() is not None
        handle.cancel()
        assert watch() is None

    def test_dropped_handle_runs_all_the_same(self, schedule, turn):
        seen = []
        schedule(seen.append, 1)
        gc.collect()
        turn()
        assert seen == [1]

    def test_callback_is_dropped_after_running(self, schedule, turn):
        class Callback:
            def __call__(self):
                pass

        callback = Callback()
        watch = weakref.ref(callback)
        schedule(callback)
        del callback
        turn()
        assert watch() is None

    def test_private_names(self, schedule, loop):
        handle = schedule(nothing, 1, 2)
        assert handle._callback is nothing
        assert handle._args == (1, 2)
        assert handle._cancelled is False
        assert handle._loop is loop
        assert isinstance(handle._context, contextvars.Context)
        handle.cancel()
        assert handle._callback is None
        assert handle._args is None
        assert handle._cancelled is True

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="came with Python 3.12")
    def test_get_context(self, schedule):
        context = contextvars.copy_context()
        assert schedule(nothing, context=context).get_context() is context

    def test_can_be_referenced_weakly(self, schedule):
        handle = schedule(nothing)
        assert weakref.ref(handle)() is handle

    def test_methods_take_no_arguments(self, schedule):
        handle = schedule(nothing)
        for method in handle.cancel, handle.cancelled:
            with pytest.raises(TypeError):
                method(1)
        assert not handle.cancelled()

    @pytest.mark.parametrize("attack", ["cancel", "close", "schedule"])
    def test_dropping_arguments_may_run_anything(self, loop_factory, attack):
        class Attacker:
            def __del__(self):
                match attack:
                    case "cancel":
                        handle.cancel()
                    case "close":
                        loop.close()
                    case "schedule":
                        loop.call_soon(nothing)
                gc.collect()

        loop = loop_factory()
        handle = loop.call_soon(nothing, Attacker())
        handle.cancel()
        gc.collect()
        loop.close()


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize(
    "call",
    ["loop.call_soon(", "loop.call_soon_threadsafe(", "loop.call_later(0, ", "loop.call_at(loop.time(), "],
    ids=["soon", "threadsafe", "later", "at"],
)
class TestFinaliserBeforeTheCallback:
    """The context of the callback before holds the last reference to an object, whose finaliser runs anything.

    It runs before the second callback or after it: asyncio keeps that context longer.
    """

    @pytest.fixture
    def program(self, script, call, debug):
        """Two callbacks, and the finaliser between them that calls act(handle of the second)."""

        def program(act):
            return script(f"""
                import contextvars, threading

                variable = contextvars.ContextVar("variable")
                mark = contextvars.ContextVar("mark", default="nothing")
                handles, ran, kept = [], [], []
                loop = new_loop()
                loop.set_debug({debug})

                def act(handle):
                    {act}

                def use_another_context():
                    kept.append(contextvars.Context())
                    kept[-1].run(mark.set, "another callback's")

                class Value:
                    def __del__(self):
                        for handle in handles:
                            act(handle)

                def callback(number):
                    ran.append((number, mark.get()))

                def schedule():
                    variable.set(Value())
                    loop.call_soon(callback, 1)
                    variable.set(None)
                    handles.append({call}callback, 2))

                mark.set("own")
                contextvars.copy_context().run(schedule)
                loop.call_later(0.01, loop.stop)
                loop.run_forever()
                print(ran)
                handles.clear()
                loop.close()
            """).stdout.strip()

        return program

    def test_may_cancel_it(self, program):
        assert program("handle.cancel()") in ("[(1, 'own')]", "[(1, 'own'), (2, 'own')]")

    def test_may_cancel_it_in_another_thread(self, program):
        act = "thread = threading.Thread(target=handle.cancel); thread.start(); thread.join(0.2)"
        assert program(act) in ("[(1, 'own')]", "[(1, 'own'), (2, 'own')]")

    def test_may_ask_for_its_context(self, program):
        assert program("kept.append(handle._context); use_another_context()") == "[(1, 'own'), (2, 'own')]"

    def test_may_use_its_context(self, program):
        """It runs in the context that was asked for: what is set there, it sees, if it runs after that."""
        seen = program("handle._context.run(mark.set, 'set by the finaliser'); use_another_context()")
        assert seen in ("[(1, 'own'), (2, 'own')]", "[(1, 'own'), (2, 'set by the finaliser')]")

    def test_may_run_it(self, program):
        assert program("handle._run(); use_another_context()").startswith("[(1, 'own'), (2, 'own'), (2, ")


class TestRepr:
    @pytest.fixture(params=[False, True], ids=["", "debug"])
    def debug(self, request, loop):
        loop.set_debug(request.param)
        return request.param

    @pytest.mark.parametrize("args", [(), (1, "two"), ("x" * 1000,)], ids=len)
    def test_of_a_pending_handle_is_as_stocks(self, loop, debug, args):
        handle, stock = loop.call_soon(nothing, *args), asyncio.Handle(nothing, args, loop)
        assert repr(handle) == repr(stock)
        assert repr(handle).startswith("<Handle nothing(")
        assert ("created at" in repr(handle)) is debug

    @pytest.mark.parametrize("callback", [nothing, functools.partial(nothing, 1, b=2), len, [].append, 42])
    def test_of_each_kind_of_callback_is_as_stocks(self, loop, callback):
        loop.set_debug(False)
        handle = loop.call_soon(callback)
        assert repr(handle) == repr(asyncio.Handle(callback, (), loop))
        handle.cancel()

    def test_of_a_cancelled_handle_is_as_stocks(self, loop, debug):
        handle, stock = loop.call_soon(nothing, 1), asyncio.Handle(nothing, (1,), loop)
        handle.cancel()
        stock.cancel()
        assert repr(handle) == repr(stock)
        assert repr(handle).startswith("<Handle cancelled")

    def test_of_a_timer_is_as_stocks(self, loop, debug):
        when = loop.time() + 100
        handle, stock = loop.call_at(when, nothing), asyncio.TimerHandle(when, nothing, (), loop)
        assert repr(handle) == repr(stock)
        assert repr(handle).startswith(f"<TimerHandle when={when} nothing(")
        handle.cancel()
        stock.cancel()
        assert repr(handle) == repr(stock)
        assert repr(handle).startswith(f"<TimerHandle cancelled when={when}")

    def test_contains_a_failing_repr_of_an_argument(self, loop):
        class Odd:
            def __repr__(self):
                raise ZeroDivisionError

        loop.set_debug(True)
        assert "nothing(" in repr(loop.call_soon(nothing, Odd()))

    def test_failing_repr_does_not_keep_it_from_being_cancelled(self, schedule, loop, turn, seen):
        def callback():
            seen.append("ran")

        loop.set_debug(True)
        handle = schedule(callback)
        callback.__wrapped__ = callback  # no repr can be made of that
        with pytest.raises(ValueError, match="wrapper loop"):
            handle.cancel()
        assert handle.cancelled()
        turn()
        assert seen == []

    def test_cancelled_in_debug_mode_it_is_nothing_to_run_outside_of_it(self, schedule, loop, turn, seen):
        loop.set_debug(True)
        handle = schedule(seen.append, "ran")
        handle.cancel()
        loop.set_debug(False)
        turn()
        assert seen == []
        assert " cancelled" in repr(handle)

    def test_source_traceback_is_there_in_debug_mode_only(self, loop, debug):
        handle = loop.call_soon(nothing)
        if debug:
            assert handle._source_traceback[-1].name == "test_source_traceback_is_there_in_debug_mode_only"
        else:
            assert handle._source_traceback is None


class TestTimerHandle:
    def test_when_is_the_deadline_of_call_at(self, loop):
        assert loop.call_at(loop.time() + 12.5, nothing).when() == pytest.approx(loop.time() + 12.5, abs=1)
        when = loop.time() + 99
        handle = loop.call_at(when, nothing)
        assert handle.when() == handle._when == when
        handle.cancel()
        assert handle.when() == when

    def test_when_is_the_object_that_call_at_got(self, loop):
        class Seconds(float):
            pass

        soon = loop.time() + 100
        for when in (int(soon), soon, Seconds(soon), Fraction(int(soon)), True):
            handle = loop.call_at(when, nothing)
            assert handle.when() is handle._when is when
            assert hash(handle) == hash(when)
            handle.cancel()
            assert handle.when() is when

    def test_when_of_call_later_is_of_the_class_that_adding_makes(self, loop):
        class Delay:
            def __radd__(self, now):
                return Fraction(now) + 5

        assert type(loop.call_later(5, nothing).when()) is float
        assert type(loop.call_later(Fraction(5), nothing).when()) is float
        assert type(loop.call_later(Delay(), nothing).when()) is Fraction

    def test_its_deadline_may_refer_to_the_handle(self, loop_factory):
        class Seconds(float):
            pass

        loop = loop_factory()
        when = Seconds(loop.time() + 100)
        when.handle = loop.call_at(when, nothing)
        loop.close()
        freed = weakref.ref(when)
        del when
        gc.collect()
        assert freed() is None

    def test_when_is_the_time_of_call_later_plus_its_delay(self, loop):
        before = loop.time()
        when = loop.call_later(10, nothing).when()
        assert before + 10 <= when <= loop.time() + 10

    def test_order_is_by_deadline(self, loop):
        base = loop.time() + 100
        early, late = loop.call_at(base, nothing), loop.call_at(base + 1, nothing)
        assert early < late
        assert early <= late
        assert late > early
        assert late >= early
        assert not early > late
        assert not early >= late
        assert sorted([late, early]) == [early, late]

    def test_equality_is_by_content(self, loop):
        when = loop.time() + 100
        one, two = loop.call_at(when, nothing, 1), loop.call_at(when, nothing, 1)
        assert one == two
        assert one <= two
        assert one >= two
        assert hash(one) == hash(two) == hash(when)
        assert one != loop.call_at(when + 1, nothing, 1)
        assert one != loop.call_at(when, len, 1)
        assert one != loop.call_at(when, nothing, 2)
        two.cancel()
        assert one != two

    def test_compares_with_stock_handles(self, loop):
        when = loop.time() + 100
        mine = loop.call_at(when, nothing)
        assert mine == asyncio.TimerHandle(when, nothing, (), loop)
        assert mine < asyncio.TimerHandle(when + 1, nothing, (), loop)

    def test_does_not_compare_with_anything_else(self, loop):
        handle = loop.call_at(loop.time() + 100, nothing)
        assert (handle == 1) is False
        assert (handle != 1) is True
        assert handle != loop.call_soon(nothing)
        for compare in "__lt__", "__le__", "__gt__", "__ge__", "__eq__":
            assert getattr(handle, compare)(1) is NotImplemented
        with pytest.raises(TypeError):
            handle < 1  # noqa: B015

    def test_failing_comparison_of_arguments_is_raised(self, loop):
        class Odd:
            def __eq__(self, other):
                raise ZeroDivisionError

        when = loop.time() + 100
        one, two = (loop.call_at(when, nothing, Odd()) for _ in range(2))
        with pytest.raises(ZeroDivisionError):
            one == two  # noqa: B015


def test_handles_compare_by_identity(loop):
    one, two = loop.call_soon(nothing), loop.call_soon(nothing)
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_handles_are_not_mixed_up_when_memory_is_reused(loop, turn):
    seen = []
    for i in range(100):
        loop.call_soon(seen.append, i)
        loop.call_soon(nothing).cancel()
        loop.call_later(0, seen.append, 100 + i)
        loop.call_later(100, seen.append, "never").cancel()
        turn()
    assert seen == [value for i in range(100) for value in (i, 100 + i)]


class TestContextAfterwards:
    """A handle's context is the one its callback ran in, with what that has set."""

    @pytest.fixture
    def var(self):
        return contextvars.ContextVar("var")

    @pytest.mark.parametrize("method", ["call_soon", "call_later"])
    def test_variable_set_by_the_callback(self, loop, turn, var, method):
        args = (0,) if method == "call_later" else ()
        handles = [getattr(loop, method)(*args, var.set, i) for i in range(3)]
        turn(3)
        assert [handle._context[var] for handle in handles] == [0, 1, 2]

    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
    def test_asked_for_by_the_callback_itself(self, loop, turn, var, method):
        def callback():
            var.set("before")
            context = handle._context
            with pytest.raises(RuntimeError, match="is already entered"):
                context.run(int)
            seen.append(context[var])
            var.set("after")
            seen.append(context[var])
            seen.append(handle._context is context)

        seen = []
        args = (0,) if method == "call_later" else ()
        handle = getattr(loop, method)(*args, callback)
        turn(2)
        assert seen == ["before", "after", True]

    def test_variable_set_before_an_exception(self, loop, turn, var):
        def fail():
            var.set("set")
            raise ZeroDivisionError

        loop.set_exception_handler(lambda loop, context: seen.append(context["handle"]._context[var]))
        seen = []
        loop.call_soon(fail)
        turn()
        assert seen == ["set"]

    def test_variable_is_not_seen_by_the_next_callback(self, loop, turn, var):
        seen = []
        loop.call_soon(var.set, 1)
        loop.call_soon(lambda: seen.append(var.get(None)))
        turn()
        loop.call_soon(lambda: seen.append(var.get(None)))
        turn()
        assert seen == [None, None]

    def test_reader_keeps_its_variables(self, loop, turn, var):
        def read():
            seen.append(var.get(None))
            var.set(len(seen))

        seen = []
        a, b = socket.socketpair()
        with a, b:
            a.send(b"x")
            loop.add_reader(b, read)
            turn(3)
            loop.remove_reader(b)
        assert seen[:3] == [None, 1, 2]


@pytest.mark.parametrize("method", ["call_soon(", "call_later(0, ", "call_soon_threadsafe("])
def test_a_long_chain_of_handles_is_freed(script, method):
    done = script(f"""
        loop = new_loop()
        handle = None
        for i in range(400_000):
            handle = loop.{method}id, handle)
        loop.call_later(0, loop.stop)
        loop.run_forever()
        del handle
        loop.close()
        print("freed")
    """)
    assert done.stdout.split() == ["freed"]


class TestValuesOfAContext:
    """They live no longer than those who have it: the callbacks, and whoever scheduled them."""

    @pytest.fixture
    def make(self):
        """Makes an object that nobody holds but a variable of the current context, and a weak reference to it."""

        class Value:
            pass

        var = contextvars.ContextVar("var")

        def make():
            value = Value()
            var.set(value)
            return weakref.ref(value)

        return make

    def test_value_set_by_the_callback_is_freed_in_the_turn(self, loop, make, seen):
        loop.call_soon(lambda: seen.append(make()))
        loop.call_soon(lambda: seen.append(seen[0]()), context=contextvars.Context())
        loop.call_soon(loop.stop, context=contextvars.Context())
        loop.run_forever()
        assert seen[1] is None

    def test_value_set_by_the_caller_is_freed_before_the_loop_waits(self, loop, make, seen):
        def schedule():
            seen.append(make())
            loop.call_soon(int)

        contextvars.Context().run(schedule)
        loop.call_later(0.1, lambda: seen.append(seen[0]()), context=contextvars.Context())
        loop.call_later(0.1, loop.stop, context=contextvars.Context())
        loop.run_forever()
        assert seen[1] is None

    @pytest.mark.parametrize("end", ["stopped", "closed"])
    def test_value_set_by_the_caller_is_freed_when_the_loop_ends(self, loop, make, end):
        def schedule():
            watch = make()
            loop.call_soon(int)
            return watch

        watch = contextvars.Context().run(schedule)
        if end == "stopped":
            loop.call_soon(loop.stop, context=contextvars.Context())
            loop.run_forever()
        else:
            loop.close()
        assert watch() is None


class TestContextOfOnesOwn:
    """Whatever has a run() will do."""

    def test_is_asked_to_run_the_callback(self, loop, turn, seen):
        class Context:
            def run(self, function, *args):
                seen.append((function, args))
                return function(*args)

        context = Context()
        loop.call_soon(seen.append, 1, context=context)
        loop.call_later(0, max, 1, 2, 3, context=context)
        turn()
        assert seen == [(seen.append, (1,)), 1, (max, (1, 2, 3))]

    def test_without_run_is_reported(self, loop, turn, reports):
        loop.call_soon(nothing, context=5)
        turn()
        (report,) = reports()
        assert isinstance(report["exception"], AttributeError)
