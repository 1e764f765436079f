"""Programs that reach inside of BaseEventLoop: its queues, its selector, its turns. What is put in there runs."""

import asyncio
import collections
import copy
import gc
import heapq
import selectors
import socket
import sys
import threading
import time
import weakref
from asyncio import BaseEventLoop, base_events

import pytest


@pytest.fixture
def handle(loop):
    """Makes a handle of asyncio's own."""
    return lambda callback, *args: asyncio.Handle(callback, args, loop)


@pytest.fixture
def timer(loop):
    """Makes a timer of asyncio's own that is due in so many seconds, and puts it into loop._scheduled."""

    def timer(delay, callback, *args):
        made = asyncio.TimerHandle(loop.time() + delay, callback, args, loop)
        heapq.heappush(loop._scheduled, made)
        made._scheduled = True
        return made

    return timer


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    yield a, b
    a.close()
    b.close()


class TestReady:
    def test_order(self, loop, turn, handle):
        seen = []
        loop.call_soon(seen.append, 1)
        loop._ready.append(handle(seen.append, 2))
        loop.call_soon(seen.append, 3)
        loop._ready.appendleft(handle(seen.append, 0))
        loop._ready.extend([handle(seen.append, 4), handle(seen.append, 5)])
        loop._ready.extendleft([handle(seen.append, -1), handle(seen.append, -2)])
        turn()
        assert seen == [-2, -1, 0, 1, 2, 3, 4, 5]

    def test_insert_remove_rotate_reverse(self, loop, turn, handle):
        seen = []
        handles = [loop.call_soon(seen.append, i) for i in range(5)]
        loop._ready.insert(1, handle(seen.append, "new"))
        loop._ready.remove(handles[2])
        loop._ready.rotate(1)
        assert loop._ready.index(handles[4]) == 0
        assert loop._ready.count(handles[2]) == 0
        loop._ready.reverse()
        turn()
        assert seen == [3, 1, "new", 0, 4]

    def test_pop(self, loop, turn):
        seen = []
        first, _, last = (loop.call_soon(seen.append, i) for i in range(3))
        assert loop._ready.popleft() is first
        assert loop._ready.pop() is last
        assert len(loop._ready) == 1
        turn()
        assert seen == [1]
        last._run()
        assert seen == [1, 2]

    def test_pop_from_an_empty_one(self, loop):
        for method in loop._ready.pop, loop._ready.popleft:
            with pytest.raises(IndexError, match="pop from an empty deque"):
                method()
        assert not loop._ready
        with pytest.raises(IndexError):
            loop._ready[0]

    def test_items(self, loop, turn, handle):
        seen = []
        handles = [loop.call_soon(seen.append, i) for i in range(4)]
        ready = loop._ready
        assert [*ready] == handles and [*reversed(ready)] == handles[::-1]
        assert ready[0] is handles[0] and ready[-1] is handles[3]
        assert handles[1] in ready and len(ready) == 4 and ready
        ready[1] = handle(seen.append, "new")
        del ready[-1]
        assert handles[1] not in ready
        turn()
        assert seen == [0, "new", 2]
        assert not ready

    def test_is_seen_to_change(self, loop, turn):
        """The queue that was read before shows what is queued afterwards."""
        ready = loop._ready
        made = loop.call_soon(int)
        assert [*ready] == [made]
        turn()
        assert [*ready] == []

    def test_looks_like_a_deque(self, loop):
        made = loop.call_soon(int)
        ready = loop._ready
        assert isinstance(ready, collections.deque)
        assert ready == collections.deque([made]) != collections.deque()
        assert repr(ready) == f"deque([{made!r}])"
        assert ready.maxlen is None
        assert ready.copy() == copy.copy(ready) == ready + collections.deque()
        assert type(ready.copy()) is collections.deque
        with pytest.raises(TypeError):
            hash(ready)
        ready.clear()

    def test_clear(self, loop, turn):
        class Argument:
            pass

        seen = []
        argument = Argument()
        watch = weakref.ref(argument)
        loop.call_soon(seen.append, argument)
        del argument
        loop._ready.clear()
        gc.collect()
        assert watch() is None
        turn()
        assert seen == []

    def test_cancelled_handles_do_not_run(self, loop, turn, handle):
        seen = []
        own, stock = loop.call_soon(seen.append, 1), handle(seen.append, 2)
        loop._ready.append(stock)
        own.cancel()
        stock.cancel()
        assert len(loop._ready) == 2
        turn()
        assert seen == []

    def test_anything_with_run_and_cancelled(self, loop, turn):
        class Odd:
            _cancelled = False

            def _run(self):
                seen.append("ran")

        seen = []
        loop._ready.append(Odd())
        turn()
        assert seen == ["ran"]

    def test_what_is_no_handle_ends_the_run(self, loop):
        loop._ready.append(42)
        with pytest.raises(AttributeError, match="_cancelled"):
            loop.run_forever()

    def test_exceptions_are_reported(self, loop, turn, handle, reports):
        bad = handle(lambda: 1 / 0)
        loop._ready.append(bad)
        turn()
        (report,) = reports()
        assert report["handle"] is bad
        assert isinstance(report["exception"], ZeroDivisionError)

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_what_ends_the_run(self, loop, turn, handle, error):
        def stop():
            raise error

        seen = []
        loop._ready.extend([handle(stop), handle(seen.append, 1)])
        with pytest.raises(error):
            loop.run_forever()
        assert seen == []
        turn()
        assert seen == [1]

    def test_within_a_turn(self, loop, turn, handle):
        seen = []
        loop.call_soon(lambda: loop._ready.append(handle(seen.append, "next turn")))
        turn()
        assert seen == []
        turn()
        assert seen == ["next turn"]

    def test_in_front_within_a_turn(self, loop, turn, handle):
        """A turn runs so many handles, whichever they are by then."""
        seen = []
        loop.call_soon(lambda: loop._ready.appendleft(handle(seen.append, "first")))
        loop.call_soon(seen.append, "second")
        loop.call_soon(loop.stop)
        loop._run_once()
        assert seen == ["first", "second"]
        assert len(loop._ready) == 1
        loop._run_once()
        loop._stopping = False

    def test_from_another_thread(self, loop, run, handle):
        def work():
            time.sleep(0.01)
            loop._ready.append(handle(done.set_result, 1))
            loop._write_to_self()

        done = loop.create_future()
        thread = threading.Thread(target=work)
        thread.start()

        async def main():
            return await done

        assert run(main()) == 1
        thread.join()

    def test_of_a_closed_loop(self, loop_factory):
        loop = loop_factory()
        loop.call_soon(int)
        ready = loop._ready
        loop.close()
        assert len(ready) == 0 == len(loop._ready)
        ready.append(asyncio.Handle(int, (), loop))

    def test_queue_outlives_its_loop(self, loop_factory):
        loop = loop_factory()
        ready = loop._ready
        watch = weakref.ref(loop)
        loop.close()
        del loop
        gc.collect()
        assert not ready
        del ready
        gc.collect()
        assert watch() is None

    def test_signal_of_a_private_method(self, loop, turn, handle):
        seen = []
        loop._call_soon(seen.append, (1,), None)
        loop._add_callback(handle(seen.append, 2))
        loop._add_callback_signalsafe(handle(seen.append, 3))
        cancelled = handle(seen.append, 4)
        cancelled.cancel()
        loop._add_callback(cancelled)
        turn()
        assert seen == [1, 2, 3]

    def test_write_to_self_ends_one_wait(self, loop):
        loop._write_to_self()
        loop.call_later(30, loop.stop).cancel()
        loop._run_once()  # does not wait

    def test_debug_mode(self, loop, turn, handle, caplog):
        loop.set_debug(True)
        loop.slow_callback_duration = 0
        seen = []
        loop._ready.append(handle(lambda: seen.append(loop._current_handle)))
        queued = loop._ready[0]
        turn()
        assert seen == [queued]
        assert any("test_debug_mode" in message for message in caplog.messages)


