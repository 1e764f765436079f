"""timeout() and Timeout: what a subclass, a program that looks inside, and an odd loop see."""

import asyncio
import copy
import gc
import pickle
import weakref

import pytest
import stock

import asyncloop

checks_state = pytest.mark.skipif(
    not stock.TIMEOUT_CHECKS_STATE, reason="asyncio's code does not, and does it for ours"
)


async def spin():
    while True:
        await asyncio.sleep(0)


class TestInterface:
    def test_class(self, waits):
        timeout = waits.timeout_at(None)
        assert isinstance(timeout, asyncio.Timeout)
        assert type(timeout) is waits.Timeout

    def test_states(self, waits, run):
        async def main():
            timeout = waits.timeout(1000)
            assert repr(timeout) == "<Timeout [created]>"
            assert timeout.when() > asyncio.get_running_loop().time() + 900
            async with timeout as entered:
                assert entered is timeout
                assert repr(timeout) == f"<Timeout [active] when={round(timeout.when(), 3)}>"
                assert timeout._task is asyncio.current_task()
                assert timeout._timeout_handler.when() == timeout.when()
            assert repr(timeout) == "<Timeout [finished]>"
            assert timeout._timeout_handler is None
            assert not timeout.expired()

        run(main())

    def test_expires(self, waits, run):
        async def main():
            with pytest.raises(TimeoutError) as caught:
                async with waits.timeout(0) as timeout:
                    try:
                        await spin()
                    finally:
                        assert repr(timeout) == "<Timeout [expiring]>"
                        assert timeout.expired()
            assert type(caught.value.__context__) is asyncio.CancelledError
            assert caught.value.__cause__ is (caught.value.__context__ if stock.TIMEOUT_CHECKS_STATE else None)
            assert repr(timeout) == "<Timeout [expired]>"
            assert asyncio.current_task().cancelling() == 0

        run(main())

    def test_without_a_deadline(self, waits, run):
        async def main():
            async with waits.timeout(None) as timeout:
                assert timeout.when() is None
                assert timeout._timeout_handler is None
                assert repr(timeout) == "<Timeout [active] when=None>"

        run(main())

    def test_arguments_by_name(self, waits, run):
        async def main():
            assert waits.timeout(delay=None).when() is None
            assert waits.timeout_at(when=5).when() == 5
            assert waits.Timeout(when=None).when() is None
            with pytest.raises(TypeError):
                waits.timeout()
            with pytest.raises(TypeError):
                waits.timeout_at(1, 2)
            with pytest.raises(TypeError):
                waits.timeout("1")

        run(main())

    def test_timeout_needs_a_running_loop(self, waits):
        with pytest.raises(RuntimeError, match="no running event loop"):
            waits.timeout(None)
        assert waits.timeout_at(None).when() is None

    @checks_state
    def test_is_entered_once(self, waits, run):
        async def main():
            timeout = waits.timeout(None)
            async with timeout:
                with pytest.raises(RuntimeError, match="has already been entered"):
                    await timeout.__aenter__()
            with pytest.raises(RuntimeError, match="has already been entered"):
                await timeout.__aenter__()
            with pytest.raises(AssertionError):
                await timeout.__aexit__(None, None, None)

        run(main())

    def test_needs_a_task(self, waits, loop_factory):
        loop = loop_factory()
        errors = []

        def callback():
            entering = waits.timeout(1).__aenter__()
            try:
                entering.send(None)
            except RuntimeError as exc:
                errors.append(str(exc))
            loop.stop()

        loop.call_soon(callback)
        loop.run_forever()
        loop.close()
        assert errors == ["Timeout should be used inside a task"]


class TestReschedule:
    def test_moves_the_deadline(self, waits, run):
        async def main():
            loop = asyncio.get_running_loop()
            async with waits.timeout(0) as timeout:
                timeout.reschedule(loop.time() + 1000)
                await asyncio.sleep(0.01)
                timeout.reschedule(None)
                assert timeout._timeout_handler is None
                timeout.reschedule(when=10**12)
                assert timeout.when() == 10**12

        run(main())

    def test_may_be_overdue(self, waits, run):
        async def main():
            with pytest.raises(TimeoutError):
                async with waits.timeout(None) as timeout:
                    timeout.reschedule(-1)
                    await spin()

        run(main())

    @checks_state
    def test_refuses_what_is_not_active(self, waits, run):
        async def main():
            timeout = waits.timeout(None)
            with pytest.raises(RuntimeError, match="has not been entered"):
                timeout.reschedule(1)
            async with timeout:
                pass
            with pytest.raises(RuntimeError, match="Cannot change state of finished Timeout"):
                timeout.reschedule(1)

        run(main())


