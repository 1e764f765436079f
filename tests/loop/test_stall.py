"""loop.on_stall(): asyncio has no such thing."""

import asyncio
import gc
import math
import os
import queue
import sys
import threading
import time
import weakref

import pytest

import asyncloop


@pytest.fixture
def kind():
    return "asyncloop"


@pytest.fixture(autouse=True)
def threads_end(request):
    """The threads of a test end with its loop, and drop what they have of it."""
    before = threading.active_count()
    loop = request.getfixturevalue("loop") if "loop" in request.fixturenames else None
    yield
    if loop is not None:
        loop.close()
    wait_for_thread_end(before)


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def wait_for_thread_end(count):
    end = time.monotonic() + 20
    while threading.active_count() > count and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= count


class TestReports:
    @pytest.mark.parametrize("blocking", [time.sleep, spin])
    def test_a_stall_is_reported_while_it_lasts_and_at_its_end(self, loop, blocking):
        reported = threading.Event()
        stalls = []

        def report(stall):
            stalls.append(stall)
            reported.set()

        def culprit():
            while not reported.is_set():
                blocking(0.05)

        async def main():
            culprit()
            await asyncio.sleep(0)
            while len(stalls) < 2:
                await asyncio.sleep(0.01)

        loop.on_stall(0.05, report)
        loop.run_until_complete(loop.create_task(main(), name="the culprit"))
        during, after = stalls[:2]
        assert not during.is_over and after.is_over
        assert 0.05 <= during.seconds <= after.seconds < 20
        assert during.task == after.task == "the culprit"
        assert during.thread == threading.get_ident()
        assert "culprit" in [frame.name for frame in during.stack]
        assert during.stack == after.stack
        names = [frame.name for frame in during.stack]
        assert names.index("main") < names.index("culprit")  # the innermost last
        assert "The event loop is blocked for" in str(during) and "'the culprit'" in str(during)
        assert "The event loop was blocked for" in str(after) and "culprit()" in str(after)

    def test_a_callback_that_is_no_task(self, loop):
        stalls = queue.Queue()
        loop.on_stall(0.02, stalls.put)
        loop.call_soon(time.sleep, 0.3)
        loop.run_until_complete(asyncio.sleep(0.05))
        assert stalls.get(timeout=20).task is None

    def test_many_short_callbacks_of_one_turn_are_a_stall(self, loop):
        stalls = queue.Queue()
        loop.on_stall(0.1, stalls.put)
        for _ in range(30):
            loop.call_soon(time.sleep, 0.02)
        loop.run_until_complete(asyncio.sleep(0))
        assert not stalls.get(timeout=20).is_over

    def test_one_report_a_stall(self, loop):
        stalls = []

        async def main():
            for _ in range(2):
                time.sleep(0.3)
                await asyncio.sleep(0.1)
            while len(stalls) < 4:
                await asyncio.sleep(0.01)

        loop.on_stall(0.03, stalls.append)
        loop.run_until_complete(main())
        assert [stall.is_over for stall in stalls[:4]] == [False, True, False, True]

    def test_a_loop_that_waits_or_does_not_run_is_not_blocked(self, loop):
        stalls = []
        loop.on_stall(0.15, stalls.append)
        loop.run_until_complete(asyncio.sleep(0.4))
        time.sleep(0.4)
        loop.run_until_complete(asyncio.sleep(0))
        assert [stall for stall in stalls if stall.stack and stall.seconds > 0.3] == []

    def test_several_watches(self, loop):
        short, long = queue.Queue(), queue.Queue()
        loop.on_stall(0.02, short.put)
        loop.on_stall(1000, long.put)
        loop.call_soon(time.sleep, 0.2)
        loop.run_until_complete(asyncio.sleep(0.02))
        assert short.get(timeout=20)
        assert long.empty()

    def test_a_callback_that_raises_is_reported(self, loop):
        def fail(stall):
            raise ZeroDivisionError

        async def main():
            time.sleep(0.2)
            while len(loop.unhandled) < 2:
                await asyncio.sleep(0.01)

        loop.on_stall(0.02, fail)
        loop.run_until_complete(main())
        messages = {context["message"] for context in loop.unhandled}
        assert messages == {"Exception in callback of on_stall()"}
        loop.unhandled.clear()