class TestTasksInReady:
    def test_handles_know_their_tasks(self, loop, run):
        async def main():
            tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
            found = [handle._callback.__self__ for handle in loop._ready]
            await asyncio.gather(*tasks)
            return found == tasks

        assert run(main())

    def test_one_is_the_same_handle_each_time(self, loop, run):
        async def main():
            task = asyncio.create_task(asyncio.sleep(0, 5))
            handle = loop._ready[-1]
            assert loop._ready[-1] is handle and loop._ready.index(handle) == len(loop._ready) - 1
            loop._ready.remove(handle)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not task.done()
            loop._ready.append(handle)
            return await task

        assert run(main()) == 5

    def test_step_run_by_hand(self, loop, run):
        """As a program does that starts its tasks at once."""

        async def child():
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            return 7

        async def main():
            me = asyncio.current_task()
            before = len(loop._ready)
            task = asyncio.create_task(child())
            assert len(loop._ready) == before + 1
            handle = loop._ready.pop()
            asyncio.tasks._leave_task(loop, me)
            try:
                handle._run()
            finally:
                asyncio.tasks._enter_task(loop, me)
            assert seen == [task]
            assert asyncio.current_task() is me
            return await task

        seen = []
        assert run(main()) == 7

    def test_woken_by_a_result(self, loop, run):
        async def waiter(future):
            return await future

        async def main():
            futures = [loop.create_future() for _ in range(3)]
            tasks = [asyncio.create_task(waiter(future)) for future in futures]
            await asyncio.sleep(0)
            futures[0].set_result("result")
            futures[1].set_exception(KeyError("failed"))
            futures[2].cancel()
            assert len([*loop._ready]) == 3
            return await asyncio.gather(*tasks, return_exceptions=True)

        result, failed, cancelled = run(main())
        assert result == "result"
        assert isinstance(failed, KeyError)
        assert isinstance(cancelled, asyncio.CancelledError)

    def test_order_of_tasks_is_kept(self, loop, run):
        async def child(i):
            seen.append(i)

        async def main():
            tasks = [asyncio.create_task(child(i)) for i in range(6)]
            loop._ready.rotate(2)
            await asyncio.gather(*tasks)

        seen = []
        run(main())
        assert seen == [4, 5, 0, 1, 2, 3]

    def test_context(self, loop, run):
        import contextvars

        variable = contextvars.ContextVar("variable", default="outer")

        async def child():
            return variable.get()

        async def main():
            variable.set("inner")
            task = asyncio.create_task(child())
            assert len([*loop._ready]) >= 1
            variable.set("later")
            return await task

        assert run(main()) == "inner"

    def test_transports_are_there_too(self, loop, pair):
        async def main():
            reader, writer = await asyncio.open_connection(sock=pair[0])
            for byte in b"x", b"y":
                pair[1].send(byte)
                assert await reader.read(10) == byte
            writer.close()
            await writer.wait_closed()
            return "ended"

        task = loop.create_task(main())
        asyncio._set_running_loop(loop)
        try:
            while not task.done():
                assert all(not handle._cancelled for handle in loop._ready)
                loop._ready.rotate(len(loop._ready))
                loop._run_once()
        finally:
            asyncio._set_running_loop(None)
        assert task.result() == "ended"


