"""Lock: who gets it, and what happens to it when a waiter is cancelled."""

import asyncio
import collections
import gc
import re

import pytest


@pytest.fixture
def lock(primitives):
    return primitives.Lock()


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


class Waiter:
    """A task that wants a lock, notes when it has it, and keeps it until it is told."""

    def __init__(self, lock, name, order):
        self.go = asyncio.get_running_loop().create_future()
        self.task = asyncio.ensure_future(self.work(lock, name, order))

    async def work(self, lock, name, order):
        async with lock:
            order.append(name)
            await self.go


class TestInterface:
    def test_classes(self, lock, primitives):
        assert isinstance(lock, asyncio.Lock)
        assert type(lock) is primitives.Lock

    def test_repr(self, lock, run):
        async def main():
            assert re.fullmatch(r"<.*Lock object at 0x[0-9a-f]+ \[unlocked\]>", repr(lock))
            await lock.acquire()
            assert repr(lock).endswith(" [locked]>")
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            assert repr(lock).endswith(" [locked, waiters:1]>")
            lock.release()
            await task

        run(main())

    def test_no_arguments(self, primitives):
        with pytest.raises(TypeError):
            primitives.Lock(1)
        with pytest.raises(TypeError):
            primitives.Lock(loop=None)

    def test_released_too_often(self, lock):
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
            lock.release()

    def test_released_too_often_by_aexit(self, lock, run):
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
            run(lock.__aexit__(None, None, None))

    def test_aexit_needs_three_arguments(self, lock):
        with pytest.raises(TypeError):
            lock.__aexit__()

    def test_context_manager(self, lock, run):
        async def main():
            async with lock as nothing:
                assert nothing is None
                assert lock.locked()
            assert not lock.locked()
            with pytest.raises(ValueError, match="^x$"):
                async with lock:
                    raise ValueError("x")
            assert not lock.locked()

        run(main())

    def test_no_plain_context_manager(self, lock):
        with pytest.raises((TypeError, AttributeError)), lock:
            pass

    def test_private_attributes(self, lock, run):
        assert (lock._loop, lock._waiters, lock._locked) == (None, None, False)

        async def main():
            await lock.acquire()
            assert (lock._loop, lock._waiters, lock._locked) == (None, None, True)
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            assert lock._loop is asyncio.get_running_loop()
            assert type(lock._waiters) is collections.deque
            assert asyncio.isfuture(lock._waiters[0])
            lock.release()
            await task
            assert (list(lock._waiters), lock._locked) == ([], True)
            lock._locked = False
            assert not lock.locked()

        run(main())

    def test_init_again_resets_it(self, lock, run):
        run(lock.acquire())
        lock.__init__()
        assert not lock.locked()

    def test_weakly_referenced_and_with_attributes(self, lock):
        lock.owner = "me"
        assert vars(lock)["owner"] == "me"


class TestOrder:
    def test_first_come_first_served(self, lock, run):
        async def main():
            order = []
            await lock.acquire()
            waiters = [Waiter(lock, i, order) for i in range(4)]
            await turns()
            lock.release()
            for i, waiter in enumerate(waiters):
                await turns()
                assert order == list(range(i + 1))
                waiter.go.set_result(None)
            await asyncio.gather(*[waiter.task for waiter in waiters])
            assert not lock.locked()

        run(main())

    def test_nobody_overtakes_who_was_woken(self, lock, run):
        async def main():
            order = []
            await lock.acquire()
            first = Waiter(lock, "first", order)
            await turns()
            lock.release()
            assert not lock.locked()
            second = Waiter(lock, "second", order)
            first.go.set_result(None)
            second.go.set_result(None)
            await asyncio.gather(first.task, second.task)
            assert order == ["first", "second"]

        run(main())

    def test_who_has_the_lock_may_not_overtake(self, lock, run):
        async def main():
            order = []
            await lock.acquire()
            waiter = Waiter(lock, "waiter", order)
            await turns()
            waiter.go.set_result(None)
            lock.release()
            async with lock:
                order.append("me")
            assert order == ["waiter", "me"]
            await waiter.task

        run(main())

    def test_free_while_all_waiters_are_cancelled(self, lock, run):
        async def main():
            await lock.acquire()
            tasks = [asyncio.ensure_future(lock.acquire()) for _ in range(2)]
            await turns()
            for task in tasks:
                task.cancel()
            lock.release()
            assert step_of(lock.acquire()) == "returned"
            await turns()
            assert all(task.cancelled() for task in tasks)

        def step_of(coroutine):
            try:
                coroutine.send(None)
            except StopIteration:
                return "returned"
            coroutine.close()
            return "waits"

        run(main())


