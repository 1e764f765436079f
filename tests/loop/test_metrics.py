"""loop.metrics() and asyncloop.metrics(): asyncio has no such thing."""

import asyncio
import dataclasses
import gc
import math
import os
import socket
import sys
import threading
import time

import pytest

import asyncloop


@pytest.fixture
def kind():
    return "asyncloop"


def interval(loop, main):
    """Run a coroutine and return its result and what the loop has counted meanwhile."""
    before = loop.metrics()
    result = loop.run_until_complete(main)
    return result, loop.metrics() - before


async def turns(n):
    for _ in range(n):
        await asyncio.sleep(0)


class TestSnapshot:
    def test_a_new_loop_has_counted_nothing(self, loop):
        metrics = loop.metrics()
        assert metrics.loops == 1
        for field in dataclasses.fields(metrics):
            if field.name not in ("loops", "time", "delay", "_of"):
                assert getattr(metrics, field.name) == 0, field.name
        assert metrics.utilization == 0
        assert (metrics.delay.min, metrics.delay.mean, metrics.delay.max, metrics.delay.percentile(99)) == (0, 0, 0, 0)

    def test_it_does_not_change(self, loop):
        metrics = loop.metrics()
        loop.run_until_complete(turns(10))
        assert metrics.turns == 0
        with pytest.raises(AttributeError):
            metrics.turns = 1
        with pytest.raises(TypeError):
            metrics.delay._seconds[0] = 1.0

    def test_counters_never_get_smaller(self, loop):
        counters = [field.name for field in dataclasses.fields(asyncloop.Metrics)]
        now = {"loops", "ready", "timers", "tasks_alive", "descriptors", "connections_open", "executor_jobs_waiting"}
        counters = [name for name in counters if name not in now | {"delay", "_of"}]
        snapshots = []

        async def main():
            for i in range(200):
                snapshots.append(loop.metrics())
                await asyncio.sleep(0.001 if i % 10 == 0 else 0)

        loop.run_until_complete(main())
        for earlier, later in zip(snapshots, snapshots[1:], strict=False):
            for name in counters:
                assert getattr(earlier, name) <= getattr(later, name), name

    def test_another_thread_may_ask_while_the_loop_waits(self, loop):
        snapshots = []

        async def main():
            await asyncio.to_thread(ask)

        def ask():
            snapshots.append(loop.metrics())
            deadline = time.monotonic() + 20
            while (loop.metrics() - snapshots[0]).utilization >= 0.5 and time.monotonic() < deadline:
                time.sleep(0.01)
            snapshots.append(loop.metrics())

        loop.run_until_complete(main())
        interval = snapshots[1] - snapshots[0]
        assert interval.idle_seconds > 0  # the wait that is not over yet counts
        assert interval.utilization < 0.5

    def test_another_thread_may_ask_while_the_loop_is_blocked(self, loop):
        snapshots = []
        begun, asked = threading.Event(), threading.Event()

        def block():
            begun.set()
            asked.wait(20)

        def ask():
            begun.wait(20)
            snapshots.append(loop.metrics())
            time.sleep(0.05)
            snapshots.append(loop.metrics())
            asked.set()

        thread = threading.Thread(target=ask)
        thread.start()
        loop.call_soon(block)
        loop.run_until_complete(turns(2))
        thread.join()
        interval = snapshots[1] - snapshots[0]
        assert interval.busy_seconds >= 0.04
        assert interval.idle_seconds == 0

    def test_a_closed_loop_keeps_its_figures(self, loop):
        loop.run_until_complete(turns(10))
        loop.close()
        assert loop.metrics().turns >= 10
        assert loop.metrics().descriptors == 0


class TestInterval:
    def test_it_is_the_difference_of_counters(self, loop):
        loop.run_until_complete(turns(10))
        _, between = interval(loop, turns(100))
        assert 100 <= between.turns <= 110
        assert 100 <= between.callbacks <= 110
        assert between.tasks_made == 1
        assert isinstance(between, asyncloop.Interval)

    def test_the_present_is_that_of_its_end(self, loop):
        loop.call_later(1000, print)
        earlier = loop.metrics()
        handle = loop.call_later(1000, print)
        assert (loop.metrics() - earlier).timers == 2
        handle.cancel()

    def test_utilization_is_the_part_that_is_not_idle(self, loop):
        async def half():
            time.sleep(0.1)
            await asyncio.sleep(0.1)

        _, between = interval(loop, half())
        total = between.busy_seconds + between.idle_seconds + between.poll_seconds
        assert between.utilization == pytest.approx(1 - between.idle_seconds / total)
        assert 0.2 < between.utilization < 0.8
        assert between.busy_seconds >= 0.09
        assert between.idle_seconds >= 0.09
        assert total == pytest.approx(between.seconds, abs=0.05)

    def test_its_delay_is_of_that_time(self, loop):
        loop.call_soon(time.sleep, 0.1)
        loop.run_until_complete(turns(2))
        _, between = interval(loop, asyncio.sleep(0.05))
        assert loop.metrics().delay.max >= 0.09
        assert between.delay.max < 0.09
        assert between.delay.percentile(100) <= between.delay.max

    def test_loops_are_not_mixed_up(self, loop, loop_factory):
        other = loop_factory()
        try:
            with pytest.raises(ValueError, match="different loops"):
                other.metrics() - loop.metrics()
            with pytest.raises(ValueError, match="different loops"):
                asyncloop.metrics() - loop.metrics()
        finally:
            other.close()

    def test_the_order_matters(self, loop):
        earlier = loop.metrics()
        later = loop.metrics()
        with pytest.raises(ValueError, match="later"):
            earlier - later

    @pytest.mark.parametrize("other", [1, None, "x"])
    def test_only_snapshots_are_subtracted(self, loop, other):
        with pytest.raises(TypeError):
            loop.metrics() - other
        with pytest.raises(TypeError):
            loop.metrics().delay - other


