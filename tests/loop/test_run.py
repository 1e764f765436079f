"""Running, stopping and closing a loop."""

import asyncio
import ctypes
import functools
import gc
import os
import signal
import sys
import threading
import time
import weakref

import pytest
import stock

import asyncloop


async def answer():
    return 42


class TestRunUntilComplete:
    def test_returns_the_result_of_coroutine_task_and_future(self, loop, Task, future):
        assert loop.run_until_complete(answer()) == 42
        assert loop.run_until_complete(Task(answer(), loop=loop)) == 42
        loop.call_soon(future.set_result, 1)
        assert loop.run_until_complete(future) == 1
        assert loop.run_until_complete(future) == 1

    def test_takes_a_stock_future(self, loop):
        future = asyncio.Future(loop=loop)
        loop.call_soon(future.set_result, 1)
        assert loop.run_until_complete(future) == 1

    def test_takes_an_awaitable_object(self, loop):
        class Awaitable:
            def __await__(self):
                yield
                return 7

        assert loop.run_until_complete(Awaitable()) == 7

    def test_raises_the_exception(self, loop):
        async def fail():
            raise ValueError("x")

        with pytest.raises(ValueError, match="^x$"):
            loop.run_until_complete(fail())

    def test_raises_cancelled_error_if_the_future_is_cancelled(self, loop, future):
        loop.call_soon(future.cancel, "why")
        with pytest.raises(asyncio.CancelledError, match="^why$"):
            loop.run_until_complete(future)

    def test_stopped_before_it_is_done(self, loop, future):
        loop.call_soon(loop.stop)
        with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
            loop.run_until_complete(future)
        assert not future._callbacks
        future.set_result(3)
        assert loop.run_until_complete(future) == 3

    @pytest.mark.parametrize("bad", [42, None, "coro", answer])
    def test_refuses_what_is_not_awaitable(self, loop, bad):
        with pytest.raises(TypeError, match="^An asyncio.Future, a coroutine or an awaitable is required$"):
            loop.run_until_complete(bad)

    def test_refuses_a_future_of_another_loop(self, loop, loop_factory, Future):
        other = loop_factory()
        with pytest.raises(ValueError, match="^The future belongs to a different loop"):
            loop.run_until_complete(Future(loop=other))
        other.close()

    def test_done_callback_is_asyncios_own(self, loop):
        """anyio knows the root task by it."""

        async def main():
            return [callback for callback, _ in asyncio.current_task()._callbacks]

        assert loop.run_until_complete(main()) == [asyncio.base_events._run_until_complete_cb]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_raises_the_exit_of_the_coroutine(self, loop, reports, error):
        async def leave():
            raise error("now")

        with pytest.raises(error, match="^now$"):
            loop.run_until_complete(leave())
        assert reports() == []
        assert loop.run_until_complete(answer()) == 42

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_raises_the_exit_of_another_task(self, loop, future, error):
        async def leave():
            raise error

        async def main():
            task = loop.create_task(leave())
            await future
            with pytest.raises(error):
                await task
            return "went on"

        main_task = loop.create_task(main())
        with pytest.raises(error):
            loop.run_until_complete(main_task)
        assert not main_task.done()
        loop.call_soon(future.set_result, 1)
        assert loop.run_until_complete(main_task) == "went on"

    def test_base_exception_of_the_coroutine_is_its_result(self, loop):
        class Special(BaseException):
            pass

        async def leave():
            raise Special

        with pytest.raises(Special):
            loop.run_until_complete(leave())
        assert loop.run_until_complete(answer()) == 42


class TestStop:
    def test_before_running_makes_one_turn(self, loop):
        seen = []
        loop.stop()
        loop.call_soon(seen.append, 1)
        loop.call_soon(lambda: loop.call_soon(seen.append, 2))
        loop.run_forever()
        assert seen == [1]
        loop.stop()
        loop.run_forever()
        assert seen == [1, 2]

    def test_rest_of_the_turn_still_runs(self, loop):
        seen = []
        loop.call_soon(seen.append, 1)
        loop.call_soon(loop.stop)
        loop.call_soon(seen.append, 2)
        loop.call_soon(lambda: loop.call_soon(seen.append, "next turn"))
        loop.run_forever()
        assert seen == [1, 2]

    def test_twice_is_once(self, loop):
        seen = []
        loop.stop()
        loop.stop()
        loop.run_forever()
        loop.call_later(0.001, seen.append, 1)
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        assert seen == [1]

    def test_from_a_thread_ends_the_run(self, loop):
        threading.Timer(0.005, loop.call_soon_threadsafe, [loop.stop]).start()
        loop.run_forever()
        assert not loop.is_running()

    def test_takes_no_argument(self, loop):
        with pytest.raises(TypeError):
            loop.stop(1)

    def test_waits_for_no_timer(self, loop):
        loop.call_later(1000, print)
        loop.stop()
        loop.run_forever()