class TestCancellation:
    def test_while_it_waits(self, lock, run):
        async def main():
            await lock.acquire()
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="^why$"):
                await task
            assert not lock._waiters
            assert lock.locked()
            lock.release()

        run(main())

    @pytest.mark.parametrize("cancel_first", [False, True])
    def test_after_the_lock_was_handed_over(self, lock, run, cancel_first):
        async def main():
            await lock.acquire()
            tasks = [asyncio.ensure_future(lock.acquire()) for _ in range(3)]
            await turns()
            if cancel_first:
                tasks[0].cancel()
                lock.release()
            else:
                lock.release()
                tasks[0].cancel()
            await turns()
            assert tasks[0].cancelled()
            assert await tasks[1] is True
            lock.release()
            assert await tasks[2] is True
            lock.release()

        run(main())

    def test_of_the_last_waiter_that_was_handed_it(self, lock, run):
        async def main():
            await lock.acquire()
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            lock.release()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not lock.locked()
            assert await lock.acquire() is True

        run(main())

    def test_another_exception_does_not_pass_it_on(self, lock, run):
        async def main():
            await lock.acquire()
            waiting = lock.acquire()
            waiting.send(None)
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            lock.release()
            with pytest.raises(ValueError, match="^x$"):
                waiting.throw(ValueError("x"))
            await turns()
            assert not task.done()
            task.cancel()
            await turns()

        run(main())

    def test_waiter_that_the_program_has_removed(self, lock, run):
        async def main():
            await lock.acquire()
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            lock._waiters[0].set_result(True)
            lock._waiters.clear()
            with pytest.raises(ValueError):
                await task

        run(main())


class TestLoops:
    def test_bound_to_the_loop_of_the_first_contention(self, lock, loop_factory):
        first, second = loop_factory(), loop_factory()

        async def contend():
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            lock.release()
            await task

        async def take():
            return await lock.acquire()

        try:
            first.run_until_complete(take())
            assert lock._loop is None
            first.run_until_complete(contend())
            assert lock._loop is first
            with pytest.raises(RuntimeError, match=r"Lock object at .* is bound to a different event loop$"):
                second.run_until_complete(take())
            lock.release()
            assert second.run_until_complete(take()) is True
        finally:
            first.close()
            second.close()

    def test_contended_without_a_loop(self, lock):
        coroutine = lock.acquire()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        with pytest.raises(AttributeError):
            lock.acquire().send(None)

    def test_own_kind_of_future(self, lock, loop):
        class Special(asyncio.Future):
            pass

        loop.create_future = lambda: Special(loop=loop)

        async def main():
            await lock.acquire()
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            assert type(lock._waiters[0]) is Special
            lock.release()
            return await task

        assert loop.run_until_complete(main()) is True

    def test_debug_mode(self, lock, loop):
        loop.set_debug(True)

        async def main():
            order = []
            waiters = [Waiter(lock, i, order) for i in range(3)]
            for waiter in waiters:
                waiter.go.set_result(None)
            await asyncio.gather(*[waiter.task for waiter in waiters])
            return order

        assert loop.run_until_complete(main()) == [0, 1, 2]


