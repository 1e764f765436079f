"""Future: states, results, exceptions, cancellation, awaiting."""

import asyncio
import copy
import pickle
import sys
import traceback
import types
import weakref

import pytest
import stock


def test_future_is_a_future_to_asyncio(future):
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert asyncio.ensure_future(future) is future


def test_create_future_makes_the_loops_own_kind(loop, Future):
    assert type(loop.create_future()) is Future
    assert loop.create_future().get_loop() is loop


def test_pending_future_has_no_result_and_no_exception(future, loop):
    assert not future.done()
    assert not future.cancelled()
    assert future.get_loop() is loop
    with pytest.raises(asyncio.InvalidStateError, match="^Result is not set.$"):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match="^Exception is not set.$"):
        future.exception()


@pytest.mark.parametrize("value", [None, 42, (1, 2), (), ValueError("a value"), StopIteration(3), NotImplemented])
def test_result_comes_back_as_it_is(future, loop, value):
    assert future.set_result(value) is None
    assert future.done()
    assert not future.cancelled()
    assert future.result() is value
    assert future.exception() is None
    assert loop.run_until_complete(future) is value


@pytest.mark.parametrize("exception", [ValueError("x"), KeyboardInterrupt(), BaseException(), TimeoutError()])
def test_exception_comes_back_as_it_is(future, exception):
    assert future.set_exception(exception) is None
    assert future.done()
    assert not future.cancelled()
    assert future.exception() is exception
    with pytest.raises(type(exception)) as raised:
        future.result()
    assert raised.value is exception


def test_exception_class_is_instantiated(future):
    future.set_exception(ValueError)
    assert type(future.exception()) is ValueError
    assert future.exception().args == ()


@pytest.mark.parametrize("bad", [42, None, "error", int, object()])
def test_set_exception_takes_only_exceptions(future, bad):
    with pytest.raises(TypeError, match="^invalid exception object$"):
        future.set_exception(bad)
    assert not future.done()


@pytest.mark.parametrize("stop", [StopIteration, StopIteration(1)])
def test_stop_iteration_is_refused_or_wrapped_as_by_the_running_python(future, loop, stop):
    text = "StopIteration interacts badly with generators and cannot be raised into a Future"
    stock = asyncio.Future(loop=loop)
    try:
        stock.set_exception(stop)
    except TypeError:  # before 3.11.8, 3.12.2
        with pytest.raises(TypeError, match=f"^{text}$"):
            future.set_exception(stop)
        assert not future.done()
    else:
        assert str(stock.exception()) == text
        future.set_exception(stop)
        with pytest.raises(RuntimeError, match=f"^{text}$") as raised:
            future.result()
        assert isinstance(raised.value.__cause__, StopIteration)
        assert raised.value.__context__ is raised.value.__cause__


def test_class_derived_from_stop_iteration_is_wrapped_or_taken_as_by_the_running_python(Future, loop):
    class Stop(StopIteration):
        pass

    stock, future = asyncio.Future(loop=loop), Future(loop=loop)
    stock.set_exception(Stop(1))
    future.set_exception(Stop(1))
    assert repr(future.exception()) == repr(stock.exception())


@pytest.mark.parametrize("finish", ["set_result", "set_exception", "cancel"])
def test_finished_future_cannot_be_set_again(future, finish):
    getattr(future, finish)(*{"set_result": [1], "set_exception": [ValueError()], "cancel": []}[finish])
    with pytest.raises(asyncio.InvalidStateError, match="invalid state"):
        future.set_result(2)
    with pytest.raises(asyncio.InvalidStateError, match="invalid state"):
        future.set_exception(KeyError())
    if finish == "set_exception":
        assert type(future.exception()) is ValueError


def test_cancel_makes_reads_raise_cancelled_error(future):
    assert future.cancel() is True
    assert future.done()
    assert future.cancelled()
    assert future.cancel() is False
    for read in future.result, future.exception:
        with pytest.raises(asyncio.CancelledError) as raised:
            read()
        assert raised.value.args == ()


