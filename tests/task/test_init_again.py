"""Future.__init__() and Task.__init__() are called again, by code that runs while the object drops a reference.

Each program runs in an interpreter of its own. Its allocator overwrites memory that is freed, so using it crashes.
"""

import asyncio
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 15), reason="both refuse to be initialised again")

PRELUDE = """
import contextvars

class Finaliser:
    armed = True
    def __call__(self, future):
        pass
    def __del__(self):
        if Finaliser.armed:
            Finaliser.armed = False
            again()

class Text(str, Finaliser):
    pass

class Loop:
    __slots__ = ("__weakref__",)
    handler = print
    def get_debug(self):
        return False
    def is_running(self):
        return False
    def call_soon(self, *args, context=None):
        pass
    def call_exception_handler(self, context):
        handler = type(self).handler
        del self  # the caller alone holds the loop
        handler(context)

class FinalisedLoop(Loop, Finaliser):
    pass

def context_with(value):
    context = contextvars.Context()
    context.run(contextvars.ContextVar("variable").set, value)
    return context

def turn(times=1):
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()

async def wait(value=None):
    await asyncio.sleep(0.001)

asyncio.set_event_loop(None)
loop = new_loop()
loop.set_exception_handler(lambda loop, context: None)
"""


@pytest.fixture
def program(script):
    """Runs source after PRELUDE. Finalisers call its again() once."""
    return lambda source: script(PRELUDE + textwrap.dedent(source))


class TestFutureDropsReferences:
    """A finaliser initialises the future that drops the object, and sets its outcome."""

    @pytest.mark.parametrize(
        "given",
        [
            "f.add_done_callback(Finaliser())",
            "f.add_done_callback(print); f.add_done_callback(Finaliser())",
            "f.add_done_callback(print, context=context_with(Finaliser()))",
            "f.set_result(Finaliser())",
            "f.set_exception(ValueError(Finaliser())); f.exception()",
            "f.cancel(Finaliser())",
            "f.__init__(loop=FinalisedLoop())",
        ],
        ids=["callback", "second callback", "context", "result", "exception", "message", "loop"],
    )
    @pytest.mark.parametrize("outcome", ["set_result(0x41414141)", "cancel()"])
    def test_init_during_init_leaves_a_usable_future(self, program, given, outcome):
        done = program(f"""
            def again():
                f.__init__(loop=loop)
                f.{outcome}

            f = Future(loop=loop)
            {given}
            f.__init__(loop=loop)
            assert not Finaliser.armed
            assert f.done() or not f._callbacks
            f.__init__(loop=loop)
            f.set_result(2)
            print(f.result())
            """)
        assert done.stdout == "2\n"

    @pytest.mark.parametrize("method", ["set_result(1)", "set_exception(ValueError())", "cancel()"])
    def test_init_in_call_soon_leaves_a_pending_future(self, program, Future, method):
        if Future is asyncio.Future and "exception" in method:
            pytest.skip("it reports the exception that the future has no more, and crashes")
        done = program(f"""
            class Dropped(Loop):
                def call_soon(self, *args, context=None):
                    f.__init__(loop=loop)

            f = Future(loop=Dropped())
            f.add_done_callback(print)
            f.add_done_callback(print)
            f.{method}
            print(f.done())
            """)
        assert done.stdout == "False\n"

    def test_init_by_the_old_cancel_message_leaves_a_pending_future(self, program):
        done = program("""
            def again():
                f.__init__(loop=loop)

            f = Future(loop=loop)
            f.cancel(Finaliser())
            f.__init__(loop=loop)
            Finaliser.armed = True
            f._cancel_message = Finaliser()
            f.add_done_callback(print)
            f.cancel("other")
            assert not Finaliser.armed
            turn()
            print(f.done())
            """)
        assert done.stdout == "False\n"