class TestHooks:
    @pytest.mark.parametrize("name", ["reschedule", "_on_timeout", "__aenter__", "__aexit__"])
    def test_overridden_methods_are_called(self, waits, run, name):
        calls = []

        def method(self, *args):
            calls.append(name)
            return getattr(waits.Timeout, name)(self, *args)

        mine = type("Mine", (waits.Timeout,), {name: method})

        async def main():
            with pytest.raises(TimeoutError):
                async with mine(0):
                    await spin()

        run(main())
        assert calls == [name]

    def test_a_method_assigned_on_the_object_is_called(self, waits, run):
        async def main():
            timeout = waits.timeout(1000)
            calls = []
            timeout.reschedule = calls.append
            async with timeout:
                pass
            assert calls == [timeout.when()]

        run(main())

    def test_a_method_replaced_in_asyncio_is_called(self, waits, run, monkeypatch):
        calls = []
        stock = asyncio.Timeout.__aenter__
        monkeypatch.setattr(asyncio.Timeout, "__aenter__", lambda self: calls.append(self) or stock(self))

        async def main():
            async with waits.timeout(1000) as timeout:
                assert calls == [timeout]

        run(main())

    @pytest.mark.parametrize("name", ["time", "call_at", "call_soon"])
    def test_methods_of_the_loop_are_called(self, waits, loop_factory, name):
        loop = loop_factory()
        calls = []
        original = getattr(loop, name)

        async def main():
            setattr(loop, name, lambda *args, **kwargs: calls.append(name) or original(*args, **kwargs))
            async with waits.timeout(1000) as timeout:
                timeout.reschedule(0)
                timeout.reschedule(None)
            delattr(loop, name)

        loop.run_until_complete(main())
        loop.close()
        assert calls.count(name) == {"time": 3, "call_at": 1, "call_soon": 1}[name]

    def test_current_task_of_asyncio_is_asked(self, waits, run, monkeypatch):
        async def main():
            with monkeypatch.context() as patch:
                patch.setattr(asyncio.tasks, "current_task", lambda: None)
                with pytest.raises(RuntimeError, match="inside a task"):
                    await waits.timeout(1).__aenter__()

        run(main())


class TestDebugMode:
    def test_expires(self, waits, run):
        async def main():
            asyncio.get_running_loop().set_debug(True)
            async with waits.timeout(1000):
                pass
            with pytest.raises(TimeoutError):
                async with waits.timeout(0):
                    await spin()

        run(main())


class TestLifetime:
    def test_never_awaited(self, waits, run):
        async def main():
            with pytest.warns(RuntimeWarning, match=r"coroutine 'Timeout.__aenter__' was never awaited"):
                waits.timeout(1).__aenter__()
                gc.collect()

        run(main())

    def test_is_collected(self, waits, run):
        async def main():
            timeout = waits.timeout(1000)
            timeout.itself = timeout
            reference = weakref.ref(timeout)
            del timeout
            gc.collect()
            assert reference() is None

        run(main())

    def test_copies_of_new_ones(self, waits):
        for made in (copy.copy(waits.timeout_at(5)), pickle.loads(pickle.dumps(waits.timeout_at(5)))):
            assert made.when() == 5
            assert repr(made) == "<Timeout [created]>"

    def test_private_attributes(self, waits):
        timeout = waits.timeout_at(5)
        assert (timeout._when, timeout._task, timeout._timeout_handler) == (5, None, None)
        assert not hasattr(timeout, "_cancelling")
        timeout._when, timeout._cancelling, timeout._state = 6, 3, asyncio.timeouts._State.EXPIRED
        assert (timeout.when(), timeout._cancelling, timeout.expired()) == (6, 3, True)


def test_bad_states_are_refused():
    timeout = asyncloop.timeout_at(None)
    with pytest.raises(ValueError):
        timeout._state = "created"
    with pytest.raises(AttributeError):
        del timeout._state
    assert repr(timeout) == "<Timeout [created]>"


def test_the_class_that_timeout_makes_is_checked():
    with pytest.raises(TypeError):
        asyncloop._core._set_timeout_class(asyncio.Timeout)
    with pytest.raises(TypeError):
        asyncloop._core._set_timeout_class(1)
