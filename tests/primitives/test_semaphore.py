"""Semaphore and BoundedSemaphore: places that are given back, also by waiters that are cancelled."""

import asyncio
import math

import pytest


@pytest.fixture(params=["Semaphore", "BoundedSemaphore"])
def new(primitives, request):
    return getattr(primitives, request.param)


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


class TestInterface:
    def test_classes(self, primitives):
        assert isinstance(primitives.Semaphore(), asyncio.Semaphore)
        assert isinstance(primitives.BoundedSemaphore(), asyncio.BoundedSemaphore)
        assert isinstance(primitives.BoundedSemaphore(), primitives.Semaphore)

    def test_repr(self, new, run):
        async def main():
            semaphore = new(2)
            assert repr(semaphore).endswith(" [unlocked, value:2]>")
            await semaphore.acquire()
            await semaphore.acquire()
            assert repr(semaphore).endswith(" [locked]>")
            task = asyncio.ensure_future(semaphore.acquire())
            await turns()
            assert repr(semaphore).endswith(" [locked, waiters:1]>")
            semaphore.release()
            await task

        run(main())

    def test_value(self, new):
        assert new()._value == 1
        assert new(value=3)._value == 3
        with pytest.raises(ValueError, match="^Semaphore initial value must be >= 0$"):
            new(-1)
        with pytest.raises(TypeError):
            new("x")
        with pytest.raises(TypeError):
            new(1, 2)

    @pytest.mark.parametrize("value", [math.inf, 2**80, True], ids=["inf", "large", "bool"])
    def test_other_numbers(self, primitives, run, value):
        async def main():
            semaphore = primitives.Semaphore(value)
            async with semaphore:
                assert semaphore._value == value - 1
            assert semaphore._value == value
            assert semaphore.locked() is False

        run(main())

    def test_value_that_the_program_sets(self, new, run):
        async def main():
            semaphore = new(5)
            semaphore._value = 0
            assert semaphore.locked()
            task = asyncio.ensure_future(semaphore.acquire())
            await turns()
            assert not task.done()
            semaphore.release()
            assert await task is True
            semaphore._value = math.inf
            assert await semaphore.acquire() is True
            with pytest.raises(AttributeError):
                del semaphore.nothing

        run(main())

    def test_bound(self, primitives, run):
        semaphore = primitives.BoundedSemaphore(2)
        assert semaphore._bound_value == 2
        with pytest.raises(ValueError, match="^BoundedSemaphore released too many times$"):
            semaphore.release()
        with pytest.raises(ValueError):
            run(semaphore.__aexit__(None, None, None))
        semaphore._bound_value = 3
        semaphore.release()
        assert semaphore._value == 3

    def test_unbound(self, primitives):
        semaphore = primitives.Semaphore(0)
        for _ in range(3):
            semaphore.release()
        assert semaphore._value == 3


class TestWaiting:
    def test_as_many_as_there_are_places(self, new, run):
        async def main():
            semaphore, inside, most = new(3), 0, 0

            async def work():
                nonlocal inside, most
                async with semaphore:
                    inside += 1
                    most = max(most, inside)
                    await turns(1)
                    inside -= 1

            await asyncio.gather(*[work() for _ in range(12)])
            assert (inside, most, semaphore._value) == (0, 3, 3)

        run(main())

    def test_in_order(self, new, run):
        async def main():
            semaphore, order = new(1), []

            async def work(name):
                async with semaphore:
                    order.append(name)
                    await turns(1)

            await asyncio.gather(*map(work, range(6)))
            assert order == list(range(6))

        run(main())

    @pytest.mark.parametrize("cancelled", range(3))
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_cancelled_waiters_give_back_their_places(self, primitives, run, cancelled, when):
        async def main():
            semaphore = primitives.Semaphore(2)
            await semaphore.acquire()
            await semaphore.acquire()
            tasks = [asyncio.ensure_future(semaphore.acquire()) for _ in range(4)]
            await turns()
            if when == "before":
                tasks[cancelled].cancel()
            semaphore.release()
            semaphore.release()
            if when == "after":
                tasks[cancelled].cancel()
            await turns(5)
            assert tasks[cancelled].cancelled()
            assert sum(task.done() and not task.cancelled() for task in tasks) == 2
            semaphore.release()
            await turns(5)
            assert all(task.done() for task in tasks)
            assert semaphore._value == 0
            assert not semaphore._waiters

        run(main())

    def test_closed_while_it_waits(self, new, run):
        async def main():
            semaphore = new(1)
            await semaphore.acquire()
            waiting = semaphore.acquire()
            waiting.send(None)
            semaphore.release()
            waiting.close()
            assert not semaphore._waiters
            return semaphore._value

        assert run(main()) == 0  # asyncio does not give back the place either: GeneratorExit is no CancelledError


class TestOverriding:
    @pytest.mark.parametrize("name", ["acquire", "release", "locked", "_wake_up_next", "_get_loop"])
    def test_in_a_subclass(self, new, run, name):
        calls = []

        def method(self, *args):
            calls.append(name)
            return getattr(super(Loud, self), name)(*args)

        Loud = type("Loud", (new,), {name: method})

        async def main():
            semaphore = Loud(1)
            async with semaphore:
                task = asyncio.ensure_future(semaphore.acquire())
                await turns()
            await task
            semaphore.release()
            return semaphore._value

        assert run(main()) == 1
        assert calls

    def test_release_of_a_bounded_one_on_the_object(self, primitives, run):
        semaphore = primitives.BoundedSemaphore(1)
        semaphore.release = lambda: None

        async def main():
            async with semaphore:
                pass

        run(main())
        assert semaphore._value == 0