class TestGoingToSleep:
    """What runs last before the loop sleeps, when it has found nothing to do already, may give it something."""

    @pytest.fixture
    def hung(self, loop):
        """Wakes a loop that sleeps all the same, after ten seconds, and tells of it."""
        hung = []
        timer = threading.Timer(10, lambda: (hung.append(True), loop.call_soon_threadsafe(loop.stop)))
        timer.start()
        yield hung
        timer.cancel()
        timer.join()

    @pytest.fixture(params=["stop", "call_later"])
    def act(self, loop, request):
        return loop.stop if request.param == "stop" else lambda: loop.call_later(0.001, loop.stop)

    def test_destructor_of_the_result_of_a_task_wakes_the_loop(self, loop, hung, act):
        class Result:
            def __del__(self):
                act()

        async def main():
            return Result()

        loop.create_task(main())
        loop.run_forever()
        assert hung == []

    def test_signal_handler_wakes_the_loop(self, loop, hung, act):
        strike = ctypes.PyDLL(None)["raise"]  # of C, so that no bytecode follows before the loop sleeps
        previous = signal.signal(signal.SIGUSR1, lambda *args: act())
        try:
            loop.call_soon(strike, int(signal.SIGUSR1))
            loop.run_forever()
        finally:
            signal.signal(signal.SIGUSR1, previous)
        assert hung == []

    @pytest.mark.skipif(stock.FREE_THREADED, reason="without a GIL no call of C begins a collection")
    @pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 collects within the callback")
    def test_destructor_of_garbage_wakes_the_loop(self, loop, hung, act):
        class Garbage:
            def __del__(self):
                act()

        def callback():
            gc.disable()
            gc.set_threshold(1)
            garbage = Garbage()
            garbage.itself = garbage
            del garbage
            gc.enable()
            return {1}, {2}, {3}, {4}  # a collection is due, and no bytecode follows that would run it

        threshold = gc.get_threshold()
        try:
            loop.call_soon(callback)
            loop.run_forever()
        finally:
            gc.set_threshold(*threshold)
        assert hung == []


class TestState:
    def test_is_running_is_true_during_a_run(self, loop):
        seen = []
        assert not loop.is_running()
        loop.call_soon(lambda: seen.append((loop.is_running(), asyncio.get_running_loop())))
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert seen == [(True, loop)]
        assert not loop.is_running()
        with pytest.raises(RuntimeError, match="^no running event loop$"):
            asyncio.get_running_loop()

    def test_running_loop_is_reset_after_an_exit(self, loop):
        def leave():
            raise SystemExit

        loop.call_soon(leave)
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert not loop.is_running()
        assert asyncio._get_running_loop() is None

    def test_get_event_loop_inside(self, loop, run):
        async def main():
            return asyncio.get_event_loop()

        assert run(main()) is loop

    def test_repr_tells_the_state(self, loop, kind):
        name, debug = type(loop).__name__, loop.get_debug()
        name = f"asyncloop.{name}" if kind == "asyncloop" else name
        assert repr(loop) == f"<{name} running=False closed=False debug={debug}>"
        seen = []
        loop.call_soon(lambda: seen.append(repr(loop)))
        loop.stop()
        loop.run_forever()
        assert seen == [f"<{name} running=True closed=False debug={debug}>"]
        loop.close()
        assert repr(loop) == f"<{name} running=False closed=True debug={debug}>"

    def test_thread_id_is_that_of_the_running_thread(self, loop, run):
        async def main():
            return loop._thread_id

        assert loop._thread_id is None
        assert run(main()) == threading.get_ident()
        assert loop._thread_id is None


