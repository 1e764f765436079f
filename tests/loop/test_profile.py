"""asyncloop.profile() and loop.set_slow_callback_log(): asyncio has no such thing."""

import asyncio
import functools
import logging
import math
import socket
import sys
import threading
import time

import pytest

import asyncloop


@pytest.fixture
def kind():
    return "asyncloop"


@pytest.fixture(params=[False, True], ids=["plain", "debug"])
def either(request, loop):
    """The loop, in debug mode or not."""
    loop.set_debug(request.param)
    return loop


async def turns(n):
    for _ in range(n):
        await asyncio.sleep(0)


def block(seconds=0.02):
    time.sleep(seconds)


def by_name(timings):
    return {timing.name: timing for timing in timings}


class TestProfile:
    def test_steps_of_tasks_by_the_name_of_their_coroutine(self, either):
        with asyncloop.profile(either) as profile:
            either.run_until_complete(turns(10))
        timing = by_name(profile.tasks)["turns"]
        assert timing.count == 11
        assert 0 < timing.mean <= timing.longest <= timing.seconds

    def test_callbacks_by_their_qualified_name(self, either):
        with asyncloop.profile(either) as profile:
            for _ in range(3):
                either.call_soon(block)
            either.call_later(0.001, functools.partial(functools.partial(block), 0.02))
            either.run_until_complete(asyncio.sleep(0.05))
        timing = by_name(profile.callbacks)["block"]
        assert timing.count == 4
        assert timing.seconds >= 0.06
        assert 0.015 <= timing.longest < timing.seconds
        assert profile.callbacks[0].name == "block"  # the most seconds first

    def test_transports_by_their_protocol(self, loop):
        class Sink(asyncio.Protocol):
            def data_received(self, data):
                got.set_result(data)

        async def main():
            transport, _ = await loop.create_connection(Sink, sock=a)
            b.send(b"hello")
            await got
            transport.close()
            await turns(2)

        a, b = socket.socketpair()
        got = loop.create_future()
        with b, asyncloop.profile(loop) as profile:
            loop.run_until_complete(main())
        assert by_name(profile.callbacks)[f"SocketTransport of {Sink.__qualname__}"].count >= 2

    def test_tasks_of_asyncios_own_type(self, loop):
        loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
        with asyncloop.profile(loop) as profile:
            loop.run_until_complete(turns(3))
        names = set(by_name(profile.tasks)) | set(by_name(profile.callbacks))
        assert "turns" in names or any("Task" in name for name in names)

    def test_nothing_is_measured_before_and_after(self, loop):
        profile = asyncloop.profile(loop)
        loop.run_until_complete(turns(1))
        assert profile.tasks == profile.callbacks == []
        with profile:
            loop.run_until_complete(turns(1))
        before = profile.tasks
        loop.run_until_complete(turns(1))
        assert profile.tasks == before != []

    def test_several_at_once(self, loop):
        with asyncloop.profile(loop) as outer:
            loop.run_until_complete(turns(10))
            with asyncloop.profile(loop) as inner:
                loop.run_until_complete(turns(10))
        assert by_name(outer.tasks)["turns"].count == 2 * by_name(inner.tasks)["turns"].count == 22

    def test_it_begins_and_ends_within_a_step(self, loop):
        async def main():
            with asyncloop.profile() as profile:
                await turns(3)
                assert profile.tasks  # while it is on
            return profile

        (timing,) = loop.run_until_complete(main()).tasks
        assert timing.name == main.__qualname__
        assert timing.count == 2  # the steps in which it began and ended are not whole

    def test_names_without_end_are_one(self, loop):
        def make(i):
            def callback():
                pass

            callback.__qualname__ = f"callback-{i}"
            return callback

        with asyncloop.profile(loop) as profile:
            for i in range(3000):
                loop.call_soon(make(i))
            loop.run_until_complete(turns(1))
        assert len(profile.callbacks) == 2001
        assert by_name(profile.callbacks)["(others)"].count >= 999

    def test_a_name_that_fails_or_is_none(self, either):
        class Evil:
            def __getattr__(self, name):
                raise ZeroDivisionError if name in ("__qualname__", "func") else AttributeError(name)

            def __call__(self):
                pass

        class Closing:
            def __getattribute__(self, name):
                if name == "__qualname__":
                    handle.cancel()
                    return 5
                return object.__getattribute__(self, name)

            def __call__(self):
                raise AssertionError

        with asyncloop.profile(either) as profile:
            either.call_soon(Evil())
            handle = either.call_soon(Closing())
            either.call_soon(type("Nameless", (), {"__call__": lambda self: None})())
            either.run_until_complete(turns(1))
        names = by_name(profile.callbacks)
        assert any("Evil" in name for name in names)
        assert "Nameless" in names

    def test_no_task_is_current_while_a_name_is_asked_for(self, loop):
        seen = []

        class Nosy:
            def __getattribute__(self, name):
                if name == "__qualname__":
                    seen.append(asyncio.current_task())
                return object.__getattribute__(self, name)

            def __call__(self):
                pass

        async def main():
            loop.call_soon(Nosy())
            await turns(2)

        with asyncloop.profile(loop):
            loop.run_until_complete(main())
        assert seen and set(seen) == {None}

    def test_exceptions_are_reported_as_always(self, loop):
        def fail():
            raise ZeroDivisionError

        with asyncloop.profile(loop) as profile:
            loop.call_soon(fail)
            loop.call_soon(sys.exit, 3)
            with pytest.raises(SystemExit):
                loop.run_until_complete(turns(3))
        assert [type(context["exception"]) for context in loop.unhandled] == [ZeroDivisionError]
        loop.unhandled.clear()
        assert "exit" in by_name(profile.callbacks)
        loop.run_until_complete(turns(3))

    def test_another_thread_reads_it(self, loop):
        stop = threading.Event()

        def read():
            while not stop.is_set():
                for timing in profile.tasks + profile.callbacks:
                    assert timing.count >= 1

        with asyncloop.profile(loop) as profile:
            thread = threading.Thread(target=read)
            thread.start()
            loop.run_until_complete(turns(2000))
            stop.set()
            thread.join()
        assert by_name(profile.tasks)["turns"].count == 2001

    def test_it_is_entered_once(self, loop):
        profile = asyncloop.profile(loop)
        with profile:
            pass
        with pytest.raises(RuntimeError, match="only once"), profile:
            pass

    def test_a_loop_that_is_closed_within(self, loop_factory):
        loop = loop_factory()
        with asyncloop.profile(loop) as profile:
            loop.run_until_complete(turns(1))
            loop.close()
        assert profile.tasks

    @pytest.mark.parametrize("wrong", [1, "loop", asyncio.AbstractEventLoop()])
    def test_only_our_loops_have_profiles(self, wrong):
        with pytest.raises(TypeError, match="must be an asyncloop.Loop"):
            asyncloop.profile(wrong)

    def test_without_a_loop(self):
        with pytest.raises(RuntimeError):
            asyncloop.profile()

    def test_a_dict_of_something_else(self, loop):
        with pytest.raises(TypeError):
            loop._read_profile({"name": bytearray(3)})
        with pytest.raises(TypeError):
            loop._read_profile([])


