"""What a program replaces in asyncio or in the loop's class, while loops exist, is obeyed; so is putting it back."""

import asyncio
import functools
import gc
import socket
import sys
import time
import types
from asyncio import base_events, events
from unittest import mock

import pytest


class Counter:
    """Replaces a function of a class by one that counts its calls and calls it."""

    def __init__(self, monkeypatch, owner, name):
        self.calls = calls = []
        self.method = method = getattr(owner, name)

        @functools.wraps(method)
        def counted(*args, **kwargs):
            calls.append(args)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    def __len__(self):
        return len(self.calls)


@pytest.fixture
def count(monkeypatch):
    return functools.partial(Counter, monkeypatch)


async def work(loop):
    """Uses every method that schedules."""
    future = loop.create_future()
    loop.call_soon(future.set_result, 1)
    await future
    await asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0.001)
    for duration in 0.005, 0, 0:
        await loop.run_in_executor(None, time.sleep, duration)
    return "worked"


# How often work() calls each, at least.
LEAST = {
    "call_soon": 8,
    "call_soon_threadsafe": 1,
    "call_later": 1,
    "call_at": 1,
    "time": 1,
    "get_debug": 1,
    "create_future": 2,
    "create_task": 2,
    "run_in_executor": 3,
    "stop": 1,
    "is_running": 1,
    "run_forever": 1,
    "_run_once": 5,
}


@pytest.fixture(params=["class", "BaseEventLoop"])
def owner(request, loop):
    return type(loop) if request.param == "class" else asyncio.BaseEventLoop


@pytest.mark.parametrize("name", LEAST)
class TestMethods:
    """Of the loop's class, or of the class that it inherits from."""

    def test_replaced_before_the_loop_is_made(self, loop_factory, owner, count, name):
        calls = count(owner, name)
        loop = loop_factory()
        assert loop.run_until_complete(work(loop)) == "worked"
        loop.close()
        assert len(calls) >= LEAST[name]

    def test_replaced_afterwards(self, loop, owner, count, name):
        assert loop.run_until_complete(work(loop)) == "worked"
        calls = count(owner, name)
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(calls) >= LEAST[name]
        assert all(args[0] is loop for args in calls.calls)

    def test_replaced_while_the_loop_runs(self, loop, owner, count, name):
        async def main():
            await work(loop)
            calls = count(owner, name)
            await asyncio.sleep(0)
            await work(loop)
            return calls

        calls = loop.run_until_complete(main())
        least = {"create_task": 1, "run_forever": 0, "is_running": 0}
        assert len(calls) >= least.get(name, LEAST[name])

    def test_put_back(self, loop, owner, count, monkeypatch, name):
        calls = count(owner, name)
        assert loop.run_until_complete(work(loop)) == "worked"
        n = len(calls)
        monkeypatch.undo()
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(calls) == n

    def test_twice_and_put_back_in_turn(self, loop, owner, monkeypatch, name):
        original = vars(owner).get(name)
        with pytest.MonkeyPatch.context() as outer:
            first = Counter(outer, owner, name)
            with pytest.MonkeyPatch.context() as inner:
                second = Counter(inner, owner, name)
                assert loop.run_until_complete(work(loop)) == "worked"
                assert len(first) == len(second) >= LEAST[name]
            assert loop.run_until_complete(work(loop)) == "worked"
            assert len(first) > len(second)
        n = len(first)
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(first) == n
        assert vars(owner).get(name) is original

    def test_of_other_loops_too(self, loop_factory, owner, count, name):
        loops = [loop_factory() for _ in range(3)]
        calls = count(owner, name)
        for loop in loops:
            assert loop.run_until_complete(work(loop)) == "worked"
            loop.close()
        assert {id(args[0]) for args in calls.calls} == {*map(id, loops)}

    def test_in_debug_mode(self, loop, owner, count, name):
        loop.set_debug(True)
        loop.slow_callback_duration = 10
        calls = count(owner, name)
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(calls) >= LEAST[name]