@pytest.mark.stock_needs(not stock.SPOILS_THE_OUTER_RUN, reason="the outer loop takes itself for stopped")
class TestRunningTwice:
    def test_same_loop_is_refused(self, loop, future):
        def again():
            for run in loop.run_forever, lambda: loop.run_until_complete(future):
                with pytest.raises(RuntimeError, match="^This event loop is already running$"):
                    run()
            assert loop.is_running()
            assert asyncio.get_running_loop() is loop
            loop.stop()

        loop.call_soon(again)
        loop.run_forever()

    def test_another_loop_in_the_same_thread_is_refused(self, loop, loop_factory):
        def another():
            for run in other.run_forever, lambda: other.run_until_complete(other.create_future()):
                with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
                    run()
            assert not other.is_running()
            assert asyncio.get_running_loop() is loop
            loop.stop()

        other = loop_factory()
        loop.call_soon(another)
        loop.run_forever()
        other.call_soon(other.stop)
        other.run_forever()
        other.close()

    def test_same_loop_in_another_thread_is_refused(self, loop):
        seen = []

        def other():
            with pytest.raises(RuntimeError, match="^This event loop is already running$"):
                loop.run_forever()
            seen.append(loop.is_running())
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=other)
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        assert seen == [True]


def test_a_loop_may_run_in_one_thread_and_then_in_another(loop):
    assert loop.run_until_complete(answer()) == 42
    results = []
    thread = threading.Thread(target=lambda: results.append(loop.run_until_complete(answer())))
    thread.start()
    thread.join()
    assert results == [42]
    assert loop.run_until_complete(answer()) == 42


