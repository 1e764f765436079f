"""The exception handler trio: set, get, call, and the default handler."""

import asyncio
import concurrent.futures
import contextvars
import logging
import socket
import sys
import threading

import pytest


def test_default_is_none(loop_factory):
    loop = loop_factory()
    assert loop.get_exception_handler() is None
    loop.close()


def test_handler_can_be_set_and_reset(loop):
    def handler(loop, context):
        pass

    assert loop.set_exception_handler(handler) is None
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


@pytest.mark.parametrize("bad", [42, "handler", object()])
def test_must_be_callable(loop, bad):
    before = loop.get_exception_handler()
    with pytest.raises(TypeError, match="^A callable object or None is expected, got "):
        loop.set_exception_handler(bad)
    assert loop.get_exception_handler() is before


def test_call_passes_loop_and_context(loop):
    calls = []
    loop.set_exception_handler(lambda *args: calls.append(args))
    context = {"message": "told"}
    assert loop.call_exception_handler(context) is None
    assert calls == [(loop, context)]
    assert calls[0][1] is context


def test_failing_callback_is_reported_with_its_handle(loop, turn, reports):
    def fail(argument):
        raise ValueError(argument)

    loop.set_debug(False)
    handle = loop.call_soon(fail, "x")
    callback = repr(handle).removeprefix("<Handle ").removesuffix(">")
    turn()
    (report,) = reports()
    assert report.keys() == {"message", "exception", "handle"}
    assert report["message"] == f"Exception in callback {callback}"
    assert report["exception"].args == ("x",)
    assert report["handle"] is handle


def test_failing_timer_is_reported_with_its_handle(loop, turn, reports):
    handle = loop.call_later(0, lambda: 1 / 0)
    turn()
    (report,) = reports()
    assert report["handle"] is handle
    assert report["message"].startswith("Exception in callback ")


def test_debug_mode_adds_the_traceback_of_the_handle(loop, turn, reports):
    loop.set_debug(True)
    loop.call_soon(lambda: 1 / 0)
    turn()
    (report,) = reports()
    assert report["source_traceback"][-1].filename == __file__


def test_handler_is_called_at_once_and_the_turn_goes_on(loop, turn):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append("handler"))
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(seen.append, "rest")
    turn()
    assert seen == ["handler", "rest"]


@pytest.mark.parametrize("error", [BaseException, GeneratorExit])
def test_base_exceptions_of_callbacks_are_reported_too(loop, turn, reports, error):
    def fail():
        raise error

    loop.call_soon(fail)
    turn()
    assert [type(report["exception"]) for report in reports()] == [error]


def test_handler_finds_the_exception_in_sys_exc_info(loop, turn):
    """Handlers that call logging.exception() rely on it."""
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(sys.exc_info()[1] is context["exception"]))
    loop.call_soon(lambda: 1 / 0)
    turn()
    assert seen == [True]
    assert sys.exc_info()[1] is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since Python 3.12")
def test_handler_runs_in_the_context_of_the_callback(loop, turn):
    var = contextvars.ContextVar("var", default="outside")
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(var.get()))
    context = contextvars.copy_context()
    context.run(var.set, "inside")
    loop.call_soon(lambda: 1 / 0, context=context)
    turn()
    assert seen == ["inside"]


class TestBrokenHandler:
    def test_is_reported_by_the_default_handler(self, loop, turn, caplog):
        def handler(loop, context):
            raise KeyError("broken")

        loop.set_exception_handler(handler)
        loop.call_soon(lambda: 1 / 0)
        turn()
        (record,) = caplog.records
        assert record.name == "asyncio"
        assert record.getMessage().startswith("Unhandled error in exception handler\ncontext: {'message': ")
        assert record.exc_info[0] is KeyError

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_exit_leaves_the_loop(self, loop, turn, error):
        seen = []

        def handler(loop, context):
            raise error

        loop.set_exception_handler(handler)
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(seen.append, "rest")
        with pytest.raises(error):
            loop.run_forever()
        assert not loop.is_running()
        turn()
        assert seen == ["rest"]

    def test_broken_override_of_the_default_handler_is_logged(self, loop, turn, caplog):
        def broken(context):
            raise KeyError("broken")

        loop.set_exception_handler(None)
        loop.default_exception_handler = broken
        loop.call_soon(lambda: 1 / 0)
        turn()
        assert caplog.records[0].getMessage() == "Exception in default exception handler"
        del loop.default_exception_handler

    def test_handler_that_is_no_function_of_two_arguments(self, loop, turn, caplog):
        loop.set_exception_handler(lambda: None)
        loop.call_soon(lambda: 1 / 0)
        turn()
        assert "Unhandled error in exception handler" in caplog.text

    def test_handler_may_replace_itself(self, loop, turn):
        seen = []

        def handler(loop, context):
            loop.set_exception_handler(lambda loop, context: seen.append("second"))
            seen.append("first")

        loop.set_exception_handler(handler)
        del handler
        for _ in range(2):
            loop.call_soon(lambda: 1 / 0)
        turn()
        assert seen == ["first", "second"]

    def test_handler_may_stop_the_loop(self, loop):
        loop.set_exception_handler(lambda loop, context: loop.stop())
        loop.call_soon(lambda: 1 / 0)
        loop.run_forever()