@pytest.mark.parametrize("message", ["why", "", 0, ("a", "tuple")])
def test_cancel_message_becomes_the_only_argument(Future, loop, message):
    for read in "result", "exception":
        future = Future(loop=loop)
        future.cancel(msg=message)
        with pytest.raises(asyncio.CancelledError) as raised:
            getattr(future, read)()
        assert raised.value.args == (message,)


def test_cancel_message_reaches_the_awaiting_task(loop, future):
    async def wait():
        with pytest.raises(asyncio.CancelledError) as raised:
            await future
        return raised.value.args

    loop.call_soon(future.cancel, "why")
    assert loop.run_until_complete(wait()) == ("why",)


@pytest.mark.parametrize("finish", ["result", "exception"])
def test_cancel_of_a_finished_future_does_nothing(future, finish):
    getattr(future, f"set_{finish}")(ValueError())
    assert future.cancel("late") is False
    assert not future.cancelled()
    assert isinstance(getattr(future, finish)(), ValueError)


def test_traceback_does_not_grow_over_repeated_raises(future):
    future.set_exception(ValueError("x"))
    lengths = set()
    for _ in range(5):
        try:
            future.result()
        except ValueError as exc:
            lengths.add(len(traceback.extract_tb(exc.__traceback__)))
    assert len(lengths) == 1


def test_traceback_of_the_setter_is_kept(future):
    def fail():
        raise ValueError

    try:
        fail()
    except ValueError as exc:
        future.set_exception(exc)
    with pytest.raises(ValueError) as raised:
        future.result()
    assert "fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]


class TestBadArguments:
    def test_constructor_refuses_bad_arguments(self, Future, loop):
        with pytest.raises(TypeError):
            Future(loop)
        with pytest.raises(TypeError):
            Future(lop=loop)
        with pytest.raises(AttributeError, match="get_debug"):
            Future(loop=object())

    @pytest.mark.parametrize("name", ["set_result", "set_exception", "add_done_callback", "remove_done_callback"])
    def test_setters_take_one_argument(self, future, name):
        with pytest.raises(TypeError):
            getattr(future, name)()
        with pytest.raises(TypeError):
            getattr(future, name)(1, 2)
        assert not future.done()

    @pytest.mark.parametrize("name", ["result", "exception", "done", "cancelled", "get_loop"])
    def test_readers_take_no_argument(self, future, name):
        with pytest.raises(TypeError):
            getattr(future, name)(1)

    def test_cancel_takes_one_message(self, future):
        with pytest.raises(TypeError):
            future.cancel("a", "b")
        with pytest.raises(TypeError):
            future.cancel(message="a")
        assert not future.done()

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copies_are_refused(self, future, copier):
        with pytest.raises(TypeError, match="pickle"):
            copier(future)


UNINITIALISED = {
    "result": [],
    "exception": [],
    "set_result": [1],
    "set_exception": [ValueError()],
    "add_done_callback": [print],
    "remove_done_callback": [print],
    "cancel": [],
    "get_loop": [],
    "__await__": [],
    "__repr__": [],
}


@pytest.mark.parametrize("name", UNINITIALISED)
def test_future_without_init_raises(Future, name):
    future = Future.__new__(Future)
    assert not future.done()
    assert not future.cancelled()
    with pytest.raises((RuntimeError, asyncio.InvalidStateError), match="not initialized|uninitialized"):
        getattr(future, name)(*UNINITIALISED[name])


@pytest.mark.parametrize("name", ["_state", "_result", "_exception", "_callbacks", "_log_traceback"])
def test_attribute_of_a_future_without_init_raises(Future, Task, name):
    for kind in (Future, Task):
        with pytest.raises(RuntimeError, match="not initialized"):
            getattr(kind.__new__(kind), name)


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="refused since 3.15: the test below")
def test_init_again_makes_it_pending(future, loop):
    future.set_result(1)
    future.__init__(loop=loop)
    assert not future.done()
    future.set_result(2)
    assert future.result() == 2


