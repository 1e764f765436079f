"""asyncio's own functions on our Tasks and Futures: gather, wait, timeouts, groups, locks, queues."""

import asyncio
import sys

import pytest


async def value(result, delay=0):
    await asyncio.sleep(delay)
    return result


async def fail(error, delay=0):
    await asyncio.sleep(delay)
    raise error


async def forever():
    await asyncio.get_running_loop().create_future()


class TestGather:
    def test_gives_results_in_order(self, run):
        async def main():
            return await asyncio.gather(value(1, 0.003), value(2), value(3, 0.001))

        assert run(main()) == [1, 2, 3]

    def test_of_nothing_gives_an_empty_list(self, run):
        async def main():
            return await asyncio.gather()

        assert run(main()) == []

    def test_raises_the_first_exception(self, run):
        async def main():
            with pytest.raises(ValueError, match="^first$"):
                await asyncio.gather(value(1), fail(ValueError("first")), fail(KeyError("second"), 0.002))
            await asyncio.sleep(0.004)

        run(main())

    def test_returns_exceptions_if_asked(self, run):
        async def main():
            error = ValueError("x")
            assert await asyncio.gather(value(1), fail(error), return_exceptions=True) == [1, error]

        run(main())

    def test_of_one_future_twice_gives_its_result_twice(self, run, loop):
        async def main():
            task = loop.create_task(value(5))
            return await asyncio.gather(task, task)

        assert run(main()) == [5, 5]

    def test_of_1_000_tasks_gives_all_results(self, run):
        async def main():
            return sum(await asyncio.gather(*(value(i) for i in range(1_000))))

        assert run(main()) == 499_500


class TestWait:
    def test_returns_when_all_are_done(self, run, loop):
        async def main():
            tasks = {loop.create_task(value(i, i / 1000)) for i in range(3)}
            assert await asyncio.wait(tasks) == (tasks, set())

        run(main())

    def test_returns_when_the_first_is_done(self, run, loop):
        async def main():
            quick, slow = loop.create_task(value(1)), loop.create_task(forever())
            done, pending = await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)
            assert (done, pending) == ({quick}, {slow})
            slow.cancel()

        run(main())

    def test_returns_after_the_timeout(self, run, loop):
        async def main():
            slow = loop.create_task(forever())
            assert await asyncio.wait([slow], timeout=0.002) == (set(), {slow})
            slow.cancel()

        run(main())


class TestTimeouts:
    def test_wait_for_returns_raises_or_times_out(self, run):
        async def main():
            assert await asyncio.wait_for(value(1), 5) == 1
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(forever(), 0.002)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(forever(), 0)
            with pytest.raises(ValueError, match="^x$"):
                await asyncio.wait_for(fail(ValueError("x")), 5)

        run(main())

    def test_timeout_ends_a_block_that_takes_too_long(self, run):
        async def main():
            async with asyncio.timeout(5):
                await value(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.002) as timeout:
                    await forever()
            assert timeout.expired()
            assert asyncio.current_task().cancelling() == 0

        run(main())

    def test_rescheduled_timeout_does_not_expire(self, run, loop):
        async def main():
            async with asyncio.timeout(0.001) as timeout:
                timeout.reschedule(loop.time() + 10)
                await asyncio.sleep(0.003)
            assert not timeout.expired()

        run(main())

    def test_shielded_task_outlives_a_timeout(self, run, loop):
        async def main():
            inner = loop.create_task(value("kept", 0.005))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(inner), 0.001)
            return await inner

        assert run(main()) == "kept"


class TestTaskGroup:
    def test_tasks_have_their_names_and_results(self, run):
        async def main():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(value(i, i / 1000), name=f"t{i}") for i in range(3)]
            return [(task.get_name(), task.result()) for task in tasks]

        assert run(main()) == [("t0", 0), ("t1", 1), ("t2", 2)]

    def test_failure_cancels_the_others(self, run):
        async def main():
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    waiting = group.create_task(forever())
                    group.create_task(fail(ValueError("x")))
            assert waiting.cancelled()
            assert [str(exc) for exc in raised.value.exceptions] == ["x"]

        run(main())

    def test_failure_ends_a_body_that_waits(self, run):
        async def main():
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(ValueError("x")))
                    await forever()

        run(main())

    def test_cancel_reaches_the_tasks(self, run, loop):
        async def grouped():
            async with asyncio.TaskGroup() as group:
                children.append(group.create_task(forever()))

        async def main():
            task = loop.create_task(grouped())
            await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert children[0].cancelled()

        children = []
        run(main())

    def test_1_000_tasks_have_their_results(self, run):
        async def main():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(value(i)) for i in range(1_000)]
            return sum(task.result() for task in tasks)

        assert run(main()) == 499_500