class TestTimes:
    def test_looks_are_polls(self, loop):
        _, between = interval(loop, turns(1000))
        assert between.poll_seconds > 0
        assert between.idle_seconds == 0

    @pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
    def test_each_backend_measures_its_waits(self, backend):
        loop = asyncloop.Loop(backend=backend)
        try:
            _, between = interval(loop, asyncio.sleep(0.1))
            assert between.idle_seconds >= 0.09
            assert between.utilization < 0.5
        finally:
            loop.close()

    def test_the_time_between_runs_is_not_measured(self, loop):
        loop.run_until_complete(turns(1))
        before = loop.metrics()
        time.sleep(0.05)
        after = loop.metrics()
        assert (after.busy_seconds, after.idle_seconds) == (before.busy_seconds, before.idle_seconds)

    def test_a_run_within_a_run_counts_once(self, loop):
        def outer():
            for _ in range(5):
                loop.call_soon(time.sleep, 0.01)
                loop._run_once()

        loop.call_soon(outer)
        _, between = interval(loop, turns(3))
        assert 0.04 <= between.busy_seconds <= between.seconds

    def test_a_patched_loop_measures_its_waits(self, loop, monkeypatch):
        process = asyncio.base_events.BaseEventLoop._add_callback
        monkeypatch.setattr(
            asyncio.base_events.BaseEventLoop, "_add_callback", lambda self, handle: process(self, handle)
        )
        _, between = interval(loop, asyncio.sleep(0.1))
        assert between.idle_seconds >= 0.09
        assert between.turns > 0 and between.callbacks > 0


class TestDelay:
    def test_a_blocking_callback_is_a_delay(self, loop):
        loop.call_soon(time.sleep, 0.1)
        loop.run_until_complete(turns(3))
        delay = loop.metrics().delay
        assert 0.09 <= delay.max < 5
        assert delay.percentile(99) == pytest.approx(delay.max, rel=0.2)
        assert delay.percentile(100) == delay.max
        assert 0.05 < delay.mean <= delay.max
        assert 0 < delay.min < 0.05

    def test_time_in_which_it_waits_has_none(self, loop):
        loop.run_until_complete(asyncio.sleep(0.2))
        delay = loop.metrics().delay
        assert delay.min == 0
        assert delay.percentile(0) == 0
        assert delay.percentile(50) == 0

    def test_percentiles_grow(self, loop):
        async def main():
            for i in range(50):
                time.sleep(0.0001 * i)
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        delay = loop.metrics().delay
        values = [delay.percentile(percent) for percent in range(101)]
        assert values == sorted(values)
        assert values[100] == delay.max
        assert delay.min <= values[1]

    def test_a_long_stall_counts_as_much_as_its_time(self, loop):
        async def main():
            time.sleep(0.1)
            await turns(20_000)

        loop.run_until_complete(main())
        delay = loop.metrics().delay
        share = 0.1 / (loop.metrics().busy_seconds + loop.metrics().poll_seconds)
        assert delay.percentile(100 - 50 * share) >= 0.09  # though it was one turn of thousands

    def test_waiting_for_the_gil_is_a_delay(self, loop):
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            pytest.skip("there is no GIL")
        old = sys.getswitchinterval()
        sys.setswitchinterval(0.1)
        try:

            async def main():
                stop = time.monotonic() + 0.5

                def hog():
                    while time.monotonic() < stop:
                        pass

                await asyncio.gather(asyncio.to_thread(hog), asyncio.sleep(0.05))

            loop.run_until_complete(main())
        finally:
            sys.setswitchinterval(old)
        assert loop.metrics().delay.max >= 0.05

    @pytest.mark.parametrize("percent", [-1, 100.001, 1000, math.nan, math.inf])
    def test_a_percentile_out_of_range(self, loop, percent):
        with pytest.raises(ValueError, match="percent must be from 0 to 100"):
            loop.metrics().delay.percentile(percent)

    @pytest.mark.parametrize("percent", [None, "50", b"50", [], 1j])
    def test_a_percentile_that_is_no_number(self, loop, percent):
        with pytest.raises(TypeError):
            loop.metrics().delay.percentile(percent)