class TestDefaultHandler:
    @pytest.fixture(autouse=True)
    def default(self, loop):
        loop.set_exception_handler(None)

    def test_logs_message_keys_and_exception(self, loop, caplog):
        error = ValueError("x")
        loop.call_exception_handler({"message": "told", "exception": error, "zebra": 1, "apple": "a"})
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("asyncio", logging.ERROR)
        assert record.getMessage() == "told\napple: 'a'\nzebra: 1"
        assert record.exc_info[1] is error

    @pytest.mark.parametrize("context", [{}, {"message": None}, {"message": ""}])
    def test_logs_a_default_message(self, loop, caplog, context):
        loop.call_exception_handler(context)
        assert caplog.records[0].getMessage() == "Unhandled exception in event loop"

    def test_logs_a_failing_callback(self, loop, turn, caplog):
        def fail():
            raise ValueError("x")

        handle = loop.call_soon(fail)
        text = repr(handle)
        turn()
        (record,) = caplog.records
        assert record.getMessage().startswith("Exception in callback ")
        assert f"handle: {text}" in record.getMessage()
        assert record.exc_info[0] is ValueError

    def test_debug_mode_says_where_it_was_made(self, loop, turn, caplog):
        loop.set_debug(True)
        loop.call_soon(lambda: 1 / 0)
        turn()
        assert "Object created at (most recent call last):\n" in caplog.text
        assert __file__ in caplog.text

    def test_debug_mode_says_where_the_current_handle_was_made(self, loop, turn, caplog):
        loop.set_debug(True)
        loop.call_soon(loop.call_exception_handler, {"message": "told"})
        turn()
        assert "handle_traceback: Handle created at (most recent call last):\n" in caplog.text

    def test_context_must_be_a_mapping(self, loop, caplog):
        loop.call_exception_handler(42)
        assert caplog.records[0].getMessage() == "Exception in default exception handler"


def test_override_of_call_exception_handler_is_obeyed(loop, turn, Future):
    seen = []
    loop.call_exception_handler = lambda context: seen.append(context["message"].split()[0])
    loop.call_soon(lambda: 1 / 0)
    turn()
    Future(loop=loop).set_exception(ValueError())
    del loop.call_exception_handler
    assert seen == ["Exception", "Future"]


class TestOverrideThatRaises:
    """call_exception_handler() has no right to; what it raises is not lost."""

    @pytest.fixture(autouse=True)
    def strict(self, loop):
        def strict(context):
            calls.append(context)
            raise context["exception"]

        calls = []
        loop.call_exception_handler = strict
        yield calls
        del loop.call_exception_handler

    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
    def test_for_a_callback_leaves_the_loop(self, loop, turn, method):
        seen = []
        getattr(loop, method)(*[0] * (method == "call_later"), lambda: 1 / 0)
        loop.call_later(0, seen.append, "rest")
        with pytest.raises(ZeroDivisionError):
            loop.run_forever()
        assert not loop.is_running()
        turn()
        assert seen == ["rest"]

    def test_for_a_reader_leaves_the_loop(self, loop):
        a, b = socket.socketpair()
        with a, b:
            b.send(b"x")
            loop.add_reader(a, lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                loop.run_forever()
            loop.remove_reader(a)

    def test_for_a_protocol_leaves_the_loop(self, loop):
        class Protocol(asyncio.Protocol):
            def data_received(self, data):
                raise ZeroDivisionError

        a, b = socket.socketpair()
        with b:
            transport, _ = loop.run_until_complete(loop.create_connection(Protocol, sock=a))
            b.send(b"x")
            with pytest.raises(ZeroDivisionError):
                loop.run_forever()
            transport.abort()
            loop.run_until_complete(asyncio.sleep(0))

    def test_for_handle_run_is_raised(self, loop):
        handle = loop.call_soon(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            handle._run()
        handle.cancel()

    def test_for_the_future_of_an_executor_leaves_the_loop(self, loop, strict):
        source = concurrent.futures.Future()
        follower = asyncio.wrap_future(source, loop=loop)
        follower.set_result("meanwhile")
        threading.Timer(0.01, source.set_exception, [ValueError()]).start()
        with pytest.raises(AssertionError):  # it has a result already
            loop.run_forever()
        assert len(strict) == 1