class TestReadyReplaced:
    """Another queue in the place of loop._ready."""

    class Counting(collections.deque):
        added = taken = 0

        def append(self, handle):
            self.added += 1
            super().append(handle)

        def popleft(self):
            self.taken += 1
            return super().popleft()

    async def work(self, loop):
        await asyncio.sleep(0)
        loop.call_soon(int)
        await asyncio.sleep(0.001)
        await loop.run_in_executor(None, int)
        return 5

    def test_is_used(self, loop, run):
        loop._ready = queue = self.Counting(loop._ready)
        assert loop._ready is queue
        assert run(self.work(loop)) == 5
        assert queue.added >= 6 and queue.taken >= 6
        assert not queue

    def test_while_the_loop_runs(self, loop, run):
        async def main():
            task = asyncio.create_task(asyncio.sleep(0, "kept"))
            loop._ready = queue = self.Counting(loop._ready)
            await self.work(loop)
            return await task, queue.taken >= 6

        assert run(main()) == ("kept", True)

    def test_connections_go_on(self, loop, run, pair):
        async def main():
            reader, writer = await asyncio.open_connection(sock=pair[0])
            loop._ready = queue = self.Counting(loop._ready)
            for i in range(10):
                writer.write(b"%d" % i)
                pair[1].send(b"%d" % i)
                assert await reader.read(1) == b"%d" % i
            writer.close()
            await writer.wait_closed()
            return queue.taken

        assert run(main()) >= 10
        assert pair[1].recv(100) == b"0123456789"

    def test_what_it_does_not_take_is_dropped(self, loop, turn):
        seen = []
        loop.call_soon(seen.append, 1)
        loop._ready = collections.deque()
        loop.call_soon(seen.append, 2)
        turn()
        assert seen == [2]

    def test_filtered(self, loop, turn):
        seen = []
        handles = [loop.call_soon(seen.append, i) for i in range(4)]
        loop._ready = collections.deque(handle for handle in loop._ready if handle is not handles[2])
        turn()
        assert seen == [0, 1, 3]

    def test_put_back(self, loop, turn):
        seen = []
        loop.call_soon(seen.append, "old")
        old, loop._ready = loop._ready, collections.deque()
        loop.call_soon(seen.append, "new")
        turn()
        assert seen == ["new"]
        loop._ready = old
        loop.call_soon(seen.append, "last")
        turn()
        assert seen == ["new", "old", "last"]

    def test_one_of_a_priority(self, loop, run):
        """The queue decides what runs next."""

        class Lifo(collections.deque):
            def popleft(self):
                return self.pop()

        async def child(i):
            seen.append(i)

        async def main():
            loop._ready = Lifo(loop._ready)
            await asyncio.gather(*(child(i) for i in range(4)))

        seen = []
        run(main())
        assert seen == [3, 2, 1, 0]

    def test_the_loop_is_collected(self, loop_factory):
        loop = loop_factory()
        loop._ready = self.Counting(loop._ready)
        loop.call_soon(int, loop)
        watch = weakref.ref(loop)
        loop.close()
        del loop
        gc.collect()
        assert watch() is None


