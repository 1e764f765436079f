"""Loops are Python objects: subclasses, instance attributes, weak references; overrides are obeyed."""

import asyncio
import contextvars
import gc
import types
import weakref

import pytest


async def answer():
    return 42


@pytest.fixture
def base(loop_factory):
    """The loop class under test."""
    loop = loop_factory()
    loop.close()
    return type(loop)


@pytest.fixture
def make(base):
    """Makes a loop of a subclass with these members, closed after the test."""
    loops = []

    def make(**members):
        subclass = types.new_class("Special", (base,), exec_body=lambda namespace: namespace.update(members))
        loops.append(subclass())
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


def test_is_a_loop_to_asyncio(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)


def test_loop_takes_attributes_and_weak_references(loop):
    loop.note = "mine"
    assert vars(loop)["note"] == "mine"
    assert weakref.ref(loop)() is loop
    assert weakref.WeakKeyDictionary({loop: 1})[loop] == 1
    assert hash(loop) == hash(loop)
    assert not hasattr(loop, "no_such_attribute")


def test_subclass_may_have_its_own_init(base):
    class Special(base):
        def __init__(self, note):
            super().__init__()
            self.note = note

    loop = Special("mine")
    assert loop.note == "mine"
    assert repr(loop).startswith("<Special running=False")
    assert loop.run_until_complete(answer()) == 42
    loop.close()
    watch = weakref.ref(loop)
    del loop
    gc.collect()
    assert watch() is None


def test_subclass_that_forgets_to_initialise_does_not_crash(script):
    done = script("""
        class Forgetful(type(new_loop())):
            def __init__(self):
                pass

        loop = Forgetful()
        for call in (loop.run_forever, loop.close, loop.time, lambda: loop.call_soon(print), loop.create_future,
                     lambda: loop.call_later(0, print), lambda: loop.call_soon_threadsafe(print), loop.stop,
                     loop.is_running, loop.is_closed, lambda: loop.set_debug(True), lambda: repr(loop)):
            try:
                loop.stop() if call == loop.run_forever else None
                call()
            except Exception:
                pass
        print("alive")
    """)
    assert done.stdout.split() == ["alive"]


def test_subclass_that_initialises_asyncios_half_only_does_not_crash(script):
    done = script("""
        import socket

        class Half(type(new_loop())):
            def __init__(self):
                asyncio.BaseEventLoop.__init__(self)

            def __del__(self):
                pass

        loop = Half()
        a, b = socket.socketpair()
        a.setblocking(False)
        for call in (lambda: loop.add_reader(a, print), lambda: loop.add_writer(a, print),
                     lambda: loop.sock_recv(a, 1).send(None), lambda: loop._run_once()):
            try:
                call()
            except Exception:
                pass
        print("alive")
    """)
    assert done.stdout.split() == ["alive"]


def test_subclass_that_overrides_close(make):
    seen = []

    def close(self):
        seen.append(self.is_closed())
        super(type(self), self).close()

    loop = make(close=close)
    loop.close()
    assert seen == [False]
    assert loop.is_closed()


class Overrides:
    """Makes a loop that counts the calls of one method, overridden in a subclass or on the instance."""

    def __init__(self, name, how, make):
        self.calls = calls = []

        def override(loop, *args, **kwargs):
            calls.append((args, kwargs))
            return getattr(super(type(loop), loop) if how == "subclass" else type(loop), name)(
                *[loop] * (how == "instance"), *args, **kwargs
            )

        if how == "subclass":
            self.loop = make(**{name: override})
        else:
            self.loop = make()
            setattr(self.loop, name, types.MethodType(override, self.loop))


@pytest.fixture(params=["subclass", "instance"])
def overriding(request, make):
    return lambda name: Overrides(name, request.param, make)


