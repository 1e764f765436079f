"""Waking the loop from other threads."""

import asyncio
import gc
import threading
import time
import weakref

import pytest


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def test_idle_loop_wakes_up(loop):
    def later():
        time.sleep(0.02)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(later)
    loop.run_forever()
    thread.join()


def test_loop_waiting_for_a_distant_timer_wakes_up(loop):
    handle = loop.call_later(3600, loop.stop)
    thread = in_thread(lambda: (time.sleep(0.02), loop.call_soon_threadsafe(loop.stop)))
    loop.run_forever()
    thread.join()
    handle.cancel()


def test_calls_made_before_the_loop_runs_are_kept(loop):
    calls = []
    in_thread(loop.call_soon_threadsafe, calls.append, 1).join()
    loop.call_soon(calls.append, 2)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == [1, 2]


def test_calls_run_in_the_loops_thread(loop):
    seen = []
    in_thread(loop.call_soon_threadsafe, lambda: (seen.append(threading.get_ident()), loop.stop())).join()
    loop.run_forever()
    assert seen == [threading.get_ident()]


def test_many_threads_lose_nothing_and_keep_their_order(loop):
    calls = []

    def call(i):
        for j in range(500):
            loop.call_soon_threadsafe(calls.append, (i, j))
        loop.call_soon_threadsafe(finished.append, i)

    finished = []
    threads = [in_thread(call, i) for i in range(8)]

    def check():
        if len(finished) == 8:
            loop.stop()
        else:
            loop.call_later(0.001, check)

    check()
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert len(calls) == 4000
    for i in range(8):
        assert [j for k, j in calls if k == i] == list(range(500))


def test_a_call_just_before_the_loop_falls_asleep_is_seen(loop):
    """Ping-pong: each side acts only once the other has; one missed wake-up and it hangs."""
    ping = threading.Event()
    rounds = 300

    def partner():
        for _ in range(rounds):
            assert ping.wait(20)
            ping.clear()
            loop.call_soon_threadsafe(answered)

    answers = []

    def answered():
        answers.append(1)
        if len(answers) == rounds:
            loop.stop()
        else:
            ping.set()

    thread = in_thread(partner)
    ping.set()
    loop.run_forever()
    thread.join()
    assert len(answers) == rounds


def test_handle_can_be_cancelled_from_its_thread(loop):
    calls = []
    in_thread(lambda: loop.call_soon_threadsafe(calls.append, 1).cancel()).join()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == []


def test_closed_loop_refuses(loop):
    errors = []

    def call():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as exc:
            errors.append(str(exc))

    loop.close()
    in_thread(call).join()
    assert errors == ["Event loop is closed"]


def test_closing_the_loop_drops_callbacks_that_never_ran(loop_factory):
    class Argument:
        pass

    loop = loop_factory()
    argument = Argument()
    ref = weakref.ref(argument)
    in_thread(loop.call_soon_threadsafe, print, argument).join()
    loop.close()
    del argument
    gc.collect()
    assert ref() is None


def test_threads_that_go_on_calling_while_the_loop_closes(loop_factory):
    """They get the result or RuntimeError; nothing worse."""
    for _ in range(20):
        loop = loop_factory()
        started = threading.Event()

        def call(loop=loop, started=started):
            try:
                while True:
                    loop.call_soon_threadsafe(lambda: None)
                    started.set()
            except RuntimeError:
                pass

        threads = [in_thread(call) for _ in range(2)]
        started.wait(20)
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        for thread in threads:
            thread.join()


def test_from_the_loops_own_thread_is_the_same(loop):
    calls = []
    loop.call_soon_threadsafe(calls.append, 1)
    loop.call_soon(calls.append, 2)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert calls == [1, 2]


def test_busy_loop_sees_calls_soon(loop):
    """A loop that always has something ready takes calls of other threads into its next turns."""
    turns = 0
    stop = False

    def spin():
        nonlocal turns
        turns += 1
        if stop or turns > 2_000_000:
            loop.stop()
        else:
            loop.call_soon(spin)

    def end():
        nonlocal stop
        stop = True

    loop.call_soon(spin)
    thread = in_thread(lambda: (time.sleep(0.01), loop.call_soon_threadsafe(end)))
    loop.run_forever()
    thread.join()
    assert stop


@pytest.mark.parametrize("n", [1, 50])
def test_executor_results_come_back(loop, run, n):
    async def main():
        return await asyncio.gather(*[loop.run_in_executor(None, pow, 2, i) for i in range(n)])

    assert run(main()) == [2**i for i in range(n)]


def test_loops_in_several_threads_wake_each_other(loop_factory):
    loops = [loop_factory() for _ in range(3)]
    passed = []

    def pass_on(i, hops):
        passed.append(i)
        if hops == 0:
            for loop in loops:
                loop.call_soon_threadsafe(loop.stop)
        else:
            following = (i + 1) % len(loops)
            loops[following].call_soon_threadsafe(pass_on, following, hops - 1)

    threads = [in_thread(loop.run_forever) for loop in loops]
    loops[0].call_soon_threadsafe(pass_on, 0, 299)
    for thread in threads:
        thread.join()
    for loop in loops:
        loop.close()
    assert passed == [i % 3 for i in range(300)]
