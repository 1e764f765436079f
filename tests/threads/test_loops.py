"""Loops of several threads at the same time, and threads that hand work to a loop of another one.

With a GIL the threads take turns; on a free-threaded Python they run at once.
"""

import asyncio
import gc
import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stock

THREADS = 4

# How asyncio's own loop does this is not specified.
ours_only = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


def run_in_threads(function, count=THREADS):
    """Call function(number) in so many threads at once. -> what they return."""
    barrier = threading.Barrier(count)

    def call(number):
        barrier.wait(20)
        return function(number)

    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(call, range(count)))


@pytest.fixture
def running(loop_factory):
    """A loop that runs in a thread of its own."""
    loop = loop_factory()
    begun = threading.Event()
    loop.call_soon(begun.set)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert begun.wait(20)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    assert not thread.is_alive()
    loop.close()


async def work(rounds):
    """A bit of everything that loops do for tasks."""
    loop = asyncio.get_running_loop()
    total = 0

    async def add(number):
        nonlocal total
        await asyncio.sleep(0)
        total += number

    for _ in range(rounds):
        await asyncio.gather(*(add(number) for number in range(20)))
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        total += await future
        await asyncio.sleep(0.0001)
        task = loop.create_task(asyncio.sleep(100))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
    return total


async def echo(rounds):
    async def serve(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(rounds):
        message = b"%d\n" % number
        writer.write(message)
        assert await reader.readline() == message
    writer.close()
    await writer.wait_closed()
    server.close()
    return rounds


@pytest.mark.parametrize(("main", "result"), [(work, 191 * 30), (echo, 30)])
def test_loops_do_not_disturb_each_other(loop_factory, main, result):
    def run(_):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main(30))

    assert run_in_threads(run) == [result] * THREADS


def test_loops_come_and_go(loop_factory):
    def run(_):
        for _ in range(30):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                assert runner.run(asyncio.sleep(0, 5)) == 5
            gc.collect(0)

    run_in_threads(run)


def test_callbacks_of_other_threads_keep_their_order(running):
    seen = [[] for _ in range(THREADS)]

    def call(number):
        for i in range(1000):
            running.call_soon_threadsafe(seen[number].append, i)

    run_in_threads(call)
    done = threading.Event()
    running.call_soon_threadsafe(done.set)
    assert done.wait(20)
    assert seen == [list(range(1000))] * THREADS


def test_a_loop_that_waits_is_woken_each_time(running):
    for _ in range(300):
        done = threading.Event()
        running.call_soon_threadsafe(done.set)
        assert done.wait(20)


def test_coroutines_of_other_threads(running):
    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    def submit(number):
        return sum(asyncio.run_coroutine_threadsafe(double(number), running).result(20) for _ in range(100))

    assert run_in_threads(submit) == [200 * number for number in range(THREADS)]


def test_callbacks_of_several_threads_in_queues_that_the_program_has(script):
    done = script("""
        import collections, threading

        def fill(loop, ran, barrier):
            barrier.wait(20)
            for _ in range(600):
                loop.call_soon_threadsafe(ran.append, 1)

        for number in range(20):
            loop, ran, barrier = new_loop(), [], threading.Barrier(3)
            if number % 2:
                loop._ready = collections.deque()
            timers = loop._scheduled
            arguments = loop, ran, barrier
            threads = [threading.Thread(target=fill, args=arguments) for _ in range(3)]
            for thread in threads:
                thread.start()
            for _ in range(300):
                loop.call_later(0, ran.append, 1)
            for thread in threads:
                thread.join()
            loop.call_later(0.01, loop.stop)
            loop.run_forever()
            assert len(ran) == 2100
            loop.close()
        print("end")
    """)
    assert done.stdout.split() == ["end"]


