"""Debug mode: slow callbacks, calls from the wrong thread, where things were made."""

import asyncio
import gc
import logging
import sys
import threading
import time

import pytest


@pytest.fixture
def debug_loop(loop):
    loop.set_debug(True)
    return loop


@pytest.fixture
def slow(debug_loop, caplog):
    """Everything of a millisecond is slow; gives the logged texts about what has this name.

    (On a busy machine anything may take a millisecond.)
    """
    debug_loop.slow_callback_duration = 0.001
    caplog.set_level(logging.WARNING, logger="asyncio")

    def slow(name):
        texts = [record.getMessage() for record in caplog.records]
        return [text for text in texts if text.startswith("Executing ") and name in text]

    return slow


class TestSwitch:
    def test_default_is_that_of_the_interpreter(self, script):
        source = "loop = new_loop(); print(loop.get_debug()); loop.close()"
        assert script(source).stdout.strip() == "False"
        assert script(source, "-X", "dev").stdout.strip() == "True"

    def test_set_debug_takes_any_truth_value(self, loop):
        for value, expected in [(True, True), (False, False), (1, True), (0, False)]:
            loop.set_debug(value)
            assert bool(loop.get_debug()) is expected

    def test_set_debug_works_while_running(self, loop, run):
        async def main():
            for value in True, False, True, False:
                loop.set_debug(value)
                assert loop.get_debug() is value
                await asyncio.sleep(0)

        run(main())

    def test_slow_callback_duration_can_be_set(self, loop):
        assert loop.slow_callback_duration == 0.1
        loop.slow_callback_duration = 5
        assert loop.slow_callback_duration == 5

    def test_close_is_logged(self, debug_loop, caplog):
        caplog.set_level(logging.DEBUG, logger="asyncio")
        text = f"Close {debug_loop!r}"
        debug_loop.close()
        assert text in caplog.text


class TestSlow:
    def test_slow_callback_is_logged(self, debug_loop, turn, slow):
        debug_loop.call_soon(time.sleep, 0.003)
        turn()
        (text,) = slow("sleep(")
        assert text.startswith("Executing <Handle sleep(")
        assert f" created at {__file__}:" in text
        seconds = text.split(" took ")[1]
        assert seconds.endswith(" seconds")
        assert 0.003 <= float(seconds.removesuffix(" seconds")) < 10

    def test_slow_timer_is_logged(self, debug_loop, turn, slow):
        debug_loop.call_later(0, time.sleep, 0.003)
        turn()
        (text,) = slow("sleep(")
        assert text.startswith("Executing <TimerHandle when=")

    def test_is_measured_by_the_loops_clock(self, debug_loop, turn, slow):
        def jump():
            nonlocal now
            now += 5

        now = 1000.0
        debug_loop.time = lambda: now
        debug_loop.call_soon(jump)
        debug_loop.call_soon(time.sleep, 0.003)
        turn()
        del debug_loop.time
        (text,) = slow("jump(")
        assert text.endswith(" took 5.000 seconds")
        assert slow("sleep(") == []

    def test_failing_clock_ends_the_run(self, debug_loop, turn):
        seen = []
        debug_loop.call_soon(seen.append, 1)
        debug_loop.call_soon(lambda: setattr(debug_loop, "time", lambda: 1 / 0))
        debug_loop.call_soon(seen.append, 2)
        with pytest.raises(ZeroDivisionError):
            debug_loop.run_forever()
        del debug_loop.time
        turn()
        assert seen == [1, 2]
        assert debug_loop._current_handle is None

    def test_slow_step_of_a_task_is_logged(self, debug_loop, slow):
        async def main():
            await asyncio.sleep(0)
            time.sleep(0.003)

        debug_loop.run_until_complete(main())
        text = slow("TestSlow.test_slow_step_of_a_task_is_logged.<locals>.main() ")[-1]
        assert text.startswith("Executing <Task ")
        assert " created at " in text

    def test_failing_slow_callback_is_logged_and_reported(self, debug_loop, turn, slow, reports):
        def fail():
            time.sleep(0.003)
            raise ValueError

        debug_loop.call_soon(fail)
        turn()
        assert len(slow("fail(")) == 1
        assert len(reports()) == 1

    def test_fast_ones_are_not_mentioned(self, debug_loop, turn, slow):
        debug_loop.slow_callback_duration = 10
        debug_loop.call_soon(time.sleep, 0.003)
        turn()
        assert slow("") == []

    def test_nothing_is_logged_without_debug_mode(self, debug_loop, turn, slow):
        debug_loop.set_debug(False)
        debug_loop.call_soon(time.sleep, 0.003)
        turn()
        assert slow("") == []