def test_many_loops_run_in_many_threads(loop_factory):
    results = []

    def one(i):
        async def main():
            await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(10)))
            return i

        loop = loop_factory()
        results.append(loop.run_until_complete(main()))
        loop.close()

    threads = [threading.Thread(target=one, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


class TestClose:
    def test_close_may_be_repeated(self, loop):
        assert not loop.is_closed()
        assert loop.close() is None
        assert loop.is_closed()
        loop.close()

    def test_close_while_running_is_refused(self, loop, run):
        async def main():
            with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
                loop.close()
            assert not loop.is_closed()
            await asyncio.sleep(0)
            return "went on"

        assert run(main()) == "went on"

    def test_close_from_another_thread_while_running_is_refused(self, loop, run):
        async def main():
            with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
                await loop.run_in_executor(None, loop.close)

        run(main())

    @pytest.mark.parametrize(
        "call",
        [
            lambda loop: loop.run_forever(),
            lambda loop: loop.run_until_complete(loop.create_future()),
            lambda loop: loop.call_soon(print),
            lambda loop: loop.call_soon_threadsafe(print),
            lambda loop: loop.call_later(1, print),
            lambda loop: loop.call_at(1, print),
            lambda loop: loop.run_in_executor(None, print),
        ],
        ids=[
            "run_forever",
            "run_until_complete",
            "call_soon",
            "call_soon_threadsafe",
            "call_later",
            "call_at",
            "run_in_executor",
        ],
    )
    def test_closed_loop_does_nothing(self, loop, call):
        loop.close()
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call(loop)

    def test_closed_loop_makes_no_task(self, loop, Task):
        loop.close()
        coro = answer()
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            loop.create_task(coro)
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            loop.run_until_complete(coro)
        coro.close()

    def test_methods_that_work_on_a_closed_loop(self, loop):
        loop.close()
        assert loop.time() > 0
        assert not loop.create_future().done()
        loop.stop()
        loop.set_debug(True)
        assert loop.get_debug()
        loop.set_exception_handler(None)
        assert not loop.is_running()

    def test_handles_of_a_closed_loop_may_be_cancelled(self, loop):
        handles = [loop.call_soon(print), loop.call_later(1, print), loop.call_later(2, print)]
        handles[1].cancel()
        loop.close()
        for handle in handles:
            handle.cancel()
            assert handle.cancelled()

    def test_task_that_is_cancelled_after_its_loop_was_closed(self, loop, Task, turn):
        async def main():
            await future

        future = loop.create_future()
        task = Task(main(), loop=loop)
        task._log_destroy_pending = False
        turn()
        loop.close()
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            task.cancel()
        task.get_coro().close()


class TestDestroyed:
    def test_unclosed_loop_warns_and_closes(self, loop_factory):
        loop = loop_factory()
        text = f"unclosed event loop {loop!r}"
        with pytest.warns(ResourceWarning) as caught:
            del loop
            gc.collect()
        assert text in [str(warning.message) for warning in caught]

    def test_closed_loop_does_not_warn_and_is_freed(self, loop_factory):
        loop = loop_factory()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        watch = weakref.ref(loop)
        del loop
        gc.collect()
        assert watch() is None

    def test_pending_tasks_of_a_destroyed_loop_are_closed(self, script):
        done = script("""
            import gc, sys

            async def wait():
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    print("closed")

            loop = new_loop()
            for _ in range(3):
                loop.create_task(wait())
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.close()
            del loop
            gc.collect()
            print("collected")
        """)
        assert done.stdout.split() == ["closed"] * 3 + ["collected"]
        assert done.stderr.count("Task was destroyed but it is pending!") == 3

    @pytest.mark.parametrize("closed", [True, False])
    def test_interpreter_ends_with_entries_queued(self, script, closed):
        done = script(f"""
            import warnings
            warnings.simplefilter("ignore")

            async def main():
                await asyncio.sleep(1000)

            loop = new_loop()
            task = loop.create_task(main())
            future = loop.create_future()
            future.add_done_callback(lambda f: print("called"))
            future.set_exception(ValueError("never seen"))
            loop.call_later(1000, print)
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.call_soon(print, "never run")
            if {closed}:
                loop.close()
        """)
        assert done.stdout.split() == ["called"]

    def test_interpreter_exit_while_a_thread_runs_a_loop(self, script):
        done = script("""
            import threading, time

            def run():
                loop = new_loop()
                loop.call_soon(started.set)
                loop.run_forever()

            started = threading.Event()
            threading.Thread(target=run, daemon=True).start()
            started.wait(10)
            print("leaving")
        """)
        assert done.stdout.split() == ["leaving"]


class TestThreadsafe:
    def test_wakes_a_sleeping_loop(self, loop):
        seen = []

        def wake():
            seen.append("woken")
            loop.stop()

        loop.call_later(0, threading.Timer(0.005, loop.call_soon_threadsafe, [wake]).start)
        loop.call_later(30, seen.append, "overslept")
        loop.run_forever()
        assert seen == ["woken"]

    def test_order_of_one_thread_is_kept(self, loop):
        seen = []

        def schedule():
            for i in range(1_000):
                loop.call_soon_threadsafe(seen.append, i)
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=schedule)
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        assert seen == list(range(1_000))

    def test_calls_of_many_threads_all_run(self, loop):
        seen = []
        threads = [
            threading.Thread(target=lambda: [loop.call_soon_threadsafe(count, 1) for _ in range(500)]) for _ in range(8)
        ]

        def count(n):
            seen.append(n)
            if len(seen) == 8 * 500:
                loop.stop()

        for thread in threads:
            loop.call_soon(thread.start)
        loop.run_forever()
        for thread in threads:
            thread.join()
        assert len(seen) == 8 * 500

    def test_calls_before_the_run_are_kept(self, loop, turn):
        seen = []
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[seen.append, 1])
        thread.start()
        thread.join()
        turn()
        assert seen == [1]

    def test_handle_can_be_cancelled(self, loop):
        seen = []

        def schedule():
            handle = loop.call_soon_threadsafe(seen.append, 1)
            handle.cancel()
            loop.call_soon_threadsafe(loop.stop)
            cancelled.append(handle.cancelled())

        cancelled = []
        thread = threading.Thread(target=schedule)
        # The thread schedules and cancels while this callback holds the loop.
        loop.call_soon(lambda: (thread.start(), thread.join()))
        loop.run_forever()
        assert cancelled == [True]
        assert seen == []

    def test_calls_during_close_run_or_raise(self, loop_factory):
        for _ in range(20):
            loop = loop_factory()
            errors = []

            def schedule(loop=loop, errors=errors):
                try:
                    while True:
                        loop.call_soon_threadsafe(int)
                except RuntimeError as exc:
                    errors.append(str(exc))

            thread = threading.Thread(target=schedule)
            thread.start()
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.close()
            thread.join()
            assert errors == ["Event loop is closed"]


def test_callbacks_that_are_all_in_c_leave_room_for_threads_and_signals(loop, run):
    """A loop that is never idle, with no line of Python in its turns, in which the interpreter would see to that."""
    again = functools.partial(print)
    again.__setstate__((loop.call_soon, (again,), {}, {}))
    ticks = []

    def tick():
        for _ in range(5):
            time.sleep(0.01)
            ticks.append(1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=tick)
    loop.call_soon(again)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    assert len(ticks) == 5


@pytest.mark.parametrize("pause", [0, 0.05])
def test_turns_without_a_run_end_when_the_loop_is_closed(pause):
    """Only a loop that runs refuses to be closed, and _run_until_stopped() alone does not make it run."""

    def close():
        loop.close()
        time.sleep(pause)  # the next poll comes late

    loop = asyncloop.Loop()
    loop.call_soon(close)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop._run_until_stopped()