class TestCallsOutsideOfARun:
    """The loop does not run, so it has no next turn."""

    @pytest.mark.parametrize(
        "name, call",
        [
            ("call_soon", lambda loop: loop.call_soon(int)),
            ("call_soon_threadsafe", lambda loop: loop.call_soon_threadsafe(int)),
            ("call_at", lambda loop: loop.call_at(0, int)),
            ("call_at", lambda loop: loop.call_later(0, int)),
            ("call_later", lambda loop: loop.call_later(0, int)),
            ("create_task", lambda loop: loop.create_task(asyncio.sleep(0))),
            ("call_soon", lambda loop: loop.create_task(asyncio.sleep(0))),
        ],
    )
    def test_is_called_once(self, loop, turn, owner, count, name, call):
        calls = count(owner, name)
        call(loop)
        assert len(calls) == 1
        turn(3)

    def test_result_of_a_future(self, loop, turn, owner, count, Future):
        future = Future(loop=loop)
        future.add_done_callback(lambda future: None)
        calls = count(owner, "call_soon")
        future.set_result(1)
        assert len(calls) == 1
        turn()

    def test_mock(self, loop):
        """It is no function, so it does not get the loop."""
        with mock.patch("asyncio.BaseEventLoop.create_task", return_value="task") as create_task:
            assert loop.create_task("coroutine") == "task"
        create_task.assert_called_once_with("coroutine")
        with mock.patch("asyncio.BaseEventLoop.run_in_executor", return_value="future") as run_in_executor:
            assert loop.run_in_executor(None, "function") == "future"
        run_in_executor.assert_called_once_with(None, "function")
        with mock.patch("asyncio.BaseEventLoop.run_forever") as run_forever:
            loop.run_forever()
        run_forever.assert_called_once_with()
        assert loop.run_until_complete(work(loop)) == "worked"


class TestOthers:
    @pytest.mark.parametrize(
        "name",
        ["create_connection", "create_server", "create_datagram_endpoint", "getaddrinfo", "start_tls", "sendfile"],
    )
    def test_coroutines(self, loop, run, monkeypatch, name):
        """Replaced in BaseEventLoop, after we have been imported."""

        async def other(self, *args, **kwargs):
            seen.append(name)
            raise LookupError

        seen = []
        monkeypatch.setattr(asyncio.BaseEventLoop, name, other)
        arguments = {
            "create_connection": (asyncio.Protocol, "localhost", 1),
            "create_server": (asyncio.Protocol, "localhost", 0),
            "create_datagram_endpoint": (asyncio.DatagramProtocol, ("localhost", 0)),
            "getaddrinfo": ("localhost", 0),
            "start_tls": (None, None, None),
            "sendfile": (None, None),
        }
        with pytest.raises(LookupError):
            run(getattr(loop, name)(*arguments[name]))
        assert seen == [name]

    def test_connections_through_a_wrapper(self, loop, run, count):
        calls = count(asyncio.BaseEventLoop, "create_connection"), count(asyncio.BaseEventLoop, "create_server")

        async def main():
            async def echo(reader, writer):
                writer.write(await reader.read(10))
                writer.close()

            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            data = await reader.read()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            return data

        assert run(main()) == b"x"
        assert [*map(len, calls)] == [1, 1]

    def test_call_exception_handler(self, loop, turn, owner, count, reports):
        calls = count(owner, "call_exception_handler")
        loop.call_soon(lambda: 1 / 0)
        turn()
        assert len(calls) == 1
        assert len(reports()) == 1

    def test_close(self, loop_factory, owner, count):
        loop = loop_factory()
        calls = count(owner, "close")
        loop.close()
        assert loop.is_closed()
        assert len(calls) == 1

    def test_run_until_complete(self, loop, owner, count):
        calls = count(owner, "run_until_complete")
        assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
        assert len(calls) == 1

    def test_shutdown(self, loop, owner, count):
        calls = count(owner, "shutdown_default_executor")
        loop.run_until_complete(loop.run_in_executor(None, int))
        loop.run_until_complete(loop.shutdown_default_executor())
        assert len(calls) == 1

    def test_time_that_jumps(self, loop, owner, monkeypatch):
        clock, shift = owner.time, [0.0]
        monkeypatch.setattr(owner, "time", lambda self: clock(self) + shift[0])

        async def main():
            start = loop.time()
            loop.call_later(0.001, shift.__setitem__, 0, 100.0)
            await asyncio.sleep(50)
            return loop.time() - start

        assert 100 <= loop.run_until_complete(main()) < 120

    def test_run_in_executor_that_copies_the_context(self, loop, run, monkeypatch):
        import contextvars

        variable = contextvars.ContextVar("variable", default="outer")
        original = asyncio.BaseEventLoop.run_in_executor

        def copying(self, executor, func, *args):
            return original(self, executor, contextvars.copy_context().run, func, *args)

        async def main():
            await loop.run_in_executor(None, int)
            monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", copying)
            variable.set("inner")
            return await loop.run_in_executor(None, variable.get)

        assert run(main()) == "inner"

    def test_new_method_of_the_abstract_class(self, loop, monkeypatch):
        monkeypatch.setattr(asyncio.AbstractEventLoop, "brand_new", lambda self: 42, raising=False)
        assert loop.brand_new() == 42

    def test_class_of_a_loop_is_replaced(self, loop):
        """As looptime does."""

        class Mixin(asyncio.BaseEventLoop):
            shift = 0.0

            def time(self):
                return super().time() + self.shift

            def call_soon(self, *args, **kwargs):
                seen.append("soon")
                return super().call_soon(*args, **kwargs)

        seen = []
        loop.__class__ = type("Mixed", (Mixin, type(loop)), {})
        assert loop.run_until_complete(asyncio.sleep(0.001, 3)) == 3
        assert len(seen) >= 3
        loop.shift = 1000
        assert loop.time() - loop.call_later(0, int).when() < 1
        loop.shift = 0

    def test_class_with_an_unusual_metaclass(self, loop_factory):
        base = loop_factory()
        base.close()

        class Meta(type):
            def __getattribute__(cls, name):
                if name == "call_later":
                    seen.append(name)
                return super().__getattribute__(name)

        class Loop(type(base), metaclass=Meta):
            pass

        seen = []
        loop = Loop()
        assert loop.run_until_complete(work(loop)) == "worked"
        loop.close()