@pytest.mark.skipif(sys.version_info < (3, 15), reason="taken until 3.15: the test above")
def test_init_again_is_refused(future, loop):
    future.set_result(1)
    with pytest.raises(RuntimeError, match="Future object is already initialized$"):
        future.__init__(loop=loop)
    assert future.result() == 1


class TestDefaultLoop:
    @pytest.fixture(autouse=True)
    def no_current_loop(self):
        asyncio.set_event_loop(None)
        yield
        asyncio.set_event_loop(None)

    def test_running_loop_is_the_default(self, loop, Future):
        async def make():
            return Future(), Future(loop=None)

        assert [future.get_loop() for future in loop.run_until_complete(make())] == [loop, loop]

    def test_current_loop_is_the_default_if_none_runs(self, loop, Future):
        asyncio.set_event_loop(loop)
        assert Future().get_loop() is loop

    def test_future_without_a_loop_is_refused(self, Future):
        with pytest.raises(RuntimeError, match="There is no current event loop"):
            Future()


class TestPrivateNames:
    """Private attributes that libraries read."""

    def test_show_the_state_and_the_outcome(self, Future, loop):
        pending, done, failed, cancelled = (Future(loop=loop) for _ in range(4))
        done.set_result(1)
        failed.set_exception(error := ValueError())
        cancelled.cancel("why")
        assert [f._state for f in (pending, done, failed, cancelled)] == [
            "PENDING",
            "FINISHED",
            "FINISHED",
            "CANCELLED",
        ]
        assert [f._result for f in (pending, done, failed, cancelled)] == [None, 1, None, None]
        assert [f._exception for f in (pending, done, failed, cancelled)] == [None, None, error, None]
        assert [f._cancel_message for f in (pending, done, failed, cancelled)] == [None, None, None, "why"]
        assert [f._log_traceback for f in (pending, done, failed, cancelled)] == [False, False, True, False]
        failed.exception()
        assert failed._log_traceback is False

    def test_loop_is_the_one_given(self, future, loop):
        assert future._loop is loop

    @pytest.mark.parametrize("name", ["_state", "_result", "_exception", "_callbacks", "_loop", "_source_traceback"])
    def test_cannot_be_set(self, future, name):
        with pytest.raises(AttributeError):
            setattr(future, name, None)

    def test_log_traceback_can_only_be_reset(self, future):
        future.set_exception(ValueError())
        with pytest.raises(ValueError, match="^_log_traceback can only be set to False$"):
            future._log_traceback = True
        future._log_traceback = False
        assert future._log_traceback is False

    def test_blocking_flag_is_a_bool(self, future):
        assert future._asyncio_future_blocking is False
        future._asyncio_future_blocking = 1
        assert future._asyncio_future_blocking is True

    @pytest.mark.parametrize("name", ["_asyncio_future_blocking", "_log_traceback", "_cancel_message"])
    def test_cannot_be_deleted(self, future, name):
        with pytest.raises(AttributeError):
            delattr(future, name)

    def test_cancel_message_can_be_set(self, future):
        future._cancel_message = "later"
        assert future._cancel_message == "later"
        assert future._make_cancelled_error().args == ("later",)

    def test_make_cancelled_error_has_the_message(self, future):
        assert future._make_cancelled_error().args == ()
        future.cancel("why")
        assert future._make_cancelled_error().args == ("why",)

    def test_source_traceback_in_debug_mode_only(self, Future, loop):
        loop.set_debug(False)
        assert Future(loop=loop)._source_traceback is None
        loop.set_debug(True)
        assert len(Future(loop=loop)._source_traceback) == len(traceback.extract_stack())
        frame = Future(loop=loop)._source_traceback[-1]
        assert frame.name == "test_source_traceback_in_debug_mode_only"


