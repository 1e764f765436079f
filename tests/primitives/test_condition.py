"""Condition and Barrier: notified, cancelled while they take the lock again, on locks of other types."""

import asyncio

import pytest

PASSES_ON = hasattr(asyncio.Condition, "_notify")


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


class TestInterface:
    def test_classes(self, primitives):
        assert isinstance(primitives.Condition(), asyncio.Condition)
        assert type(primitives.Condition()._lock) is primitives.Lock
        assert isinstance(primitives.Barrier(1), asyncio.Barrier)
        assert type(primitives.Barrier(1)._cond) is primitives.Condition

    def test_repr(self, primitives, run):
        async def main():
            condition = primitives.Condition()
            assert repr(condition).endswith(" [unlocked]>")
            async with condition:
                assert repr(condition).endswith(" [locked]>")
                task = asyncio.ensure_future(condition.wait())
                await turns()
                await condition.acquire()
            assert repr(condition).endswith(" [unlocked, waiters:1]>")
            task.cancel()
            await turns()

        run(main())

    def test_needs_the_lock(self, primitives, run):
        condition = primitives.Condition()
        with pytest.raises(RuntimeError, match="^cannot wait on un-acquired lock$"):
            run(condition.wait())
        for notify in (condition.notify, condition.notify_all):
            with pytest.raises(RuntimeError, match="^cannot notify on un-acquired lock$"):
                notify()

    def test_the_methods_of_its_lock(self, primitives, run):
        async def main():
            lock = primitives.Lock()
            condition = primitives.Condition(lock)
            assert condition._lock is lock
            assert await condition.acquire() is True
            assert lock.locked() and condition.locked()
            condition.release()
            assert not lock.locked()

        run(main())


async def start(condition, count):
    """Tasks that wait for a condition, whose lock nobody has then."""

    async def wait(name):
        async with condition:
            assert await condition.wait() is True
            return name

    tasks = [asyncio.ensure_future(wait(i)) for i in range(count)]
    await turns()
    assert len(condition._waiters) == count
    return tasks


class TestWaiting:
    @pytest.mark.parametrize("n", [0, 1, 2, 3, 9, None, True])
    def test_notify(self, primitives, run, n):
        async def main():
            condition = primitives.Condition()
            tasks = await start(condition, 3)
            async with condition:
                if n is None:
                    condition.notify()
                else:
                    condition.notify(n=n)
            await turns(6)
            woken = sum(task.done() for task in tasks)
            assert woken == (1 if n is None else min(n, 3))
            async with condition:
                condition.notify_all()
            assert await asyncio.gather(*tasks) == [0, 1, 2]

        run(main())

    def test_notify_of_nonsense(self, primitives, run):
        async def main():
            condition = primitives.Condition()
            tasks = await start(condition, 2)
            async with condition:
                with pytest.raises(TypeError):
                    condition.notify("x")
                condition.notify(1.5)
            await turns(6)
            return all(task.done() for task in tasks)

        assert run(main()) is True

    def test_wait_for(self, primitives, run):
        async def main():
            condition, number = primitives.Condition(), 0

            async def wait():
                async with condition:
                    return await condition.wait_for(lambda: number >= 3 and number)

            task = asyncio.ensure_future(wait())
            for number in range(1, 4):
                async with condition:
                    condition.notify_all()
                await turns()
                assert task.done() is (number == 3)
            return await task

        assert run(main()) == 3

    def test_cancelled_while_it_waits(self, primitives, run):
        async def main():
            condition = primitives.Condition()
            tasks = await start(condition, 2)
            tasks[0].cancel("why")
            with pytest.raises(asyncio.CancelledError, match="^why$"):
                await tasks[0]
            assert not condition.locked()
            await turns()
            if PASSES_ON:
                assert tasks[1].done()  # a spurious wake-up, which is allowed
            else:
                async with condition:
                    condition.notify()
            assert await tasks[1] == 1

        run(main())

    @pytest.mark.parametrize("times", [1, 2])
    def test_cancelled_while_it_takes_the_lock_again(self, primitives, run, times):
        async def main():
            condition = primitives.Condition()
            tasks = await start(condition, 1)
            await condition.acquire()
            condition.notify()
            await turns()
            for i in range(times):
                tasks[0].cancel(str(i))
                await turns()
            assert not tasks[0].done()
            condition.release()
            with pytest.raises(asyncio.CancelledError) as caught:
                await tasks[0]
            if PASSES_ON:
                assert caught.value.args == (str(times - 1),)
            assert not condition.locked()

        run(main())

    def test_closed_while_it_waits(self, primitives, run):
        async def main():
            condition = primitives.Condition()
            await condition.acquire()
            waiting = condition.wait()
            waiting.send(None)
            assert not condition.locked()
            waiting.close()
            assert condition.locked()
            assert not condition._waiters

        run(main())

    def test_closed_while_another_has_the_lock(self, primitives, run):
        async def main():
            condition = primitives.Condition()
            await condition.acquire()
            waiting = condition.wait()
            waiting.send(None)
            await condition.acquire()
            with pytest.raises(RuntimeError, match="^coroutine ignored GeneratorExit$"):
                waiting.close()
            condition.release()
            with pytest.raises(GeneratorExit):
                waiting.send(None)
            assert condition.locked()

        run(main())

    def test_a_lock_of_another_type(self, primitives, run):
        class Strange:
            def __init__(self):
                self.calls = []

            def locked(self):
                return True

            async def acquire(self):
                await asyncio.sleep(0)
                self.calls.append("acquire")
                if self.calls.count("acquire") == 2:
                    raise ValueError("no")
                return True

            def release(self):
                self.calls.append("release")

        async def main():
            lock = Strange()
            condition = primitives.Condition(lock)

            async def wait():
                async with condition:
                    await condition.wait()

            task = asyncio.ensure_future(wait())
            await turns()
            condition.notify()
            with pytest.raises(ValueError, match="^no$"):
                await task
            assert lock.calls == ["acquire", "release", "acquire", "release"]

        run(main())

    def test_notify_in_a_subclass(self, primitives, run):
        calls = []

        class Loud(primitives.Condition):
            def notify(self, n=1):
                calls.append(n)
                super().notify(n)

        async def main():
            condition = Loud()
            tasks = await start(condition, 2)
            async with condition:
                condition.notify_all()
            await asyncio.gather(*tasks)

        run(main())
        assert calls == [2]


class TestBarrier:
    def test_all_or_nobody(self, primitives, run):
        async def main():
            barrier = primitives.Barrier(3)
            tasks = [asyncio.ensure_future(barrier.wait()) for _ in range(2)]
            await turns(6)
            assert (barrier.n_waiting, barrier.parties, barrier.broken) == (2, 3, False)
            assert repr(barrier).endswith(" [filling, waiters:2/3]>")
            results = [await barrier.wait(), *await asyncio.gather(*tasks)]
            assert sorted(results) == [0, 1, 2]
            async with primitives.Barrier(1) as position:
                assert position == 0

        run(main())

    def test_aborted(self, primitives, run):
        async def main():
            barrier = primitives.Barrier(2)
            task = asyncio.ensure_future(barrier.wait())
            await turns(6)
            await barrier.abort()
            with pytest.raises(asyncio.BrokenBarrierError):
                await task
            assert barrier.broken
            with pytest.raises(ValueError):
                primitives.Barrier(0)

        run(main())