class TestHandles:
    """asyncio.Handle, as monitors of slow callbacks and tracers change it."""

    @pytest.fixture(params=["before", "after", "meanwhile"])
    def when(self, request):
        return request.param

    def seen(self, loop_factory, when, change):
        """Runs work on a loop, and what change() returns."""
        changed = []

        async def main():
            if when == "meanwhile":
                await work(loop)
                changed.append(change())
                await asyncio.sleep(0)
            return await work(loop)

        if when == "before":
            changed.append(change())
        loop = loop_factory()
        if when == "after":
            loop.run_until_complete(work(loop))
            changed.append(change())
        try:
            assert loop.run_until_complete(main()) == "worked"
        finally:
            loop.close()
        return changed[0]

    @pytest.mark.parametrize("name, least", [("_run", 12), ("__init__", 12)])
    def test_method(self, loop_factory, count, when, name, least):
        calls = self.seen(loop_factory, when, lambda: count(asyncio.Handle, name))
        assert len(calls) >= least
        assert all(isinstance(args[0], asyncio.Handle) for args in calls.calls)

    @pytest.mark.parametrize("name", ["__init__", "cancel", "when"])
    def test_method_of_timers(self, loop_factory, count, when, name):
        calls = self.seen(loop_factory, when, lambda: count(asyncio.TimerHandle, name))
        if name == "cancel":
            loop = loop_factory()
            loop.call_later(1, int).cancel()
            loop.close()
        if name == "when":
            loop = loop_factory()
            loop.call_later(1, int).when()
            loop.close()
        assert len(calls) >= 1

    def test_cancel(self, loop, turn, count):
        calls = count(asyncio.Handle, "cancel")
        handles = loop.call_soon(int), loop.call_later(1, int)
        for handle in handles:
            handle.cancel()
            assert handle.cancelled()
        assert len(calls) == 2
        turn()

    def test_handles_made_before(self, loop, turn, count):
        seen = []
        loop.call_soon(seen.append, 1)
        cancelled = loop.call_soon(seen.append, 2)
        timer = loop.call_later(0, seen.append, 3)
        later = loop.call_later(1000, seen.append, 4)
        task = loop.create_task(asyncio.sleep(0))
        calls, cancels = count(asyncio.Handle, "_run"), count(asyncio.Handle, "cancel")
        cancelled.cancel()
        later.cancel()
        turn(3)
        assert seen == [1, 3]
        assert len(calls) >= 5
        assert timer in [args[0] for args in calls.calls]
        assert task.done()
        assert len(cancels) == 2

    def test_put_back(self, loop, run, count, monkeypatch):
        calls = count(asyncio.Handle, "_run")
        assert run(work(loop)) == "worked"
        n = len(calls)
        pending = loop.call_later(0.002, int)
        monkeypatch.undo()
        assert run(work(loop)) == "worked"
        run(asyncio.sleep(0.005))
        assert len(calls) == n
        assert pending.when() < loop.time()

    def test_names_of_what_is_slow(self, loop, run, monkeypatch):
        """As logfire and aiodebug find them."""

        def callback():
            pass

        async def coroutine():
            await asyncio.sleep(0)

        seen = []
        original = asyncio.events.Handle._run

        def timed(self):
            task = getattr(self._callback, "__self__", None)
            seen.append(task.get_name() if isinstance(task, asyncio.Task) else self._callback)
            seen.append(base_events._format_handle(self))
            return original(self)

        monkeypatch.setattr(asyncio.events.Handle, "_run", timed)

        async def main():
            loop.call_soon(callback)
            loop.call_later(0, callback)
            await asyncio.create_task(coroutine(), name="the name")
            await asyncio.sleep(0.001)

        run(main())
        assert seen.count(callback) == 2
        assert seen.count("the name") == 2
        assert any("callback" in text for text in seen if isinstance(text, str))

    def test_exceptions(self, loop, turn, count, reports):
        calls = count(asyncio.Handle, "_run")
        loop.call_soon(lambda: 1 / 0)
        loop.call_later(0, lambda: 1 / 0)
        turn(2)
        assert [type(report["exception"]) for report in reports()] == [ZeroDivisionError] * 2
        assert len(calls) >= 4

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_what_ends_the_run(self, loop, turn, count, error):
        def fail():
            raise error

        count(asyncio.Handle, "_run")
        seen = []
        loop.call_soon(fail)
        loop.call_soon(seen.append, 1)
        with pytest.raises(error):
            loop.run_forever()
        assert seen == []
        turn()
        assert seen == [1]

    def test_class_is_replaced_in_its_module(self, loop, run, monkeypatch):
        class Handle(events.Handle):
            def _run(self):
                seen.append(self)
                super()._run()

        class TimerHandle(events.TimerHandle):
            def _run(self):
                timers.append(self)
                super()._run()

        seen, timers = [], []
        monkeypatch.setattr(events, "Handle", Handle)
        monkeypatch.setattr(events, "TimerHandle", TimerHandle)
        assert run(work(loop)) == "worked"
        assert len(seen) >= 5 and len(timers) >= 1
        n = len(seen)
        monkeypatch.undo()
        assert run(work(loop)) == "worked"
        assert len(seen) == n

    def test_contexts_of_callbacks(self, loop, run, count):
        import contextvars

        variable = contextvars.ContextVar("variable", default=0)
        count(asyncio.Handle, "_run")
        seen = []

        async def child(i):
            variable.set(i)
            await asyncio.sleep(0)
            loop.call_soon(lambda: seen.append(variable.get()))
            await asyncio.sleep(0.001)
            return variable.get()

        async def main():
            return await asyncio.gather(*map(child, range(3)))

        assert run(main()) == [0, 1, 2]
        assert seen == [0, 1, 2]

    def test_current_task(self, loop, run, count):
        count(asyncio.Handle, "_run")

        async def child():
            me = asyncio.current_task()
            await asyncio.sleep(0)
            assert asyncio.current_task() is me
            assert me in asyncio.all_tasks()
            seen.append(me)

        async def main():
            loop.call_soon(lambda: seen.append(asyncio.current_task()))
            await asyncio.gather(child(), child())
            async with asyncio.timeout(10):
                await asyncio.sleep(0.001)

        seen = []
        run(main())
        assert seen[0] is None and len(seen) == 3

    def test_servers_and_signals(self, loop, run, count):
        calls = count(asyncio.Handle, "_run")

        async def main():
            async def echo(reader, writer):
                while data := await reader.read(100):
                    writer.write(data)
                    await writer.drain()
                writer.close()

            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                for i in range(10):
                    writer.write(b"%d" % i)
                    assert await reader.readexactly(1) == b"%d" % i
                writer.close()
                await writer.wait_closed()
            server.close()
            await server.wait_closed()
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)", stdout=-1)
            output, _ = await process.communicate()
            return output

        assert run(main()) == b"5\n"
        assert len(calls) >= 60

    def test_memory(self, loop, run, monkeypatch):
        """Nothing is kept of what has run."""
        import weakref

        class Argument:
            def method(self):
                pass

        original = asyncio.Handle._run
        monkeypatch.setattr(asyncio.Handle, "_run", lambda self: original(self))

        async def main():
            argument = Argument()
            watch = weakref.ref(argument)
            loop.call_soon(argument.method)
            loop.call_later(0, argument.method)
            await asyncio.create_task(asyncio.sleep(0, argument))
            del argument
            await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            return watch

        watch = run(main())
        gc.collect()
        assert watch() is None