class TestAwait:
    def test_yields_the_future_and_returns_its_result(self, future):
        steps = future.__await__()
        assert next(steps) is future
        assert future._asyncio_future_blocking is True
        future.set_result((1, 2))
        with pytest.raises(StopIteration) as stopped:
            next(steps)
        assert stopped.value.value == (1, 2)

    def test_iter_does_the_same(self, future):
        assert next(iter(future)) is future

    @pytest.mark.parametrize("value", [(1, 2), (), StopIteration(1), ValueError("v"), None])
    def test_done_future_stops_at_once(self, future, value):
        future.set_result(value)
        with pytest.raises(StopIteration) as stopped:
            future.__await__().send(None)
        assert stopped.value.value is value

    def test_failed_future_raises_at_once(self, future):
        future.set_exception(ValueError("x"))
        with pytest.raises(ValueError, match="^x$"):
            next(future.__await__())

    def test_cancelled_future_raises_at_once(self, future):
        future.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="^why$"):
            next(future.__await__())

    def test_resuming_too_early_is_refused(self, future):
        steps = future.__await__()
        next(steps)
        with pytest.raises(RuntimeError, match="^await wasn't used with future$"):
            next(steps)

    @pytest.mark.parametrize("thrown", [ValueError("x"), ValueError])
    def test_throw_raises_and_ends_the_iterator(self, future, thrown):
        steps = future.__await__()
        next(steps)
        with pytest.raises(ValueError):
            steps.throw(thrown)
        assert not future.done()
        if type(future) is not asyncio.Future or not stock.FREE_THREADED:  # asyncio's own crashes in 3.14.7t
            with pytest.raises(StopIteration):
                next(steps)

    @pytest.mark.parametrize("context", [None, KeyError("cause")])
    def test_throw_inside_an_except_block_keeps_the_context(self, future, context):
        error = ValueError("x")
        error.__context__ = context
        steps = future.__await__()
        next(steps)
        with pytest.raises(ValueError, match="^x$"):
            try:
                raise LookupError("around")
            except LookupError:
                try:
                    steps.throw(error)
                finally:
                    seen = error.__context__  # pytest.raises() itself is outside
        assert seen is context

    @pytest.mark.parametrize(
        ("args", "message"), [((), "at least 1 argument, got 0"), ((1, 2, 3, 4), "at most 3 arguments, got 4")]
    )
    def test_throw_counts_its_arguments(self, future, args, message):
        with pytest.raises(TypeError, match=f"^throw expected {message}$"):
            future.__await__().throw(*args)

    def test_result_is_returned_again_from_314_on(self, future):
        """From 3.14 the iterator of a done future returns the result each time."""
        future.set_result(5)
        steps = future.__await__()
        results = []
        for _ in range(2):
            with pytest.raises(StopIteration) as stopped:
                next(steps)
            results.append(stopped.value.value)
        assert results == [5, 5 if sys.version_info >= (3, 14) else None]

    def test_throw_of_what_is_no_exception_is_refused(self, future):
        with pytest.raises(TypeError):
            future.__await__().throw(42)
        with pytest.raises(TypeError):
            future.__await__().throw()

    def test_close_ends_the_iterator(self, future):
        steps = future.__await__()
        next(steps)
        assert steps.close() is None
        if type(future) is not asyncio.Future or not stock.FREE_THREADED:  # asyncio's own crashes in 3.14.7t
            with pytest.raises(StopIteration):
                next(steps)
        with pytest.raises(KeyError):
            steps.throw(KeyError)

    def test_two_iterators_are_independent(self, future):
        first, second = future.__await__(), future.__await__()
        assert next(first) is future
        future._asyncio_future_blocking = False  # what a Task does when it has seen the future
        assert next(second) is future
        future.set_result(1)
        for steps in first, second:
            with pytest.raises(StopIteration):
                next(steps)

    def test_iterator_keeps_the_future_alive(self, Future, loop):
        steps = Future(loop=loop).__await__()
        future = next(steps)
        watch = weakref.ref(future)
        del future
        assert watch() is not None
        steps.close()
        if stock.FREE_THREADED:
            del steps  # ours keeps it for another thread that may be asking for it
        assert watch() is None

    def test_yield_from_in_a_generator_returns_the_result(self, future, run):
        @types.coroutine
        def old_style():
            return (yield from future)

        future.get_loop().call_soon(future.set_result, 7)
        assert run(old_style()) == 7

    def test_all_waiting_tasks_are_woken(self, future, loop, run):
        async def wait():
            return await future

        async def main():
            waiting = [loop.create_task(wait()) for _ in range(5)]
            await asyncio.sleep(0)
            future.set_result("go")
            return await asyncio.gather(*waiting)

        assert run(main()) == ["go"] * 5

    def test_one_task_may_await_twice(self, future, run):
        async def main():
            return await future, await future

        future.get_loop().call_soon(future.set_result, 1)
        assert run(main()) == (1, 1)