class TestScheduled:
    def test_order(self, loop, run, timer):
        async def main():
            loop.call_later(0.002, seen.append, 2)
            timer(0.001, seen.append, 1)
            timer(0.003, seen.append, 3)
            loop.call_later(0, seen.append, 0)
            await asyncio.sleep(0.02)

        seen = []
        run(main())
        assert seen == [0, 1, 2, 3]

    def test_is_a_heap_of_timers(self, loop):
        handles = [loop.call_later(delay, int) for delay in (50, 10, 40, 20, 30, 10)]
        scheduled = loop._scheduled
        assert type(scheduled) is list
        assert len(scheduled) == 6
        assert scheduled[0].when() == min(handle.when() for handle in handles)
        assert {*map(id, scheduled)} == {*map(id, handles)}
        assert all(handle._scheduled for handle in handles)
        popped = [heapq.heappop(scheduled) for _ in range(6)]
        assert [handle.when() for handle in popped] == sorted(handle.when() for handle in handles)
        assert not loop._scheduled

    def test_what_is_taken_out_does_not_run(self, loop, run):
        async def main():
            loop.call_later(0.001, seen.append, 1)
            taken = loop.call_later(0.002, seen.append, 2)
            loop._scheduled.remove(taken)
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == [1]

    def test_clear(self, loop, run):
        async def main():
            loop.call_later(0.001, seen.append, 1)
            loop._scheduled.clear()
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == []

    def test_replaced(self, loop, run):
        async def main():
            loop.call_later(0.002, seen.append, 2)
            dropped = loop.call_later(0.001, seen.append, 1)
            kept = [handle for handle in loop._scheduled if handle is not dropped]
            heapq.heapify(kept)
            loop._scheduled = kept
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == [2]

    def test_cancelled(self, loop, run, timer):
        async def main():
            own, stock = loop.call_later(0.001, seen.append, 1), timer(0.001, seen.append, 2)
            assert len(loop._scheduled) >= 2
            own.cancel()
            stock.cancel()
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == []

    def test_stock_timer_cancelled_many_turns_later(self, loop, run, timer):
        """When the loop has its timers back."""

        async def main():
            cancelled = timer(2, seen.append, "cancelled")
            timer(0.1, seen.append, "fired")
            for _ in range(1000):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.sleep(2.1)
            assert not cancelled._scheduled

        seen = []
        run(main())
        assert seen == ["fired"]

    def test_stock_timer_that_is_looked_at_many_turns_later(self, loop, run, timer):
        async def main():
            stock, own = timer(30, seen.append, "no"), loop.call_later(20, seen.append, "no")
            for _ in range(1000):
                await asyncio.sleep(0)
            found = [*loop._scheduled]
            assert found[0] is own and stock in found and len(found) == 2
            loop._scheduled.remove(stock)
            own.cancel()

        seen = []
        loop.run_until_complete(main())

    def test_held_by_the_program(self, loop, run):
        """A list that was read before has what is armed later."""

        async def main():
            scheduled = loop._scheduled
            for _ in range(3):
                made = loop.call_later(0.001, int)
                assert made in scheduled
                await asyncio.sleep(0.003)
                assert made not in scheduled
            return len(scheduled)

        assert loop.run_until_complete(main()) == 0

    def test_run_before_its_time(self, loop, run):
        """As test suites do that fake the time: Home Assistant's async_fire_time_changed()."""

        async def main():
            loop.call_later(3600, seen.append, "hour")
            loop.call_later(7200, seen.append, "hours")
            for handle in [*loop._scheduled]:
                if handle.when() - loop.time() < 4000:
                    handle._run()
                    handle.cancel()
            await asyncio.sleep(0.001)
            assert [handle._args for handle in loop._scheduled if not handle.cancelled()] == [("hours",)]
            loop._scheduled.clear()

        seen = []
        loop.run_until_complete(main())
        assert seen == ["hour"]

    def test_must_be_a_list(self, loop):
        class Other:
            pass

        if isinstance(loop, base_events.BaseEventLoop) and type(loop).__module__.startswith("asyncio."):
            pytest.skip("asyncio fails later")
        with pytest.raises(TypeError):
            loop._scheduled = Other()

    def test_draining(self, loop):
        """As test suites do."""
        seen = []
        loop.call_later(0.002, seen.append, 3)
        loop.call_soon(seen.append, 1)
        loop.call_later(0.001, seen.append, 2)
        while loop._ready or loop._scheduled:
            loop._run_once()
        assert seen == [1, 2, 3]

    def test_timers_of_many_turns(self, loop, run):
        """The list is looked at again and again while timers come and go."""

        async def sleeper(i):
            for _ in range(20):
                await asyncio.sleep(0.0002 * (i % 3))
            return i

        async def look():
            while True:
                assert all(hasattr(handle, "_when") for handle in loop._scheduled)
                await asyncio.sleep(0)

        async def main():
            looking = asyncio.create_task(look())
            result = await asyncio.gather(*map(sleeper, range(10)))
            looking.cancel()
            return result

        assert run(main()) == [*range(10)]

    def test_in_debug_mode(self, loop, run, timer):
        loop.set_debug(True)

        async def main():
            timer(0.001, seen.append, 1)
            loop.call_later(0.001, seen.append, 1).cancel()
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == [1]


