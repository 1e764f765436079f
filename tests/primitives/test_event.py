"""Event: set() wakes everybody who waits."""

import asyncio
import collections

import pytest


@pytest.fixture
def event(primitives):
    return primitives.Event()


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


class TestInterface:
    def test_classes(self, event, primitives):
        assert isinstance(event, asyncio.Event)
        assert type(event) is primitives.Event

    def test_repr(self, event, run):
        async def main():
            assert repr(event).endswith(" [unset]>")
            task = asyncio.ensure_future(event.wait())
            await turns()
            assert repr(event).endswith(" [unset, waiters:1]>")
            event.set()
            assert repr(event).endswith(" [set, waiters:1]>")
            await task
            assert repr(event).endswith(" [set]>")

        run(main())

    def test_private_attributes(self, event):
        assert (event._loop, event._value) == (None, False)
        assert event._waiters == collections.deque()
        assert event._waiters is event._waiters
        event._value = True
        assert event.is_set()

    def test_no_arguments(self, primitives):
        with pytest.raises(TypeError):
            primitives.Event(1)

    def test_set_and_clear(self, event):
        assert not event.is_set()
        assert event.set() is None
        assert event.is_set()
        assert event.clear() is None
        assert not event.is_set()


class TestWaiting:
    def test_returns_at_once_when_set(self, event, run):
        event.set()
        assert run(event.wait()) is True
        assert event._loop is None

    def test_wakes_all_in_order(self, event, run):
        async def main():
            order = []

            async def wait(name):
                assert await event.wait() is True
                order.append(name)

            tasks = [asyncio.ensure_future(wait(i)) for i in range(4)]
            await turns()
            event.set()
            event.set()
            await asyncio.gather(*tasks)
            assert order == [0, 1, 2, 3]
            assert not event._waiters

        run(main())

    def test_woken_although_it_was_cleared_meanwhile(self, event, run):
        async def main():
            task = asyncio.ensure_future(event.wait())
            await turns()
            event.set()
            event.clear()
            assert await task is True
            assert not event.is_set()

        run(main())

    def test_cancelled(self, event, run):
        async def main():
            tasks = [asyncio.ensure_future(event.wait()) for _ in range(3)]
            await turns()
            tasks[1].cancel()
            await turns()
            assert [task.done() for task in tasks] == [False, True, False]
            assert len(event._waiters) == 2
            event.set()
            tasks[2].cancel()
            await turns()
            assert [task.cancelled() for task in tasks] == [False, True, True]
            assert not event._waiters

        run(main())

    def test_waiters_that_change_while_it_is_set(self, event, loop):
        """call_soon() of the program runs within set(), and changes the waiters."""
        soon = loop.call_soon

        def call_soon(callback, *args, context=None):
            if len(event._waiters) == 2:
                event._waiters.append(loop.create_future())
            return soon(callback, *args, context=context)

        async def main():
            waiting = [event.wait(), event.wait()]
            for coroutine in waiting:
                coroutine.send(None).add_done_callback(lambda future: None)
            loop.call_soon = call_soon
            with pytest.raises(RuntimeError, match="mutated during iteration"):
                event.set()
            loop.call_soon = soon
            for coroutine in waiting:
                coroutine.close()

        loop.run_until_complete(main())

    def test_bound_to_another_loop(self, event, loop_factory):
        loops = [loop_factory(), loop_factory()]

        async def wait():
            task = asyncio.ensure_future(event.wait())
            await turns()
            task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]

        try:
            assert type(loops[0].run_until_complete(wait())) is asyncio.CancelledError
            with pytest.raises(RuntimeError, match="is bound to a different event loop$"):
                loops[1].run_until_complete(event.wait())
        finally:
            for loop in loops:
                loop.close()


def test_get_loop_in_a_subclass(primitives, run):
    calls = []

    class Loud(primitives.Event):
        def _get_loop(self):
            calls.append("loop")
            return super()._get_loop()

    async def main():
        event = Loud()
        task = asyncio.ensure_future(event.wait())
        await turns()
        event.set()
        return await task

    assert run(main()) is True
    assert calls == ["loop"]