class TestChecks:
    @pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
    def test_call_from_another_thread_is_refused(self, debug_loop, run, method):
        text = "^Non-thread-safe operation invoked on an event loop other than the current one$"

        def other():
            with pytest.raises(RuntimeError, match=text):
                getattr(debug_loop, method)(*[0] * (method != "call_soon"), print)
            debug_loop.call_soon_threadsafe(int)

        async def main():
            await debug_loop.run_in_executor(None, other)

        run(main())

    def test_call_from_another_thread_passes_without_debug_mode_or_while_not_running(self, debug_loop, run):
        def other():
            debug_loop.call_soon(int)

        async def main():
            debug_loop.set_debug(False)
            await debug_loop.run_in_executor(None, other)

        run(main())
        debug_loop.set_debug(True)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
    def test_callback_must_be_callable_and_no_coroutine(self, debug_loop, method):
        async def coroutine_function():
            pass

        call = getattr(debug_loop, method)
        first = [0] * (method in {"call_later", "call_at"})
        name = "call_at" if method == "call_later" else method
        with pytest.raises(TypeError, match=rf"^a callable object was expected by {name}\(\), got 42$"):
            call(*first, 42)
        with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {name}\(\)$"):
            call(*first, coroutine_function)
        coro = coroutine_function()
        with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {name}\(\)$"):
            call(*first, coro)
        coro.close()

    def test_run_in_executor_wants_a_function(self, debug_loop):
        with pytest.raises(TypeError, match=r"^a callable object was expected by run_in_executor\(\), got 42$"):
            debug_loop.run_in_executor(None, 42)


class TestSourceTracebacks:
    def here(self):
        return sys._getframe(1).f_lineno

    @pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
    def test_handle_says_where_it_was_made(self, debug_loop, method):
        first = [0] * (method in {"call_later", "call_at"})
        line = self.here() + 1
        handle = getattr(debug_loop, method)(*first, int)
        assert handle._source_traceback[-1].filename == __file__
        assert handle._source_traceback[-1].lineno == line
        assert repr(handle).endswith(f" created at {__file__}:{line}>")

    def test_future_and_task_say_where_they_were_made(self, debug_loop, Future, Task):
        line = self.here() + 2
        made = [
            Future(loop=debug_loop),
            Task(asyncio.sleep(0), loop=debug_loop),
            debug_loop.create_task(asyncio.sleep(0)),
        ]
        for i, each in enumerate(made):
            assert each._source_traceback[-1].filename == __file__
            assert each._source_traceback[-1].lineno == line + i
        debug_loop.run_until_complete(asyncio.wait(made[1:]))

    def test_there_is_none_without_debug_mode(self, loop, Future):
        loop.set_debug(False)
        assert loop.call_soon(int)._source_traceback is None
        assert Future(loop=loop)._source_traceback is None


class TestCoroutineOrigin:
    def test_is_tracked_while_running_in_debug_mode(self, debug_loop, run):
        async def main():
            coro = asyncio.sleep(0)
            origin = coro.cr_origin
            coro.close()
            return origin

        assert sys.get_coroutine_origin_tracking_depth() == 0
        origin = debug_loop.run_until_complete(main())
        assert origin[0][0] == __file__
        assert sys.get_coroutine_origin_tracking_depth() == 0

    def test_is_not_tracked_otherwise(self, loop):
        async def main():
            return sys.get_coroutine_origin_tracking_depth()

        loop.set_debug(False)
        assert loop.run_until_complete(main()) == 0

    def test_is_switched_while_running(self, debug_loop):
        async def main():
            seen = [sys.get_coroutine_origin_tracking_depth() > 0]
            for value in False, True:
                debug_loop.set_debug(value)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                seen.append(sys.get_coroutine_origin_tracking_depth() > 0)
            return seen

        assert debug_loop.run_until_complete(main()) == [True, False, True]
        assert sys.get_coroutine_origin_tracking_depth() == 0

    def test_earlier_depth_is_restored(self, debug_loop):
        sys.set_coroutine_origin_tracking_depth(3)
        try:
            debug_loop.run_until_complete(asyncio.sleep(0))
            assert sys.get_coroutine_origin_tracking_depth() == 3
        finally:
            sys.set_coroutine_origin_tracking_depth(0)

    def test_never_awaited_coroutine_says_where_it_was_made(self, debug_loop):
        async def main():
            asyncio.sleep(0)
            gc.collect()

        with pytest.warns(RuntimeWarning, match="was never awaited\nCoroutine created at") as caught:
            debug_loop.run_until_complete(main())
        assert __file__ in str(caught[0].message)