class TestUnbound:
    """Methods of BaseEventLoop that are called by its name, as a mixin or a wrapper does."""

    def test_call_soon(self, loop, turn):
        seen = []
        loop.call_soon(seen.append, 1)
        made = BaseEventLoop.call_soon(loop, seen.append, 2)
        loop.call_soon(seen.append, 3)
        assert type(made) is asyncio.Handle
        turn()
        assert seen == [1, 2, 3]

    def test_call_soon_threadsafe_wakes(self, loop, run):
        def work():
            time.sleep(0.01)
            BaseEventLoop.call_soon_threadsafe(loop, done.set_result, 3)

        done = loop.create_future()
        thread = threading.Thread(target=work)
        thread.start()

        async def main():
            return await done

        assert run(main()) == 3
        thread.join()

    @pytest.mark.parametrize("name", ["call_later", "call_at"])
    def test_call_later(self, loop, run, name):
        async def main():
            start = loop.time()
            loop.call_later(0.002, seen.append, 2)
            getattr(BaseEventLoop, name)(loop, 0.001 + start * (name == "call_at"), seen.append, 1)
            cancelled = BaseEventLoop.call_later(loop, 0.001, seen.append, "cancelled")
            cancelled.cancel()
            assert cancelled.cancelled()
            await asyncio.sleep(0.01)

        seen = []
        run(main())
        assert seen == [1, 2]

    def test_others(self, loop, run):
        async def main():
            task = BaseEventLoop.create_task(loop, asyncio.sleep(0.001, 4))
            future = BaseEventLoop.create_future(loop)
            loop.call_soon(future.set_result, await task)
            assert await BaseEventLoop.run_in_executor(loop, None, int) == 0
            return await future

        assert run(main()) == 4
        assert not BaseEventLoop.is_running(loop)
        assert abs(BaseEventLoop.time(loop) - loop.time()) < 1

    def test_run_forever(self, loop):
        loop.call_later(0.001, loop.stop)
        BaseEventLoop.run_forever(loop)
        assert not loop.is_running()

    def test_run_once(self, loop, pair):
        seen = []
        loop.add_reader(pair[0], lambda: seen.append(pair[0].recv(10)))
        loop.call_soon(seen.append, 1)
        loop.call_later(0.001, seen.append, 2)
        pair[1].send(b"x")
        deadline = time.monotonic() + 10
        while len(seen) < 3 and time.monotonic() < deadline:
            BaseEventLoop._run_once(loop)
        assert sorted(map(str, seen)) == ["1", "2", "b'x'"]
        loop.remove_reader(pair[0])

    def test_mixin(self, loop_factory):
        base = loop_factory()
        base.close()

        class Mixin:
            def call_soon(self, callback, *args, context=None):
                seen.append("soon")
                return BaseEventLoop.call_soon(self, callback, *args, context=context)

            def call_at(self, when, callback, *args, context=None):
                seen.append("at")
                return BaseEventLoop.call_at(self, when, callback, *args, context=context)

        class Loop(Mixin, type(base)):
            pass

        seen = []
        loop = Loop()

        async def main():
            try:
                async with asyncio.timeout(0.002):
                    await loop.create_future()
            except TimeoutError:
                return await asyncio.wait_for(asyncio.sleep(0.001, 9), 30)

        assert loop.run_until_complete(main()) == 9
        loop.close()
        assert seen.count("at") == 3 and seen.count("soon") >= 4

    def test_many_cancelled_ones_do_not_stay(self, loop, run):
        class Argument:
            pass

        async def main():
            for _ in range(500):
                made = BaseEventLoop.call_later(loop, 3600, int, Argument())
                made.cancel()
                await asyncio.sleep(0)
            return len(loop._scheduled)

        assert loop.run_until_complete(main()) <= 250


