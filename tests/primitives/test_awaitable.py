"""What the waiting methods return goes wherever a coroutine goes."""

import asyncio
import gc
import inspect
import types
import warnings
import weakref
from collections.abc import Coroutine

import pytest


@pytest.fixture
def lock(primitives):
    return primitives.Lock()


@pytest.fixture
def held(lock, run):
    """A lock that somebody has."""
    run(lock.acquire())
    return lock


def step(coroutine, method="send", *args):
    """Step a coroutine: what it yields, or ("returned", its result), or ("raised", the exception)."""
    try:
        return getattr(coroutine, method)(*args)
    except StopIteration as stop:
        return "returned", stop.value
    except BaseException as exc:
        return "raised", type(exc), str(exc)


class TestProtocol:
    def test_it_counts_as_a_coroutine(self, lock):
        coroutine = lock.acquire()
        assert asyncio.iscoroutine(coroutine)
        assert isinstance(coroutine, Coroutine)
        assert inspect.isawaitable(coroutine)
        coroutine.close()

    def test_names_and_repr(self, lock):
        coroutine = lock.acquire()
        assert (coroutine.__name__, coroutine.__qualname__) == ("acquire", "Lock.acquire")
        assert repr(coroutine) == f"<coroutine object Lock.acquire at {id(coroutine):#x}>"
        assert coroutine.cr_running is False
        coroutine.close()

    def test_weak_references(self, lock):
        coroutine = lock.acquire()
        died = []
        reference = weakref.ref(coroutine, died.append)
        assert reference() is coroutine
        coroutine.close()
        del coroutine
        gc.collect()
        assert reference() is None
        assert died == [reference]

    def test_nothing_happens_before_it_is_awaited(self, lock):
        coroutine = lock.acquire()
        assert not lock.locked()
        assert step(coroutine, "send", None) == ("returned", True)
        assert lock.locked()

    def test_an_iterator_is_resumed_by_next(self, lock):
        with pytest.raises(StopIteration) as caught:
            next(lock.acquire().__await__())
        assert caught.value.value is True

    def test_awaited_twice(self, lock):
        coroutine = lock.acquire()
        step(coroutine, "send", None)
        expected = ("raised", RuntimeError, "cannot reuse already awaited coroutine")
        assert step(coroutine, "send", None) == expected
        assert step(coroutine, "throw", ValueError()) == expected
        assert coroutine.close() is None

    def test_awaited_while_it_waits(self, held, run):
        async def main():
            coroutine = held.acquire()
            task = asyncio.ensure_future(coroutine)
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="^coroutine is being awaited already$"):
                await coroutine
            held.release()
            return await task

        assert run(main()) is True

    def test_the_first_value_sent_must_be_none(self, lock):
        coroutine = lock.acquire()
        assert step(coroutine, "send", 1) == (
            "raised",
            TypeError,
            "can't send non-None value to a just-started coroutine",
        )
        assert step(coroutine, "send", None) == ("returned", True)

    def test_throw_before_it_has_started(self, lock):
        coroutine = lock.acquire()
        assert step(coroutine, "throw", ValueError("x")) == ("raised", ValueError, "x")
        assert step(coroutine, "send", None)[1] is RuntimeError
        assert not lock.locked()

    def test_throw_of_nonsense(self, lock):
        coroutine = lock.acquire()
        assert step(coroutine, "throw", 3)[1] is TypeError
        assert step(coroutine, "throw")[1] is TypeError
        coroutine.close()

    def test_close_before_it_has_started(self, lock):
        coroutine = lock.acquire()
        assert coroutine.close() is None
        assert step(coroutine, "send", None) == (
            "raised",
            RuntimeError,
            "cannot reuse already awaited coroutine",
        )

    @pytest.mark.parametrize("how", ["close", "drop", "throw"])
    def test_ended_while_it_waits(self, held, run, how):
        async def main():
            coroutine = held.acquire()
            future = coroutine.send(None)
            assert asyncio.isfuture(future)
            assert len(held._waiters) == 1
            if how == "close":
                coroutine.close()
            elif how == "drop":
                del coroutine
                gc.collect()
            else:
                assert step(coroutine, "throw", ValueError("x")) == ("raised", ValueError, "x")
            assert len(held._waiters) == 0
            assert not future.done()

        run(main())

    def test_sent_to_before_the_future_is_done(self, held, run):
        async def main():
            coroutine = held.acquire()
            coroutine.send(None)
            assert step(coroutine, "send", None) == ("raised", RuntimeError, "await wasn't used with future")
            assert len(held._waiters) == 0

        run(main())

    def test_warns_when_it_was_never_awaited(self, lock):
        with pytest.warns(RuntimeWarning, match="coroutine 'Lock.acquire' was never awaited"):
            lock.acquire()
            gc.collect()
        assert not lock.locked()

    def test_the_warning_may_be_an_error(self, lock, monkeypatch):
        seen = []
        monkeypatch.setattr("sys.unraisablehook", lambda args: seen.append(args.exc_type))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lock.acquire()
            gc.collect()
        assert seen == [RuntimeWarning]

    def test_a_cycle_is_collected(self, primitives):
        lock = primitives.Lock()
        lock.mine = lock.acquire()
        lock.mine.close()
        reference = weakref.ref(lock)
        del lock
        gc.collect()
        assert reference() is None


class TestPlaces:
    def test_create_task(self, held, run):
        async def main():
            task = asyncio.create_task(held.acquire())
            await asyncio.sleep(0)
            assert "coro=<Lock.acquire()" in repr(task)
            assert isinstance(task.get_stack(), list)
            held.release()
            return await task

        assert run(main()) is True

    def test_wait_for(self, held, run):
        async def main():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(held.acquire(), 0.001)
            assert not held._waiters
            held.release()
            return await asyncio.wait_for(held.acquire(), 10)

        assert run(main()) is True

    def test_gather_and_wait(self, primitives, run):
        async def main():
            event = primitives.Event()
            waiting = asyncio.gather(event.wait(), event.wait())
            tasks = {asyncio.ensure_future(event.wait()) for _ in range(2)}
            await asyncio.sleep(0)
            event.set()
            assert await waiting == [True, True]
            done, pending = await asyncio.wait(tasks)
            assert (done, pending) == (tasks, set())

        run(main())

    def test_run(self, primitives, loop):
        assert loop.run_until_complete(primitives.Lock().acquire()) is True

    def test_shield(self, held, run):
        async def main():
            inner = asyncio.ensure_future(held.acquire())
            outer = asyncio.ensure_future(asyncio.shield(inner))
            await asyncio.sleep(0)
            outer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await outer
            held.release()
            return await inner

        assert run(main()) is True

    def test_in_a_generator_based_coroutine(self, lock):
        @types.coroutine
        def old():
            return (yield from lock.acquire().__await__())

        assert step(old(), "send", None) == ("returned", True)