def test_as_completed_gives_the_quickest_first(run):
    async def main():
        return [await each for each in asyncio.as_completed([value(i, i / 50) for i in (3, 1, 2)])]

    assert run(main()) == [1, 2, 3]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="came with Python 3.13")
def test_as_completed_gives_the_tasks_themselves(run, loop):
    async def main():
        tasks = [loop.create_task(value(i, i / 50)) for i in (2, 1)]
        return [tasks.index(each) async for each in asyncio.as_completed(tasks)]

    assert run(main()) == [1, 0]


class TestLocks:
    def test_lock_is_fair(self, run):
        async def main():
            async def enter(i):
                async with lock:
                    seen.append(i)
                    await asyncio.sleep(0)

            lock, seen = asyncio.Lock(), []
            await asyncio.gather(*map(enter, range(10)))
            assert seen == list(range(10))
            assert not lock.locked()

        run(main())

    def test_semaphore_lets_in_as_many_as_it_counts(self, run):
        async def main():
            async def enter():
                nonlocal inside, most
                async with semaphore:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

            semaphore, inside, most = asyncio.Semaphore(3), 0, 0
            await asyncio.gather(*(enter() for _ in range(10)))
            return most

        assert run(main()) == 3

    def test_event_wakes_all_waiters(self, run):
        async def main():
            event = asyncio.Event()
            waiting = asyncio.gather(*(event.wait() for _ in range(3)))
            await asyncio.sleep(0)
            event.set()
            return await waiting

        assert run(main()) == [True] * 3

    def test_condition_wakes_all_waiters_in_order(self, run, loop):
        async def main():
            async def wait(i):
                async with condition:
                    await condition.wait_for(lambda: ready)
                    seen.append(i)

            condition, ready, seen = asyncio.Condition(), False, []
            tasks = [loop.create_task(wait(i)) for i in range(3)]
            await asyncio.sleep(0)
            async with condition:
                ready = True
                condition.notify_all()
            await asyncio.wait(tasks)
            return seen

        assert run(main()) == [0, 1, 2]

    def test_barrier_lets_all_through_together(self, run):
        async def main():
            barrier = asyncio.Barrier(3)
            return sorted(await asyncio.gather(*(barrier.wait() for _ in range(3))))

        assert run(main()) == [0, 1, 2]


class TestQueues:
    @pytest.mark.parametrize("size", [0, 1, 10])
    def test_every_item_is_consumed_once(self, run, loop, size):
        async def main():
            async def produce():
                for i in range(100):
                    await queue.put(i)
                await queue.join()

            async def consume():
                while True:
                    seen.append(await queue.get())
                    queue.task_done()

            queue, seen = asyncio.Queue(size), []
            consumers = [loop.create_task(consume()) for _ in range(3)]
            await produce()
            for consumer in consumers:
                consumer.cancel()
            await asyncio.wait(consumers)
            return seen

        assert sorted(run(main())) == list(range(100))

    def test_priority_queue_gives_the_least_first(self, run):
        async def main():
            queue = asyncio.PriorityQueue()
            for i in (3, 1, 2):
                await queue.put(i)
            return [await queue.get() for _ in range(3)]

        assert run(main()) == [1, 2, 3]


class TestRunner:
    def test_close_cancels_leftover_tasks(self, loop_factory):
        async def main():
            leftover = asyncio.create_task(forever())
            await asyncio.sleep(0)
            return leftover

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            leftover = runner.run(main())
            assert not leftover.done()
        assert leftover.cancelled()

    def test_debug_sets_the_debug_mode_of_the_loop(self, loop_factory):
        async def main():
            return asyncio.get_running_loop().get_debug()

        with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
            assert runner.run(main()) is True

    def test_leftover_that_fails_is_reported(self, loop_factory, caplog):
        async def stubborn():
            try:
                await forever()
            finally:
                raise ValueError("x")

        async def main():
            asyncio.current_task().child = asyncio.create_task(stubborn())
            await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
        assert "unhandled exception during asyncio.run() shutdown" in caplog.text

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="loop_factory came with Python 3.12")
    def test_asyncio_run_takes_a_loop_factory(self, loop_factory):
        assert asyncio.run(value(5), loop_factory=loop_factory) == 5