class TestReport:
    """An exception handler initialises the reported object, and so drops the last reference to its loop."""

    @pytest.mark.parametrize("raised", ["", "raise ValueError", "raise KeyboardInterrupt"])
    @pytest.mark.parametrize("told", ["exception was never retrieved", "was destroyed but it is pending"])
    def test_init_in_the_handler_may_drop_the_loop(self, program, raised, told):
        done = program(f"""
            def handler(context):
                told.append(context["message"])
                future = context["future"] if "future" in context else context["task"]
                if isinstance(future, asyncio.Task):
                    future.__init__(nothing(), loop=loop)
                    future._log_destroy_pending = False
                else:
                    future.__init__(loop=loop)
                context.clear()
                {raised}

            async def nothing():
                pass

            def make(told):
                if "retrieved" in told:
                    Future(loop=Loop()).set_exception(ValueError(1))
                else:
                    coro = wait()
                    Task(coro, loop=Loop())
                    coro.close()

            told, unraisable = [], []
            sys.unraisablehook = lambda it: (repr(it.object), unraisable.append(it.exc_type.__name__))
            Loop.handler = handler
            for _ in range(3):
                make({told!r})
            turn()
            print(len(told), {told!r} in told[0], set(unraisable))
            """)
        expected = {raised[6:]} if raised else set()
        assert done.stdout == f"3 True {expected}\n"


class TestTaskDropsReferences:
    """A finaliser initialises the task that drops the object."""

    @pytest.mark.parametrize(
        "given",
        [
            "wait(Finaliser())",
            "wait(), name=Text('name')",
        ],
        ids=["frame", "name"],
    )
    @pytest.mark.parametrize("turns", [0, 1])
    def test_init_during_init_leaves_a_task_that_runs(self, program, given, turns):
        done = program(f"""
            def again():
                task.__init__(wait(), loop=loop, name="second")

            task = Task({given}, loop=loop)
            turn({turns})
            task.__init__(wait(), loop=loop, name="third")
            assert not Finaliser.armed
            assert asyncio.all_tasks(loop) == {{task}}
            print(task.get_name() in ("second", "third"), task.get_stack() is not None)
            loop.run_until_complete(asyncio.sleep(0.01, loop))
            print(task.done())
            """)
        assert done.stdout == "True True\nTrue\n"

    def test_init_by_the_awaited_future_leaves_a_task_that_runs(self, program):
        done = program("""
            def again():
                task.__init__(wait(), loop=loop, name="second")

            class Awaited:
                _asyncio_future_blocking = False
                def __await__(self):
                    self._asyncio_future_blocking = True
                    yield self
                def get_loop(self):
                    return loop
                def add_done_callback(self, callback, *, context):
                    pass
                def __del__(self):
                    Finaliser.__del__(self)

            async def await_it():
                await Awaited()

            task = Task(await_it(), loop=loop)
            turn()
            assert task._fut_waiter is not None
            task.__init__(wait(), loop=loop, name="third")
            assert not Finaliser.armed
            loop.run_until_complete(asyncio.sleep(0.01, loop))
            print(task.done())
            """)
        assert done.stdout == "True\n"

    def test_init_by_a_dropped_traceback_leaves_a_task_that_runs(self, program):
        done = program("""
            def again():
                task.__init__(wait(), loop=loop)
                junk.extend(loop.create_future() for _ in range(50))

            def traceback(finaliser):
                try:
                    1 / 0
                except ZeroDivisionError as exc:
                    return exc.__traceback__

            def fail(box):
                future, exc = box.pop(), ValueError("x")
                box.append(exc)
                future.set_exception(exc)
                exc.__traceback__ = traceback(Finaliser())

            async def main():
                future, box = loop.create_future(), []
                box.append(future)
                loop.call_soon(fail, box)
                del box
                await future

            junk = []
            task = Task(main(), loop=loop)
            loop.call_later(0.05, loop.stop)
            loop.run_forever()
            print(Finaliser.armed, task.done())
            """)
        assert done.stdout == "False True\n"

    def test_init_in_its_last_report_leaves_no_freed_task_in_all_tasks(self, program):
        """The list of all tasks must not have a task that is freed."""
        done = program("""
            async def fails():
                raise ValueError("x")

            def handler(loop, context):
                task = context.get("future") or context.get("task")
                told.append(context["message"])
                task.__init__(wait(), loop=Loop())
                task._log_destroy_pending = False

            async def all_tasks():
                return len(asyncio.all_tasks())

            told = []
            loop.set_exception_handler(handler)
            task = loop.create_task(fails())
            turn(2)
            del task
            futures = [loop.create_future() for _ in range(5)]
            print(told, loop.run_until_complete(all_tasks()))
            """)
        assert done.stdout == "['Task exception was never retrieved'] 1\n"