class TestOverriding:
    def test_acquire_and_release_in_a_subclass(self, primitives, run):
        calls = []

        class Loud(primitives.Lock):
            async def acquire(self):
                calls.append("acquire")
                return await super().acquire()

            def release(self):
                calls.append("release")
                super().release()

        async def main():
            lock = Loud()
            async with lock:
                task = asyncio.ensure_future(lock.acquire())
                await turns()
            await task
            lock.release()
            assert not lock.locked()

        run(main())
        assert calls == ["acquire", "acquire", "release", "release"]

    def test_wake_up_in_a_subclass(self, primitives, run):
        calls = []

        class Loud(primitives.Lock):
            def _wake_up_first(self):
                calls.append(len(self._waiters or ()))
                super()._wake_up_first()

        async def main():
            lock = Loud()
            await lock.acquire()
            task = asyncio.ensure_future(lock.acquire())
            await turns()
            lock.release()
            await task

        run(main())
        assert calls == [1]

    def test_on_the_object(self, lock, run):
        calls = []
        lock.release = lambda: calls.append("released")

        async def main():
            async with lock:
                pass

        run(main())
        assert calls == ["released"]
        assert lock.locked()

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_in_the_class_while_it_is_used(self, primitives, run, monkeypatch, when):
        calls = []
        lock = primitives.Lock()
        stock_release = primitives.Lock.release

        def release(self):
            calls.append("release")
            stock_release(self)

        async def main():
            async with lock:
                pass

        if when == "after":
            run(main())
        monkeypatch.setattr(primitives.Lock, "release", release)
        run(main())
        run(main())
        monkeypatch.undo()
        run(main())
        assert calls == ["release", "release"]

    def test_in_asyncios_class(self, primitives, run, monkeypatch):
        calls = []
        lock = primitives.Lock()
        stock = asyncio.Lock._wake_up_first

        def wake(self):
            calls.append("wake")
            stock(self)

        monkeypatch.setattr(asyncio.Lock, "_wake_up_first", wake)

        async def main():
            async with lock:
                pass

        run(main())
        assert calls == ["wake"]


class TestReentrancy:
    def test_waking_may_run_anything(self, lock, loop):
        """call_soon() of the program runs while the lock is released: it drops and replaces the waiters."""
        soon = loop.call_soon
        seen = []

        def call_soon(callback, *args, context=None):
            if lock._waiters:
                seen.append(len(lock._waiters))
                lock._waiters = None
                gc.collect()
            return soon(callback, *args, context=context)

        async def main():
            await lock.acquire()
            waiting = lock.acquire()
            waiting.send(None).add_done_callback(lambda future: None)
            loop.call_soon = call_soon
            lock.release()
            loop.call_soon = soon
            with pytest.raises((ValueError, AttributeError)):
                waiting.send(None)

        loop.run_until_complete(main())
        assert seen == [1]


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
def test_without_version_tags(script):
    """The interpreter gives a class 1,000 tags from 3.13 on. Without one, only a change of the class is looked into."""
    done = script("""
        import asyncloop

        for i in range(1500):
            asyncio.Lock._of_a_test = i
            hasattr(asyncloop.Lock, "_of_a_test")

        looks, seen = [], []

        def profile(frame, event, argument):
            if event == "call" and frame.f_code.co_name == "is_plain":
                looks.append(1)

        def release(self):
            seen.append(1)
            stock(self)

        async def main():
            global stock
            lock = asyncloop.Lock()
            async with lock:
                pass
            sys.setprofile(profile)
            for _ in range(100):
                async with lock:
                    pass
            sys.setprofile(None)
            stock, asyncio.Lock.release = asyncio.Lock.release, release
            async with lock:
                pass

        asyncio.run(main())
        print(len(looks), len(seen))
    """)
    assert done.stdout.split() == ["0", "1"]