def test_cancel_of_a_callback_by_another_thread(running):
    """It is either run or cancelled."""
    ran = []

    def call(number):
        cancelled = 0
        for i in range(300):
            handle = running.call_soon_threadsafe(ran.append, (number, i))
            handle.cancel()
            cancelled += handle.cancelled()
        return cancelled

    assert run_in_threads(call) == [300] * THREADS
    done = threading.Event()
    running.call_soon_threadsafe(done.set)
    assert done.wait(20)
    assert len(ran) == len(set(ran))


def test_close_while_others_call_in(loop_factory):
    """A callback is taken, or RuntimeError says that the loop is closed."""
    for _ in range(30):
        loop = loop_factory()
        begun = threading.Barrier(THREADS + 1)

        def call(_, loop=loop, begun=begun):
            begun.wait(20)
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                while True:
                    loop.call_soon_threadsafe(int)

        with ThreadPoolExecutor(THREADS) as executor:
            calls = [executor.submit(call, number) for number in range(THREADS)]
            begun.wait(20)
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
            loop.close()
            for done in calls:
                done.result(20)


def test_a_loop_runs_in_one_thread_only(running):
    with pytest.raises(RuntimeError, match="already running"):
        running.run_until_complete(running.create_future())
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        running.close()


@ours_only
def test_of_two_threads_that_begin_to_run_a_loop_one_does(kind):
    """The other one changes nothing: the loop still runs, may be stopped, and may not be closed."""
    import asyncloop

    checked = threading.Barrier(2)

    class Loop(asyncloop.Loop):
        def _check_running(self):
            super()._check_running()
            checked.wait(20)

    loop = Loop()
    loop.set_debug(True)
    failed = queue.SimpleQueue()

    def run():
        try:
            loop.run_forever()
        except RuntimeError as exc:
            failed.put((str(exc), asyncio._get_running_loop(), sys.get_coroutine_origin_tracking_depth()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert failed.get(timeout=20) == ("This event loop is already running", None, 0)
    assert loop.is_running()
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.close()
    loop.call_soon_threadsafe(loop.stop)
    for thread in threads:
        thread.join(20)
    assert failed.empty()
    assert not loop.is_running()
    loop.close()


@ours_only
@pytest.mark.parametrize("backend", [None, "poll"])
def test_turn_by_hand_in_another_thread(kind, backend):
    """While it waits, others neither close the loop nor run it."""
    import asyncloop

    loop = asyncloop.Loop(backend=backend)
    thread = threading.Thread(target=loop._run_once)
    woken = []
    loop.call_later(60, int)
    thread.start()
    time.sleep(0.1)  # now it waits
    for what in loop._run_once, loop.run_forever:
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            what()
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.close()
    assert not loop.is_closed()
    loop.call_soon_threadsafe(woken.append, 1)
    thread.join(20)
    assert woken == [1]
    loop.close()


def test_executor_of_each_loop(loop_factory):
    def run(number):
        async def main():
            loop = asyncio.get_running_loop()
            return sum(await asyncio.gather(*(loop.run_in_executor(None, abs, -number) for _ in range(50))))

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())

    assert run_in_threads(run) == [50 * number for number in range(THREADS)]


def test_first_loops_of_a_process_begin_at_once(script):
    """What the first loop of a process prepares, several threads may want at the same time."""
    for _ in range(10):
        done = script("""
            import threading

            async def main():
                pass

            def run():
                barrier.wait()
                loop = new_loop()
                loop.run_until_complete(main())
                loop.close()
                ran.append(loop)

            ran = []
            barrier = threading.Barrier(8)
            threads = [threading.Thread(target=run) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(len(ran))
        """)
        assert done.stdout == "8\n", done.stderr


@pytest.mark.skipif(not stock.FREE_THREADED, reason="this Python has a GIL")
@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio itself is not ready")
def test_gil_stays_off(script, kind):
    source = f"import sys, {kind}; print(sys._is_gil_enabled())"
    assert script(source, names=False).stdout.split() == ["False"]