class TestObject:
    def test_can_be_subscripted(self, Future):
        alias = Future[int]
        assert isinstance(alias, types.GenericAlias)
        assert alias.__origin__ is Future
        assert alias.__args__ == (int,)

    def test_can_be_referenced_weakly(self, Future, loop):
        future = Future(loop=loop)
        watch = weakref.ref(future)
        assert watch() is future
        del future
        assert watch() is None

    def test_takes_attributes(self, future):
        future.note = "mine"
        assert future.note == "mine"
        del future.note
        assert not hasattr(future, "note")

    def test_hash_and_equality_are_identity(self, Future, loop):
        one, two = Future(loop=loop), Future(loop=loop)
        assert one == one
        assert one != two
        assert len({one, two, one}) == 2

    def test_overridden_set_result_is_called(self, Future, loop):
        class Counting(Future):
            def __init__(self, *, loop):
                super().__init__(loop=loop)
                self.seen = []

            def set_result(self, result):
                self.seen.append(result)
                super().set_result(result)

        async def wait():
            return await future

        future = Counting(loop=loop)
        loop.call_soon(future.set_result, 3)
        assert loop.run_until_complete(wait()) == 3
        assert future.seen == [3]
        assert repr(future).startswith("<Counting finished result=3")

    def test_subclasses_of_subclasses_can_be_awaited(self, Future, Task, loop):
        """The C code finds its state in all of them, callable ones and those with slots as well."""

        class Mixin:
            __slots__ = ()

            def __call__(self):
                return "called"

        async def wait():
            return await future

        for base in Future, Task:
            callable_ = type("Callable", (Mixin, base), {})
            slotted = type("Slotted", (callable_,), {"__slots__": ("one", "two", "three")})
            last = type("Last", (slotted, Mixin), {"__call__": lambda self: "last"})
            for cls, answer in (callable_, "called"), (slotted, "called"), (last, "last"):
                if base is Future:
                    future = awaited = cls(loop=loop)
                else:
                    future = Future(loop=loop)
                    awaited = cls(wait(), loop=loop)
                assert awaited() == answer
                loop.call_soon(future.set_result, 5)
                assert loop.run_until_complete(awaited) == 5
                assert Future.result(awaited) == 5

    def test_reference_cycle_is_collected(self, Future, loop, reports):
        future = Future(loop=loop)
        future.me = future
        future.add_done_callback([future].append)
        watch = weakref.ref(future)
        del future
        assert reports() == []
        assert watch() is None

    def test_finished_future_drops_its_callbacks(self, future, turn):
        class Callback:
            def __call__(self, future):
                pass

        callback = Callback()
        watch = weakref.ref(callback)
        future.add_done_callback(callback)
        del callback
        future.set_result(1)
        turn()
        assert watch() is None