class Tracer:
    """Gives a function the code of a wrapper, as ddtrace does. The names in the code are those of the old code."""

    def __init__(self, function):
        self.calls = calls = []
        self.function, self.code, self.defaults = function, function.__code__, function.__kwdefaults__
        original = types.FunctionType(self.code, function.__globals__, self.code.co_name, function.__defaults__)
        original.__kwdefaults__ = self.defaults

        def wrapped(args, kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        def wrapper(*args, **kwargs):
            function = "wrapped"
            return function(args, kwargs)

        constants = tuple(wrapped if constant == "wrapped" else constant for constant in wrapper.__code__.co_consts)
        function.__kwdefaults__ = None
        function.__code__ = wrapper.__code__.replace(
            co_consts=constants, co_filename=self.code.co_filename, co_name=self.code.co_name
        )

    def undo(self):
        self.function.__kwdefaults__, self.function.__code__ = self.defaults, self.code


@pytest.fixture
def trace():
    made = []

    def trace(function):
        made.append(Tracer(function))
        return made[-1]

    yield trace
    for tracer in made:
        tracer.undo()


class TestCode:
    """The code of a function is replaced: the function stays the same."""

    FUNCTIONS = [
        asyncio.BaseEventLoop.create_task,
        asyncio.BaseEventLoop.call_soon,
        asyncio.BaseEventLoop.run_in_executor,
        asyncio.Handle._run,
        asyncio.Handle.__init__,
    ]

    @pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
    def test_before_a_run(self, loop, run, trace, function):
        assert run(work(loop)) == "worked"
        tracer = trace(function)
        assert run(work(loop)) == "worked"
        assert len(tracer.calls) >= 2
        tracer.undo()
        n = len(tracer.calls)
        assert run(work(loop)) == "worked"
        assert len(tracer.calls) == n

    @pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
    def test_before_the_loop_is_made(self, loop_factory, trace, function):
        tracer = trace(function)
        loop = loop_factory()
        assert loop.run_until_complete(work(loop)) == "worked"
        loop.close()
        assert len(tracer.calls) >= 2

    @pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
    def test_while_the_loop_runs(self, loop, run, trace, function):
        async def main():
            await work(loop)
            tracer = trace(function)
            await asyncio.sleep(0.001)
            await work(loop)
            seen = len(tracer.calls)
            tracer.undo()
            await asyncio.sleep(0.02)
            n = len(tracer.calls)
            await work(loop)
            return seen, len(tracer.calls) - n

        seen, more = run(main())
        assert seen >= 1
        assert more == 0

    @pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
    def test_while_a_loop_polls_without_a_pause(self, loop, run, trace, function):
        """It looks for new code less often than it polls."""

        async def main():
            near, far = socket.socketpair()
            with near, far:
                far.send(b"x")
                loop.add_reader(near, int)  # stays ready
                await asyncio.sleep(0.001)
                tracer = trace(function)
                end = loop.time() + 1
                while not tracer.calls and loop.time() < end:
                    await work(loop)
                loop.remove_reader(near)
                tracer.undo()
                return len(tracer.calls)

        assert run(main()) >= 1

    def test_before_the_import(self, script, kind):
        done = script(
            f"""
            import asyncio, sys, types

            function = asyncio.BaseEventLoop.create_task
            code = function.__code__
            calls = []
            original = types.FunctionType(code, function.__globals__, code.co_name, function.__defaults__)
            original.__kwdefaults__, function.__kwdefaults__ = function.__kwdefaults__, None

            def wrapped(args, kwargs):
                calls.append(args)
                return original(*args, **kwargs)

            def wrapper(*args, **kwargs):
                function = "wrapped"
                return function(args, kwargs)

            constants = tuple(wrapped if constant == "wrapped" else constant for constant in wrapper.__code__.co_consts)
            function.__code__ = wrapper.__code__.replace(
                co_consts=constants, co_filename=code.co_filename, co_name=code.co_name
            )

            from {kind} import new_event_loop

            async def main():
                await asyncio.create_task(asyncio.sleep(0))

            loop = new_event_loop()
            loop.run_until_complete(main())
            loop.close()
            print(len(calls))
            """,
            names=False,
        )
        assert done.stdout.strip() == "2"


class TestModules:
    """Names in asyncio's modules."""

    def test_task(self, loop, run, monkeypatch):
        class Task(asyncio.Task):
            pass

        async def main():
            return asyncio.current_task()

        monkeypatch.setattr(asyncio.tasks, "Task", Task)
        assert type(loop.run_until_complete(main())) is Task
        monkeypatch.undo()
        assert type(loop.run_until_complete(main())) is not Task

    def test_task_in_python(self, loop, run, monkeypatch):
        if sys.version_info >= (3, 14):
            pytest.skip("asyncio.current_task() does not know them")
        monkeypatch.setattr(asyncio.tasks, "Task", asyncio.tasks._PyTask)
        assert run(work(loop)) == "worked"

        async def main():
            return type(asyncio.current_task())

        assert loop.run_until_complete(main()) is asyncio.tasks._PyTask

    def test_task_while_the_loop_runs(self, loop, run, monkeypatch):
        class Task(asyncio.Task):
            pass

        async def main():
            monkeypatch.setattr(asyncio.tasks, "Task", Task)
            await asyncio.sleep(0.02)
            await asyncio.sleep(0)
            return type(loop.create_task(asyncio.sleep(0)))

        assert run(main()) is Task

    def test_future(self, loop, run, monkeypatch):
        class Future(asyncio.Future):
            pass

        monkeypatch.setattr(asyncio.futures, "Future", Future)
        assert run(work(loop)) == "worked"

        async def main():
            return type(loop.create_future())

        assert run(main()) is Future
        monkeypatch.undo()
        assert run(main()) is not Future


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
class TestShortWay:
    """When all is as before, the loop takes the short way again."""

    def ways(self, loop):
        """Which types of handles and tasks the loop makes, and whether its turns are its own."""

        async def main():
            handles = loop.call_soon(int), loop.call_later(0, int)
            await asyncio.sleep(0)
            calls = []
            sys.setprofile(lambda frame, event, arg: calls.append(frame.f_code.co_name))
            await asyncio.sleep(0)
            sys.setprofile(None)
            return [type(handle).__module__ for handle in handles], "_run_once" in calls

        return loop.run_until_complete(main())

    SHORT = (["asyncloop._core"] * 2, False)
    LONG = (["asyncio.events"] * 2, True)

    def test_handles(self, loop, count, monkeypatch):
        assert self.ways(loop) == self.SHORT
        count(asyncio.Handle, "_run")
        assert self.ways(loop) == self.LONG
        monkeypatch.undo()
        assert self.ways(loop) == self.SHORT

    def test_class_has_nothing_left(self, loop, count, monkeypatch):
        before = {*vars(type(loop))}
        for name in "call_soon", "call_at", "create_task", "time":
            count(asyncio.BaseEventLoop, name)
        loop.run_until_complete(work(loop))
        assert {*vars(type(loop))} - before == {"call_soon", "call_at", "create_task", "time"}
        monkeypatch.undo()
        loop.run_until_complete(work(loop))
        assert {*vars(type(loop))} == before

    def test_both_are_replaced(self, loop, count, monkeypatch):
        """What the program has put into the loop's class goes before what it has put into BaseEventLoop."""
        base = count(asyncio.BaseEventLoop, "call_soon")
        loop.run_until_complete(work(loop))
        n = len(base)
        assert n >= 5
        own = count(type(loop), "call_soon")
        loop.run_until_complete(work(loop))
        assert len(own) >= 5
        monkeypatch.undo()
        n = len(base), len(own)
        loop.run_until_complete(work(loop))
        assert (len(base), len(own)) == n
        assert self.ways(loop) == self.SHORT

    def test_other_attributes_of_the_classes_change_nothing(self, loop, monkeypatch):
        monkeypatch.setattr(asyncio.Handle, "__doc__", "changed")
        monkeypatch.setattr(asyncio.BaseEventLoop, "brand_new", 1, raising=False)
        monkeypatch.setattr(type(loop), "_of_a_test", 1, raising=False)
        assert self.ways(loop) == self.SHORT

    def test_many_patches(self, loop, monkeypatch):
        """A type has only so many version tags."""
        for i in range(1500):
            monkeypatch.setattr(type(loop), "_of_a_test", i, raising=False)
            loop._run_once() if i % 50 == 0 and loop.call_soon(int) else None
            hasattr(loop, "call_soon")
        calls = Counter(monkeypatch, type(loop), "call_soon")
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(calls) >= 5
        monkeypatch.undo()
        n = len(calls)
        assert loop.run_until_complete(work(loop)) == "worked"
        assert len(calls) == n


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)  # asyncio does not look
def test_turns_without_version_tags(script):
    """The interpreter gives a class 1,000 tags from 3.13 on. Without one, a turn takes a look, but no search."""
    done = script("""
        loop = new_loop()
        for cls, other in (asyncio.BaseEventLoop, type(loop)), (asyncio.Handle, asyncio.TimerHandle):
            for i in range(1500):
                cls._of_a_test = i
                hasattr(other, "_of_a_test")

        searches, seen = [], []

        def profile(frame, event, argument):
            if event == "call" and frame.f_code.co_filename.endswith("_patches.py") and frame.f_code.co_name == "find":
                searches.append(1)

        def call_soon(self, *args, **kwargs):
            seen.append(1)
            return stock(self, *args, **kwargs)

        async def main():
            global stock
            await asyncio.sleep(0)
            sys.setprofile(profile)
            for _ in range(1000):
                await asyncio.sleep(0)
            sys.setprofile(None)
            stock, asyncio.BaseEventLoop.call_soon = asyncio.BaseEventLoop.call_soon, call_soon
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return len(seen)

        print(loop.run_until_complete(main()) > 0, len(searches))
        loop.close()
    """)
    assert done.stdout.split() == ["True", "0"]


def test_patched_before_the_import(script, kind):
    """By a program that is imported first, as tracers are."""
    done = script(
        f"""
        seen = []
        run, create_task = asyncio.Handle._run, asyncio.BaseEventLoop.create_task

        def counted_run(self):
            seen.append("run")
            return run(self)

        def counted_task(self, *args, **kwargs):
            seen.append("task")
            return create_task(self, *args, **kwargs)

        asyncio.Handle._run, asyncio.BaseEventLoop.create_task = counted_run, counted_task

        from {kind} import new_event_loop

        async def main():
            await asyncio.create_task(asyncio.sleep(0))

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        print(seen.count("run") >= 4, seen.count("task"))
        """,
        names=False,
    )
    assert done.stdout.split() == ["True", "2"]


def test_loop_that_is_closed_at_exit(script):
    """When modules are gone already."""
    done = script("""
        loop = new_loop()
        loop.call_soon(int)
        asyncio.set_event_loop(loop)
        async def main():
            loop.call_later(1, int)
        loop.run_until_complete(main())
        sys.loop = loop
    """)
    assert done.stderr == ""