class TestSelector:
    def test_select_is_called_when_it_is_wrapped(self, loop, run, pair):
        """As programs do that measure how long a loop is idle."""
        waits = []
        select = loop._selector.select

        def timed(timeout=None):
            events = select(timeout)
            waits.append((timeout, len(events)))
            return events

        loop._selector.select = timed

        async def main():
            await asyncio.sleep(0.001)
            asyncio.get_running_loop().call_later(0.001, pair[1].send, b"x")
            return await loop.sock_recv(pair[0], 10)

        assert run(main()) == b"x"
        assert any(timeout is None or timeout > 0 for timeout, _ in waits)
        assert any(events for _, events in waits)
        del loop._selector.select
        n = len(waits)
        assert run(asyncio.sleep(0.001, 1)) == 1
        assert len(waits) == n

    def test_wrapped_while_the_loop_runs(self, loop, run):
        async def main():
            select, calls = loop._selector.select, []
            loop._selector.select = lambda timeout: (calls.append(timeout), select(timeout))[1]
            await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)
            return len(calls)

        assert run(main()) >= 2

    def test_replaced(self, loop, run, pair):
        class Proxy:
            calls = 0

            def __init__(self, selector):
                self._selector = selector

            def select(self, timeout=None):
                self.calls += 1
                return self._selector.select(timeout)

            def __getattr__(self, name):
                return getattr(self._selector, name)

        original = loop._selector
        loop._selector = proxy = Proxy(original)

        async def main():
            reader, writer = await asyncio.open_connection(sock=pair[0])
            pair[1].send(b"x")
            byte = await reader.read(1)
            writer.close()
            await writer.wait_closed()
            return byte

        assert run(main()) == b"x"
        assert proxy.calls >= 2
        loop._selector = original
        n = proxy.calls
        assert run(asyncio.sleep(0.001, 1)) == 1
        assert proxy.calls == n

    def test_thread_wakes_a_wrapped_select(self, loop, run):
        found = []
        select = loop._selector.select

        def wrapped(timeout):
            events = select(timeout)
            found.append(events)
            return events

        loop._selector.select = wrapped

        def work():
            time.sleep(0.01)
            return 3

        async def main():
            return await loop.run_in_executor(None, work)

        assert run(main()) == 3
        assert any(found)

    def test_process_events_is_called_when_it_is_replaced(self, loop, run, pair):
        seen = []
        process = loop._process_events

        def wrapped(events):
            seen.extend(events)
            process(events)

        loop._process_events = wrapped

        async def main():
            await loop.sock_sendall(pair[1], b"x")
            return await loop.sock_recv(pair[0], 1)

        assert run(main()) == b"x"
        del loop._process_events
        assert run(asyncio.sleep(0, 1)) == 1

    def test_map(self, loop, pair):
        before = len(loop._selector.get_map())
        loop.add_reader(pair[0], int)
        loop.add_writer(pair[0], int)
        loop.add_writer(pair[1], int)
        fds = pair[0].fileno(), pair[1].fileno()
        assert len(loop._selector.get_map()) == before + 2
        key = loop._selector.get_key(fds[0])
        assert key.fd == fds[0]
        assert key.events == selectors.EVENT_READ | selectors.EVENT_WRITE
        reader, writer = key.data
        assert isinstance(reader, asyncio.Handle) and isinstance(writer, asyncio.Handle)
        assert loop._selector.get_key(fds[1]).data[0] is None
        loop._selector.unregister(pair[0].fileno())
        with pytest.raises(KeyError):
            loop._selector.get_key(fds[0])
        loop.remove_writer(pair[1])

    def test_register(self, loop, run, pair):
        async def main():
            done = loop.create_future()
            handle = asyncio.Handle(lambda: done.done() or done.set_result(pair[0].recv(10)), (), loop)
            loop._selector.register(pair[0].fileno(), selectors.EVENT_READ, (handle, None))
            pair[1].send(b"x")
            result = await done
            loop._selector.unregister(pair[0].fileno())
            return result

        assert run(main()) == b"x"

    def test_closed_with_the_loop(self, loop_factory):
        loop = loop_factory()
        assert isinstance(loop._selector, selectors.BaseSelector)
        loop.close()
        assert loop._selector is None

    def test_time_that_is_compressed(self, loop):
        """As looptime does: select() moves the clock instead of waiting."""
        now = [0.0]
        select = loop._selector.select

        def skip(timeout):
            events = select(0)
            if not events and timeout:
                now[0] += timeout
            return events

        loop._selector.select = skip
        loop.time = lambda: now[0]

        async def main():
            await asyncio.sleep(3600)
            async with asyncio.timeout(100):
                await asyncio.sleep(50)
            return loop.time()

        start = time.monotonic()
        assert loop.run_until_complete(main()) >= 3650
        assert time.monotonic() - start < 20
        del loop.time, loop._selector.select