class TestRepr:
    @pytest.fixture(autouse=True)
    def not_debugging(self, loop):
        loop.set_debug(False)

    def test_shows_state_and_outcome(self, Future, loop):
        pending, done, failed, cancelled = (Future(loop=loop) for _ in range(4))
        done.set_result([1])
        failed.set_exception(ValueError("x"))
        failed.exception()
        cancelled.cancel("why")
        assert repr(pending) == "<Future pending>"
        assert repr(done) == "<Future finished result=[1]>"
        assert repr(failed) == "<Future finished exception=ValueError('x')>"
        assert repr(cancelled) == "<Future cancelled>"

    def test_long_results_are_shortened(self, future):
        future.set_result("x" * 10_000)
        assert len(repr(future)) < 200

    @pytest.mark.parametrize(
        "count, expected",
        [
            (1, "cb=[cb0() at {0}]"),
            (2, "cb=[cb0() at {0}, cb1() at {0}]"),
            (5, "cb=[cb0() at {0}, <3 more>, cb4() at {0}]"),
        ],
    )
    def test_shows_the_first_and_the_last_callback(self, future, count, expected):
        for i in range(count):
            namespace = {}
            exec(compile(f"def cb{i}(f): pass", "some.py", "exec"), namespace)
            future.add_done_callback(namespace[f"cb{i}"])
        assert repr(future) == f"<Future pending {expected.format('some.py:1')}>"

    def test_debug_mode_says_where_it_was_made(self, Future, loop):
        loop.set_debug(True)
        line = sys._getframe().f_lineno + 1
        future = Future(loop=loop)
        assert repr(future) == f"<Future pending created at {__file__}:{line}>"

    def test_of_a_future_that_is_its_own_result_ends(self, future):
        future.set_result(future)
        assert "result=<Future finished result=" in repr(future) or "..." in repr(future)

    def test_failing_repr_of_the_result_is_contained(self, future):
        class Odd:
            def __repr__(self):
                raise ZeroDivisionError

        future.set_result(Odd())
        assert "finished" in repr(future)


class TestNeverRetrieved:
    def test_is_reported_with_the_exception(self, Future, loop, reports):
        error = ValueError("x")
        Future(loop=loop).set_exception(error)
        (report,) = reports()
        assert report.keys() - {"source_traceback"} == {"message", "exception", "future"}
        assert report["message"] == "Future exception was never retrieved"
        assert report["exception"] is error
        assert isinstance(report["future"], Future)

    def test_report_names_the_subclass(self, Future, loop, reports):
        class Special(Future):
            pass

        Special(loop=loop).set_exception(ValueError())
        assert [report["message"] for report in reports()] == ["Special exception was never retrieved"]

    def test_debug_mode_adds_the_traceback(self, Future, loop, reports):
        loop.set_debug(True)
        Future(loop=loop).set_exception(ValueError())
        (report,) = reports()
        assert report["source_traceback"][-1].filename == __file__

    @pytest.mark.parametrize("retrieve", ["result", "exception", "_log_traceback", "await"])
    def test_is_not_reported_after_it_was_read(self, future, loop, reports, retrieve):
        future.set_exception(ValueError())
        if retrieve == "exception":
            future.exception()
        elif retrieve == "_log_traceback":
            future._log_traceback = False
        else:
            with pytest.raises(ValueError):
                future.result() if retrieve == "result" else loop.run_until_complete(future)
        del future
        assert reports() == []

    def test_cancelled_or_pending_future_is_not_reported(self, Future, loop, reports):
        Future(loop=loop).cancel()
        Future(loop=loop)
        assert reports() == []

    def test_reported_future_is_usable_and_reported_once(self, Future, loop, reports):
        Future(loop=loop).set_exception(ValueError("x"))
        (report,) = reports()
        assert str(report.pop("future").exception()) == "x"
        del report
        assert reports() == []

    def test_failing_handler_is_contained(self, Future, loop, caplog):
        def handler(loop, context):
            raise ZeroDivisionError

        loop.set_exception_handler(handler)
        Future(loop=loop).set_exception(ValueError())
        assert "ZeroDivisionError" in caplog.text