class TestOverride:
    def test_call_soon_is_asked_by_futures(self, overriding, Future):
        over = overriding("call_soon")
        future = Future(loop=over.loop)
        context = contextvars.copy_context()
        future.add_done_callback(print, context=context)
        future.set_result(1)
        assert over.calls == [((print, future), {"context": context})]

    def test_call_soon_is_asked_by_tasks(self, overriding, Task):
        over = overriding("call_soon")
        context = contextvars.copy_context()

        async def main():
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        task = Task(main(), loop=over.loop, context=context)
        assert len(over.calls) == 1
        assert over.calls[0][1] == {"context": context}
        over.loop.run_until_complete(task)
        assert len(over.calls) == 4  # three steps, and run_until_complete's done callback

    def test_call_soon_may_delay_everything(self, make, base):
        """Every callback takes a detour through a queue of the subclass."""
        detour = []

        def call_soon(self, callback, *args, context=None):
            detour.append(callback)
            return base.call_soon(self, lambda: callback(*args), context=context)

        loop = make(call_soon=call_soon)

        async def main():
            future = loop.create_future()
            future.add_done_callback(lambda _: None)
            loop.call_later(0.001, future.set_result, 5)
            return await future

        assert loop.run_until_complete(main()) == 5
        assert len(detour) >= 4

    def test_time_is_called_by_timers(self, overriding, make):
        over = overriding("time")
        over.loop.call_later(0.001, over.loop.stop)
        over.loop.run_forever()
        assert over.calls != []

    def test_time_that_jumps_is_the_time_of_timers(self, make):
        now = [1_000.0]
        loop = make(time=lambda self: now[0])
        seen = []
        handle = loop.call_later(5_000, seen.append, "fired")
        assert handle.when() == 6_000
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert seen == []
        now[0] = 6_000.0
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert seen == ["fired"]

    def test_call_at_is_asked_by_call_later(self, overriding):
        over = overriding("call_at")
        over.loop.call_later(100, print, 1)
        ((args, kwargs),) = over.calls
        assert args[1:] == (print, 1)
        assert args[0] == pytest.approx(over.loop.time() + 100, abs=1)
        assert kwargs == {"context": None}

    def test_call_later_is_asked_by_sleep(self, overriding):
        over = overriding("call_later")
        over.loop.run_until_complete(asyncio.sleep(0.001))
        assert [args[0] for args, _ in over.calls] == [0.001]

    def test_create_task_is_called_by_asyncio(self, overriding):
        over = overriding("create_task")

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(answer())
            return await asyncio.create_task(answer())

        assert over.loop.run_until_complete(main()) == 42
        assert len(over.calls) == 3

    def test_create_future_is_called_by_sleep(self, overriding):
        over = overriding("create_future")
        over.loop.run_until_complete(asyncio.sleep(0.001))
        assert len(over.calls) == 1

    def test_call_exception_handler_is_called_for_reports(self, overriding, Future):
        over = overriding("call_exception_handler")
        over.loop.set_exception_handler(lambda loop, context: None)
        over.loop.call_soon(lambda: 1 / 0)
        over.loop.call_soon(over.loop.stop)
        over.loop.run_forever()
        Future(loop=over.loop).set_exception(ValueError())
        gc.collect()
        messages = [args[0]["message"] for args, _ in over.calls]
        assert messages[0].startswith("Exception in callback")
        assert messages[1] == "Future exception was never retrieved"

    def test_default_exception_handler_is_called(self, overriding, caplog):
        over = overriding("default_exception_handler")
        over.loop.call_exception_handler({"message": "told"})
        assert over.calls == [(({"message": "told"},), {})]

    def test_get_debug_is_asked_by_futures(self, make, Future):
        loop = make(get_debug=lambda self: True)
        assert Future(loop=loop)._source_traceback is not None

    def test_is_running_and_stop(self, overriding):
        over = overriding("stop")
        assert over.loop.run_until_complete(answer()) == 42
        assert len(over.calls) == 1

    def test_run_forever_is_asked_by_run_until_complete(self, overriding):
        over = overriding("run_forever")
        assert over.loop.run_until_complete(answer()) == 42
        assert len(over.calls) == 1

    @pytest.mark.parametrize("name", ["call_soon", "time", "create_task", "call_at", "call_exception_handler"])
    def test_deleted_override_has_no_effect(self, loop, name):
        setattr(loop, name, None)
        delattr(loop, name)
        assert loop.run_until_complete(asyncio.sleep(0.001, "works")) == "works"

    def test_deleting_one_leaves_the_others(self, loop):
        loop.time = lambda: 1000.0
        loop.call_soon = None
        del loop.call_soon
        assert loop.call_later(5, print).when() == 1005.0
        del loop.time
        assert loop.call_later(5, print).when() != 1005.0


class TestForeignLoop:
    """A loop in pure Python with our Task and Future: they take the public path."""

    @pytest.fixture
    def foreign(self):
        class Foreign(asyncio.SelectorEventLoop):
            scheduled = 0

            def call_soon(self, callback, *args, context=None):
                self.scheduled += 1
                return super().call_soon(callback, *args, context=context)

        loop = Foreign()
        yield loop
        loop.close()

    def test_runs_our_tasks(self, foreign, Task, Future):
        async def main():
            future = Future(loop=foreign)
            foreign.call_later(0.001, future.set_result, 3)
            return await future

        assert foreign.run_until_complete(Task(main(), loop=foreign)) == 3
        assert foreign.scheduled >= 3

    def test_needs_only_the_methods_that_tasks_call(self, Task, Future):
        """Only what Task and Future ask of a loop."""

        class Minimal:
            def __init__(self):
                self.queue = []

            def get_debug(self):
                return False

            def is_running(self):
                return False

            def call_soon(self, callback, *args, context=None):
                self.queue.append((callback, args, context))

            def call_exception_handler(self, context):
                raise AssertionError(context)

        async def main():
            await future
            return 3

        loop = Minimal()
        future = Future(loop=loop)
        task = Task(main(), loop=loop)
        asyncio._set_running_loop(loop)
        try:
            for _ in range(3):
                queue, loop.queue = loop.queue, []
                for callback, args, context in queue:
                    context.run(callback, *args)
                if not future.done():
                    future.set_result(1)
        finally:
            asyncio._set_running_loop(None)
        assert task.result() == 3