class TestTurns:
    """Turns that the program runs, or replaces."""

    def test_run_once_replaced_on_the_instance(self, loop, run):
        turns = []
        run_once = loop._run_once

        def counted():
            turns.append(1)
            run_once()

        loop._run_once = counted
        assert run(asyncio.sleep(0.001, 3)) == 3
        assert len(turns) >= 2
        loop._run_once = run_once  # as programs do that undo it
        n = len(turns)
        assert run(asyncio.sleep(0.001, 3)) == 3
        assert len(turns) == n

    def test_run_once_replaced_while_the_loop_runs(self, loop, run):
        async def main():
            run_once, turns = loop._run_once, []
            loop._run_once = lambda: (turns.append(1), run_once())
            for _ in range(5):
                await asyncio.sleep(0)
            del loop._run_once
            n = len(turns)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return n >= 4 and len(turns) <= n + 1

        assert run(main())

    def test_run_once_of_a_subclass(self, loop_factory):
        base = loop_factory()
        base.close()

        class Loop(type(base)):
            turns = 0

            def _run_once(self):
                self.turns += 1
                super()._run_once()

        loop = Loop()
        assert loop.run_until_complete(asyncio.sleep(0.001, 3)) == 3
        assert loop.turns >= 2
        loop.close()

    def test_run_once_by_its_class(self, loop, run):
        """loop._run_once() that calls BaseEventLoop's."""
        seen = []
        loop._run_once = lambda: BaseEventLoop._run_once(loop) or seen.append(1)
        assert run(asyncio.sleep(0.001, 3)) == 3
        assert len(seen) >= 2
        del loop._run_once

    def test_run_once_of_all_loops_replaced(self, loop, run, monkeypatch):
        turns = []
        run_once = BaseEventLoop._run_once

        def timed(self):
            turns.append(self)
            return run_once(self)

        monkeypatch.setattr(BaseEventLoop, "_run_once", timed)
        assert run(asyncio.sleep(0.001, 3)) == 3
        assert len(turns) >= 2 and turns[0] is loop
        monkeypatch.undo()
        n = len(turns)
        assert run(asyncio.sleep(0.001, 3)) == 3
        assert len(turns) == n

    def test_turns_that_a_program_writes_itself(self, loop, run, pair):
        """What nested runs of nest_asyncio and of debuggers do, over the queues."""

        def run_once():
            ready, scheduled = loop._ready, loop._scheduled
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)
            timeout = 0 if ready else max(0, scheduled[0]._when - loop.time()) if scheduled else None
            loop._process_events(loop._selector.select(timeout))
            end = loop.time() + loop._clock_resolution
            while scheduled and scheduled[0]._when < end:
                ready.append(heapq.heappop(scheduled))
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()

        async def child():
            await asyncio.sleep(0.002)
            pair[1].send(b"x")
            return await loop.sock_recv(pair[0], 1)

        def work():
            task = loop.create_task(child())
            while not task.done():
                run_once()
            done.set_result(task.result())

        async def main():
            loop.call_soon(work)
            return await asyncio.wait_for(done, 30)

        done = loop.create_future()
        assert run(main()) == b"x"

    def test_setup_and_cleanup_by_hand(self, loop):
        """As loops do that are run by another loop, of a GUI say."""
        if not hasattr(loop, "_run_forever_setup"):
            pytest.skip("from Python 3.13 on")
        task = loop.create_task(asyncio.sleep(0.001, 6))
        loop._run_forever_setup()
        try:
            assert loop.is_running()
            assert asyncio._get_running_loop() is loop
            while not task.done():
                loop._run_once()
        finally:
            loop._run_forever_cleanup()
        assert not loop.is_running()
        assert task.result() == 6

    def test_setup_of_a_subclass(self, loop_factory):
        base = loop_factory()
        base.close()
        if not hasattr(base, "_run_forever_setup"):
            pytest.skip("from Python 3.13 on")

        class Loop(type(base)):
            def _run_forever_setup(self):
                seen.append("setup")
                super()._run_forever_setup()

            def _run_forever_cleanup(self):
                seen.append("cleanup")
                super()._run_forever_cleanup()

        seen = []
        loop = Loop()
        assert loop.run_until_complete(asyncio.sleep(0, 6)) == 6
        loop.close()
        assert seen == ["setup", "cleanup"]

    def test_sync_call_of_async_code(self, loop, run):
        """pulumi.runtime.sync_await: turns within a step, from several tasks and from a callback."""

        def sync_await(awaitable):
            future = asyncio.ensure_future(awaitable)
            todo, current = len(loop._ready), asyncio.current_task(loop)
            if current is not None:
                asyncio.tasks._leave_task(loop, current)
            while not future.done():
                loop._run_once()
            while len(loop._ready) < todo:
                handle = asyncio.Handle(lambda: None, [], loop)
                handle._cancelled = True
                loop._ready.append(handle)
            if current is not None:
                asyncio.tasks._enter_task(loop, current)
            return future.result()

        async def answer(n):
            await asyncio.sleep(0.001)
            return n

        async def child(n):
            me = asyncio.current_task()
            result = sync_await(answer(n))
            assert asyncio.current_task() is me
            await asyncio.sleep(0)
            return result

        async def main():
            done = loop.create_future()
            loop.call_soon(lambda: done.set_result(sync_await(answer(9))))
            results = await asyncio.gather(*map(child, range(3)))
            return results, sync_await(child(5)), await done

        assert run(main()) == ([0, 1, 2], 5, 9)


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
class TestCosts:
    """What is patched or reached into is slower, and afterwards it is as before."""

    def is_patched(self, loop):
        """Whether futures wake their tasks by handles, as in asyncio."""

        async def waiter(future):
            await future

        async def main():
            future = loop.create_future()
            task = asyncio.create_task(waiter(future))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            calls = []
            code = sys.getprofile()
            sys.setprofile(lambda frame, event, arg: calls.append(frame.f_code.co_name))
            try:
                await asyncio.sleep(0)
            finally:
                sys.setprofile(code)
            future.set_result(None)
            await task
            return "_run_once" in calls

        return loop.run_until_complete(main())

    def test_select(self, loop):
        assert not self.is_patched(loop)
        loop._selector.select = loop._selector.select
        assert self.is_patched(loop)
        del loop._selector.select
        assert not self.is_patched(loop)

    def test_list_of_timers(self, loop):
        loop.call_later(1000, int)
        scheduled = loop._scheduled
        assert self.is_patched(loop)
        del scheduled

        async def main():
            for _ in range(500):
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        assert not self.is_patched(loop)

    def test_reading_the_ready_queue_costs_nothing_later(self, loop):
        loop.call_soon(int)
        assert [*loop._ready]
        assert not self.is_patched(loop)

    def test_queue_that_was_replaced(self, loop):
        loop._ready = queue = collections.deque()
        assert self.is_patched(loop)
        del queue

        async def main():
            await asyncio.sleep(0)

        loop.run_until_complete(main())
        assert not self.is_patched(loop)

    def test_call_soon_put_back(self, loop):
        loop.call_soon = loop.call_soon
        assert not self.is_patched(loop)