def test_step_of_a_task_without_a_coroutine_is_reported(program):
    """Its first step ended it, and a second __init__ failed. A future still has the callable that wakes it."""
    done = program("""
        if sys.version_info < (3, 12):
            sys.exit(print("RuntimeError uninitialized Task object"))

        async def nothing():
            pass

        async def main():
            future = loop.create_future()
            async def wait_for_it():
                await future
            task = Task(wait_for_it(), loop=loop)
            await asyncio.sleep(0)
            wakeup = future._callbacks[0][0]
            task.__init__(nothing(), loop=loop, eager_start=True)
            try:
                task.__init__(5, loop=loop)
            except TypeError:
                pass
            future.set_result(1)
            loop.call_soon(wakeup, future)
            await asyncio.sleep(0)

        told = []
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        loop.run_until_complete(main())
        print(*{f"{type(exc).__name__} {exc}" for exc in told})
        """)
    assert done.stdout == "RuntimeError uninitialized Task object\n"


class TestWhileCallSoonIsCalled:
    """__init__ is called again while the loop's call_soon() is looked up or called."""

    @pytest.mark.parametrize("again", ["f.__init__(loop=Other())", "f.__init__()"], ids=["other loop", "no loop"])
    def test_init_of_the_future_does_not_crash(self, script, again):
        done = script(f"""
            class Other:
                def get_debug(self):
                    return False
                def call_soon(self, *args, context=None):
                    pass

            def call_soon(callback, *args, context=None):
                if callback is print:
                    try:
                        {again}
                    except RuntimeError:
                        pass
                return type(loop).call_soon(loop, callback, *args, context=context)

            async def wait():
                await f

            asyncio.set_event_loop(None)
            loop = new_loop()
            f = Future(loop=loop)
            task = Task(wait(), loop=loop)
            task._log_destroy_pending = False
            f.add_done_callback(print)
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.call_soon = call_soon
            f.set_result(1)
            print("alive")
            """)
        assert done.stdout == "alive\n"

    def test_init_of_the_running_task_may_fail(self, script, Task):
        if Task is asyncio.Task:
            pytest.skip("it crashes in 3.11, and at the end in 3.14")
        done = script("""
            async def nothing():
                pass

            async def main():
                asyncio._set_running_loop(None)
                try:
                    task.__init__(coro)
                except RuntimeError:
                    print("no loop")
                asyncio._set_running_loop(loop)
                await asyncio.sleep(0.001)

            asyncio.set_event_loop(None)
            loop = new_loop()
            loop.set_exception_handler(lambda loop, context: None)
            coro = nothing()
            task = loop.create_task(main())
            loop.call_later(0.01, loop.stop)
            loop.run_forever()
            coro.close()
            print("alive")
            """)
        assert done.stdout == "no loop\nalive\n"

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio had this bug: gh-126080")
    def test_next_step_keeps_the_context_of_the_task(self, script):
        done = script("""
            import contextvars, types

            class Loop:
                again = False
                def get_debug(self):
                    return False
                def is_running(self):
                    return True
                def call_exception_handler(self, context):
                    print(context)
                def __getattribute__(self, name):
                    if name == "call_soon" and Loop.again:
                        Loop.again = False
                        task.__init__(coros[1], loop=self)
                        Loop.junk = contextvars.Context()  # where the context was that is dropped
                        Loop.junk.run(var.set, "somebody else's")
                    return object.__getattribute__(self, name)
                def call_soon(self, callback, *args, context=None):
                    calls.append((callback, context))

            @types.coroutine
            def bare():
                yield

            async def main():
                await bare()

            var = contextvars.ContextVar("var", default="mine")
            calls = []
            coros = [main(), main()]
            loop = Loop()
            asyncio._set_running_loop(loop)
            task = Task(coros[0], loop=loop)
            callback = calls.pop()[0]
            Loop.again = True
            callback()
            print([context.get(var, "mine") for _, context in calls])
            task._log_destroy_pending = False
            asyncio._set_running_loop(None)
            """)
        assert done.stdout == "['mine', 'mine']\n"