class TestEnd:
    def test_cancel(self, loop):
        before = threading.active_count()
        stalls = []
        watch = loop.on_stall(0.02, stalls.append)
        assert not watch.cancelled()
        watch.cancel()
        watch.cancel()
        assert watch.cancelled()
        wait_for_thread_end(before)
        loop.call_soon(time.sleep, 0.1)
        loop.run_until_complete(asyncio.sleep(0))
        assert stalls == []

    def test_cancel_in_the_callback(self, loop):
        stalls = []

        def once(stall):
            stalls.append(stall)
            watch.cancel()

        watch = loop.on_stall(0.02, once)
        before = threading.active_count() - 1
        loop.call_soon(time.sleep, 0.2)
        loop.call_later(0.25, time.sleep, 0.2)
        loop.run_until_complete(asyncio.sleep(0.5))
        wait_for_thread_end(before)
        assert len(stalls) == 1

    def test_close(self, loop):
        before = threading.active_count()
        watch = loop.on_stall(1000, print)
        loop.close()
        assert watch.cancelled()
        wait_for_thread_end(before)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.on_stall(1, print)

    def test_a_loop_that_is_dropped(self, loop_factory):
        before = threading.active_count()
        loop = loop_factory()
        reference = weakref.ref(loop)
        watch = loop.on_stall(0.05, print)
        with pytest.warns(ResourceWarning):
            del loop
            gc.collect()
        assert reference() is None
        watch.cancel()
        wait_for_thread_end(before)

    def test_the_end_of_the_program_does_not_wait(self, script):
        done = script(
            """
            import asyncloop, threading, time
            loop = asyncloop.new_event_loop()
            loop.on_stall(0.01, lambda stall: time.sleep(1000))
            loop.on_stall(1000, print)
            loop.call_soon(time.sleep, 0.1)
            loop.call_later(0.05, loop.stop)
            loop.run_forever()
            print("end")
            """
        )
        assert done.stdout == "end\n"

    def test_the_end_of_a_subinterpreter(self, script):
        if sys.version_info < (3, 13):
            pytest.skip("asyncio does not work in one with a GIL of its own")
        done = script(
            """
            import sys
            import _interpreters
            interpreter = _interpreters.create()
            source = f"import sys; sys.path[:] = {sys.path!r}\\n" + '''if True:
                import asyncio, asyncloop, time
                stalls = []
                async def main():
                    time.sleep(0.2)
                    while len(stalls) < 2:
                        await asyncio.sleep(0.01)
                loop = asyncloop.new_event_loop()
                loop.on_stall(0.02, stalls.append)
                loop.run_until_complete(main())
                print([stall.is_over for stall in stalls][:2], flush=True)
            '''
            error = _interpreters.run_string(interpreter, source)
            assert error is None, error
            _interpreters.destroy(interpreter)
            print("end")
            """
        )
        assert done.stdout == "[False, True]\nend\n"

    def test_a_child_process_has_none(self, script):
        done = script(
            """
            import asyncio, asyncloop, os, threading, time, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = asyncloop.new_event_loop()
            stalls = []
            watch = loop.on_stall(0.02, stalls.append)
            if (pid := os.fork()) == 0:
                assert watch.cancelled()
                loop.call_soon(time.sleep, 0.1)
                loop.run_until_complete(asyncio.sleep(0.01))
                assert stalls == [] and threading.active_count() == 1
                loop.on_stall(0.02, stalls.append)
                loop.call_soon(time.sleep, 0.2)
                loop.run_until_complete(asyncio.sleep(0.01))
                assert stalls
                loop.close()
                print("child", flush=True)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert status == 0
            loop.call_soon(time.sleep, 0.2)
            loop.run_until_complete(asyncio.sleep(0.01))
            assert stalls
            loop.close()
            """
        )
        assert done.stdout == "child\n"


class TestArguments:
    @pytest.mark.parametrize("threshold", [0, -1, -0.5, math.nan, math.inf])
    def test_a_threshold_that_is_not_positive(self, loop, threshold):
        with pytest.raises(ValueError, match="threshold must be positive and finite"):
            loop.on_stall(threshold, print)

    @pytest.mark.parametrize("threshold", [None, "1", [], True, 1j])
    def test_a_threshold_that_is_no_number(self, loop, threshold):
        with pytest.raises(TypeError, match="threshold must be a number"):
            loop.on_stall(threshold, print)

    def test_a_callback_that_cannot_be_called(self, loop):
        with pytest.raises(TypeError, match="callback must be callable"):
            loop.on_stall(1, None)

    def test_a_watchdog_is_not_made_by_hand(self):
        with pytest.raises(TypeError):
            asyncloop._core.Watchdog()

    def test_nothing_is_left_of_a_wrong_call(self, loop):
        before = threading.active_count()
        with pytest.raises(ValueError):
            loop.on_stall(-1, print)
        assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork()")
def test_a_stack_is_taken_from_a_thread_that_runs_on(loop):
    """On a free-threaded Python it does not stop meanwhile."""
    stalls = []

    def recurse(depth):
        if depth:
            recurse(depth - 1)

    async def main():
        for _ in range(5):
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                recurse(50)
            await asyncio.sleep(0)

    watches = [loop.on_stall(0.01, stalls.append) for _ in range(3)]
    loop.run_until_complete(main())
    for watch in watches:
        watch.cancel()
    assert all(isinstance(stall, asyncloop.Stall) for stall in stalls)