class TestQueues:
    def test_the_most_that_a_turn_began_with(self, loop):
        for _ in range(100):
            loop.call_soon(int)
        assert loop.metrics().ready == 100
        loop.run_until_complete(turns(2))
        assert loop.metrics().ready_max >= 100
        assert loop.metrics().ready == 0

    def test_timers_that_are_armed(self, loop):
        handles = [loop.call_later(1000, int) for _ in range(5)]
        assert loop.metrics().timers == 5
        handles[0].cancel()
        assert loop.metrics().timers == 4
        for handle in handles:
            handle.cancel()
        assert loop.metrics().timers == 0

    def test_tasks_made_and_alive(self, loop):
        async def main():
            assert loop.metrics().tasks_alive == 1
            tasks = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(10)]
            await asyncio.sleep(0)
            assert loop.metrics().tasks_alive == 11
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert loop.metrics().tasks_alive == 1
            asyncloop.Task(turns(1), loop=loop)
            assert loop.metrics().tasks_alive == 2

        loop.run_until_complete(main())
        loop.run_until_complete(turns(3))
        assert loop.metrics().tasks_alive == 0
        assert loop.metrics().tasks_made == 13

    def test_a_task_that_is_collected_is_not_alive(self, loop):
        async def forgotten():
            await loop.create_future()

        async def main():
            asyncio.create_task(forgotten())
            await asyncio.sleep(0)
            gc.collect()

        loop.run_until_complete(main())
        gc.collect()
        assert [context["message"] for context in loop.unhandled] == ["Task was destroyed but it is pending!"]
        loop.unhandled.clear()  # its report keeps it alive
        gc.collect()
        assert loop.metrics().tasks_alive == 0

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are not eager")
    def test_an_eager_task_is_a_task(self, loop):
        async def nothing():
            pass

        async def main():
            asyncloop.Task(nothing(), loop=loop, eager_start=True)

        _, between = interval(loop, main())
        assert between.tasks_made == 2
        assert between.tasks_alive == 0

    def test_descriptors(self, loop):
        a, b = socket.socketpair()
        with a, b:
            loop.add_reader(a, int)
            loop.add_writer(a, int)
            assert loop.metrics().descriptors == 1
            loop.add_reader(b, int)
            assert loop.metrics().descriptors == 2
            loop.remove_reader(a)
            assert loop.metrics().descriptors == 2
            loop.remove_writer(a)
            loop.remove_reader(b)
            assert loop.metrics().descriptors == 0

    def test_executor_jobs_that_wait(self, loop):
        release = threading.Event()

        async def main():
            loop.set_default_executor(concurrent_executor())
            jobs = [loop.run_in_executor(None, release.wait, 20) for _ in range(5)]
            await asyncio.sleep(0.05)
            waiting = loop.metrics().executor_jobs_waiting
            release.set()
            await asyncio.gather(*jobs)
            return waiting

        assert loop.run_until_complete(main()) == 4
        assert loop.metrics().executor_jobs_waiting == 0


def concurrent_executor():
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1)