class TestSlowLog:
    def test_a_slow_callback_is_logged(self, loop, caplog):
        loop.set_slow_callback_log(0.01)
        loop.call_soon(block)
        loop.call_soon(int)
        loop.run_until_complete(turns(3))
        (record,) = caplog.records
        assert record.name == "asyncio" and record.levelno == logging.WARNING
        assert record.msg == "Executing %s took %.3f seconds"
        assert "block" in record.getMessage()
        assert record.args[1] >= 0.015
        assert loop.metrics().slow_callbacks == 1

    def test_a_slow_step_is_logged_as_in_debug_mode(self, loop, caplog):
        async def main():
            block()
            await asyncio.sleep(0)
            block()

        loop.set_slow_callback_log(0.01)
        loop.run_until_complete(main())
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2
        assert "<Task pending" in messages[0] and "main()" in messages[0]
        assert "<Task finished" in messages[1]

    def test_none_turns_it_off(self, loop, caplog):
        loop.set_slow_callback_log(0.01)
        loop.set_slow_callback_log(None)
        loop.call_soon(block)
        loop.run_until_complete(turns(2))
        assert caplog.records == []

    def test_zero_logs_everything(self, loop, caplog):
        loop.set_slow_callback_log(0)
        loop.run_until_complete(turns(2))
        assert len(caplog.records) >= 3

    def test_infinity_logs_nothing(self, loop, caplog):
        loop.set_slow_callback_log(math.inf)
        loop.call_soon(block)
        loop.run_until_complete(turns(2))
        assert caplog.records == []

    def test_debug_mode_has_its_own_limit(self, loop, caplog):
        loop.set_debug(True)
        loop.set_slow_callback_log(0.001)
        loop.slow_callback_duration = 10
        loop.call_soon(block)
        loop.run_until_complete(turns(2))
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_an_exception_of_the_callback_is_reported_and_logged(self, loop, caplog):
        def fail():
            block()
            raise ZeroDivisionError

        loop.set_slow_callback_log(0.01)
        loop.call_soon(fail)
        loop.run_until_complete(turns(2))
        assert len(loop.unhandled) == 1
        loop.unhandled.clear()
        assert len(caplog.records) == 1

    def test_a_logging_handler_may_do_anything(self, loop, caplog):
        class Closing(logging.Handler):
            def emit(self, record):
                loop.set_slow_callback_log(None)
                loop.stop()
                raise ZeroDivisionError

        handler = Closing()
        logging.getLogger("asyncio").addHandler(handler)
        unraisable = []
        old, sys.unraisablehook = sys.unraisablehook, lambda hook: unraisable.append(hook.exc_type)
        try:
            loop.set_slow_callback_log(0.01)
            loop.call_soon(block)
            loop.call_soon(block)
            loop.run_forever()
        finally:
            sys.unraisablehook = old
            logging.getLogger("asyncio").removeHandler(handler)
        assert unraisable == [ZeroDivisionError]
        assert loop.metrics().slow_callbacks == 1

    @pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, -math.inf])
    def test_a_limit_below_zero(self, loop, seconds):
        with pytest.raises(ValueError, match="must not be negative"):
            loop.set_slow_callback_log(seconds)

    @pytest.mark.parametrize("seconds", ["1", [], object()])
    def test_a_limit_that_is_no_number(self, loop, seconds):
        with pytest.raises(TypeError):
            loop.set_slow_callback_log(seconds)