class TestConnections:
    def test_bytes_and_connections(self, loop):
        async def serve(reader, writer):
            writer.write(await reader.readexactly(1000))
            await writer.drain()
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(bytes(1000))
                await reader.readexactly(1000)
                assert loop.metrics().connections_open >= 1
                assert loop.metrics().descriptors >= 2
                writer.close()
                await writer.wait_closed()
                while loop.metrics().connections_open:
                    await asyncio.sleep(0.001)

        _, between = interval(loop, main())
        assert between.connections_made == 2
        assert between.connections_accepted == 1
        assert between.connections_lost == 2
        assert between.connections_failed == 0
        assert (between.bytes_in, between.bytes_out) == (2000, 2000)

    def test_a_connection_that_fails(self, loop):
        a, b = socket.socketpair()

        async def main():
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=a)
            transport._force_close(OSError("no more"))
            await turns(3)

        _, between = interval(loop, main())
        b.close()
        assert (between.connections_lost, between.connections_failed) == (1, 1)

    def test_datagrams_and_pipes_are_bytes_but_no_connections(self, loop):
        class Waiter(asyncio.DatagramProtocol):
            def __init__(self):
                self.got = loop.create_future()

            def datagram_received(self, data, addr):
                self.got.set_result(data)

        async def main():
            receiver, protocol = await loop.create_datagram_endpoint(Waiter, ("127.0.0.1", 0))
            sender, _ = await loop.create_datagram_endpoint(Waiter, remote_addr=receiver.get_extra_info("sockname"))
            sender.sendto(bytes(100))
            await protocol.got
            sender.close()
            receiver.close()
            r, w = os.pipe()
            reader = asyncio.StreamReader()
            source, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), open(r, "rb"))
            sink, _ = await loop.connect_write_pipe(asyncio.Protocol, open(w, "wb"))
            sink.write(bytes(10))
            await reader.readexactly(10)
            sink.close()
            source.close()
            await turns(3)

        _, between = interval(loop, main())
        assert (between.bytes_in, between.bytes_out) == (110, 110)
        assert between.connections_made == 0

    def test_sock_methods(self, loop):
        a, b = socket.socketpair()
        a.setblocking(False)
        b.setblocking(False)

        async def main():
            await loop.sock_sendall(a, bytes(100))
            await loop.sock_recv(b, 60)
            await loop.sock_recv_into(b, bytearray(40))
            await loop.sock_sendall(a, bytes(5))
            await loop.sock_recvfrom(b, 5)

        with a, b:
            _, between = interval(loop, main())
        assert (between.bytes_in, between.bytes_out) == (105, 105)

    def test_sendfile(self, loop, tmp_path):
        (tmp_path / "file").write_bytes(bytes(50_000))
        a, b = socket.socketpair()
        a.setblocking(False)

        async def main():
            with open(tmp_path / "file", "rb") as file:
                received = asyncio.to_thread(lambda: len(b.recv(50_000, socket.MSG_WAITALL)))
                done = asyncio.create_task(received)
                await loop.sock_sendfile(a, file)
                return await done

        with a, b:
            received, between = interval(loop, main())
        assert received == between.bytes_out == 50_000


class TestReports:
    def test_exceptions_that_are_reported(self, loop):
        def fail():
            raise ZeroDivisionError

        loop.call_soon(fail)
        loop.call_soon(fail)
        loop.run_until_complete(turns(2))
        loop.unhandled.clear()
        assert loop.metrics().exceptions_reported == 2

    def test_slow_callbacks_of_debug_mode(self, loop):
        loop.set_debug(True)
        loop.slow_callback_duration = 0.01
        loop.call_soon(time.sleep, 0.02)
        loop.run_until_complete(turns(2))
        assert loop.metrics().slow_callbacks >= 1


class TestAll:
    def test_loops_are_added_up(self, loop, loop_factory):
        before = asyncloop.metrics()
        other = loop_factory()
        loop.run_until_complete(turns(100))
        other.run_until_complete(turns(100))
        after = asyncloop.metrics()
        assert after.loops >= 2
        assert (after - before).turns >= 200
        other.close()

    def test_a_loop_that_is_freed_still_counts(self, loop_factory):
        before = asyncloop.metrics()
        other = loop_factory()
        other.run_until_complete(turns(1000))
        other.close()
        between = asyncloop.metrics() - before
        del other
        gc.collect()
        after = asyncloop.metrics() - before
        assert after.turns >= between.turns >= 1000
        assert after.busy_seconds >= between.busy_seconds > 0
        assert after.delay.max >= 0
        assert after.loops == between.loops - 1

    def test_threads_make_and_free_loops(self):
        before = asyncloop.metrics()
        stop = threading.Event()
        seen = []

        def watch():
            while not stop.is_set():
                seen.append(asyncloop.metrics())

        def work():
            for _ in range(20):
                asyncloop.run(turns(50))

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        watcher.join()
        assert (asyncloop.metrics() - before).turns >= 3 * 20 * 50
        for earlier, later in zip(seen, seen[1:], strict=False):
            assert earlier.turns <= later.turns
            assert earlier.tasks_made <= later.tasks_made
            assert earlier.busy_seconds <= later.busy_seconds + 1e-6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork()")
def test_a_child_goes_on_counting(script):
    result = script(
        """
        import asyncio, asyncloop, os, threading, time

        loop = asyncloop.new_event_loop()
        other = asyncloop.new_event_loop()
        thread = threading.Thread(target=other.run_until_complete, args=(asyncio.sleep(0.3),))
        thread.start()
        while other.metrics().turns == 0:
            time.sleep(0.001)
        loop.run_until_complete(asyncio.sleep(0))
        before = loop.metrics()
        if (pid := os.fork()) == 0:
            idle = other.metrics().idle_seconds
            time.sleep(0.05)
            loop.run_until_complete(asyncio.sleep(0.01))
            between = loop.metrics() - before
            print(between.turns > 0, between.idle_seconds > 0.005, other.metrics().idle_seconds == idle, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        thread.join()
        """,
    )
    assert result.stdout.split() == ["True", "True", "True"]
