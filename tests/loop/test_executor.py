"""run_in_executor, default executors, getaddrinfo."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import socket
import sys
import threading
import time
import weakref

import pytest


def test_result_is_returned(loop, run):
    async def main():
        return await loop.run_in_executor(None, divmod, 17, 5)

    assert run(main()) == (3, 2)


def test_references_to_none_stay(loop, run):
    async def main():
        for _ in range(300):
            await loop.run_in_executor(None, int)

    before = sys.getrefcount(None)  # which is the same for ever from Python 3.12 on
    run(main())
    assert sys.getrefcount(None) > before - 200


def test_exception_is_raised(loop, run):
    def fail():
        raise ValueError("x")

    async def main():
        with pytest.raises(ValueError, match="^x$"):
            await loop.run_in_executor(None, fail)

    run(main())


def test_returns_the_loops_future(loop, run, Future):
    async def main():
        future = loop.run_in_executor(None, int)
        assert isinstance(future, Future)
        assert future.get_loop() is loop
        await future

    run(main())


def test_runs_in_threads_of_asyncio(loop, run):
    async def main():
        return await loop.run_in_executor(None, lambda: threading.current_thread().name)

    assert run(main()).startswith("asyncio_")


def test_given_executor_is_used(loop, run):
    async def main():
        with concurrent.futures.ThreadPoolExecutor(thread_name_prefix="mine") as executor:
            return await loop.run_in_executor(executor, lambda: threading.current_thread().name)

    assert run(main()).startswith("mine")


def test_default_executor_is_used(loop, run):
    async def main():
        return await loop.run_in_executor(None, lambda: threading.current_thread().name)

    executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="mine")
    loop.set_default_executor(executor)
    assert run(main()).startswith("mine")


@pytest.mark.parametrize("bad", [None, 42, object()])
def test_default_executor_must_be_a_thread_pool(loop, bad):
    with pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(bad)


def test_200_jobs_give_their_results(loop, run):
    async def main():
        return await asyncio.gather(*(loop.run_in_executor(None, lambda i=i: i) for i in range(200)))

    assert run(main()) == list(range(200))


def test_job_that_is_cancelled_before_its_start_does_not_run(loop, run):
    async def main():
        gate = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            blocked = loop.run_in_executor(executor, gate.wait)
            waiting = loop.run_in_executor(executor, seen.append, 1)
            await asyncio.sleep(0)
            assert waiting.cancel()
            await asyncio.sleep(0)  # the next turn tells the executor
            gate.set()
            assert await blocked
        assert seen == []

    seen = []
    run(main())


class Manual(concurrent.futures.Executor):
    """An executor whose only thread is the test: what it submits is done when the test says so."""

    def __init__(self, future_class=concurrent.futures.Future):
        self.future_class = future_class
        self.futures = []

    def submit(self, fn, /, *args, **kwargs):
        self.futures.append(self.future_class())
        return self.futures[-1]


def in_thread(function, *args):
    """Call it in another thread, and wait for that."""
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("where", [in_thread, lambda function, *args: function(*args)], ids=["thread", "loop"])
class TestFollowing:
    """The future of run_in_executor() and that of the executor."""

    def submit(self, loop, **kwargs):
        executor = Manual(**kwargs)
        following = loop.run_in_executor(executor, int)
        (source,) = executor.futures
        return source, following

    def test_gets_the_result_of_the_source(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            result = object()
            where(source.set_result, result)
            await turns()
            assert following.result() is result

        run(main())

    @pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt("x"), StopAsyncIteration("x")], ids=repr)
    def test_gets_the_exception_of_the_source(self, loop, run, where, error):
        async def main():
            source, following = self.submit(loop)
            where(source.set_exception, error)
            await turns()
            assert following.exception() is error

        run(main())

    @pytest.mark.parametrize("name", ["CancelledError", "InvalidStateError"])
    def test_exceptions_that_asyncio_has_as_well(self, loop, run, where, name):
        async def main():
            source, following = self.submit(loop)
            where(source.set_exception, getattr(concurrent.futures, name)("x"))
            await turns()
            assert type(following.exception()) is getattr(asyncio, name)
            assert following.exception().args == ("x",)

        run(main())

    def test_is_cancelled_with_the_source(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            where(source.cancel)
            await turns()
            assert following.cancelled()

        run(main())

    def test_cancelled_follower_leaves_a_running_source(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            where(source.set_running_or_notify_cancel)
            following.cancel()
            await turns()
            assert not source.cancelled()
            where(source.set_result, 1)
            await turns()
            assert following.cancelled()

        run(main())

    def test_keeps_a_result_that_it_has_already(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            following.set_result("mine")
            where(source.set_result, 1)
            await turns()
            assert following.result() == "mine"

        run(main())
        contexts = [context for context in loop.unhandled if isinstance(context["exception"], AssertionError)]
        if where is in_thread or len(loop.unhandled) > 0:  # in the loop's thread a new Python raises into set_result()
            assert len(contexts) == 1
        del loop.unhandled[:]

    def test_source_may_be_done_before_it_is_followed(self, loop, run, where):
        async def main():
            executor = Manual()
            source = concurrent.futures.Future()
            executor.submit = lambda *args: source
            where(source.set_result, 5)
            assert await loop.run_in_executor(executor, int) == 5

        run(main())

    @pytest.mark.parametrize("cancel", [False, True])
    def test_closed_loop_leaves_it_pending(self, loop_factory, where, cancel, caplog):
        loop = loop_factory()
        source, following = self.submit(loop)
        if cancel:
            following.cancel()
        loop.close()
        where(source.set_result, 1)
        assert following.done() is cancel
        assert caplog.records == []

    def test_gets_a_result_from_before_the_run(self, loop, where):
        source, following = self.submit(loop)
        where(source.set_result, 1)
        assert loop.run_until_complete(following) == 1

    def test_overridden_result_of_the_source_is_called(self, loop, run, where):
        class Own(concurrent.futures.Future):
            def result(self, timeout=None):
                return ("own", super().result(timeout))

        async def main():
            source, following = self.submit(loop, future_class=Own)
            where(source.set_result, 1)
            await turns()
            assert following.result() == (1 if sys.version_info >= (3, 15) else ("own", 1))

        run(main())

    def test_works_if_debug_mode_is_set_meanwhile(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            loop.set_debug(True)
            where(source.set_result, 1)
            await turns()
            assert following.result() == 1

        run(main())

    def test_call_soon_threadsafe_overridden_meanwhile_is_called(self, loop, run, where):
        seen = []

        def call_soon_threadsafe(callback, *args, context=None):
            seen.append(callback)
            return type(loop).call_soon_threadsafe(loop, callback, *args, context=context)

        async def main():
            source, following = self.submit(loop)
            loop.call_soon_threadsafe = call_soon_threadsafe
            where(source.set_result, 1)
            await turns()
            assert following.result() == 1
            del loop.call_soon_threadsafe

        run(main())
        assert len(seen) == 1 or where is not in_thread

    def test_follower_without_another_owner_is_done(self, loop, run, where):
        async def main():
            executor = Manual()
            seen = []
            loop.run_in_executor(executor, int).add_done_callback(lambda future: seen.append(future.result()))
            gc.collect()
            where(executor.futures[0].set_result, 1)
            await turns()
            assert seen == [1]

        run(main())

    def test_cycles_of_source_and_follower_are_collected(self, loop, run, where):
        async def main():
            source, following = self.submit(loop)
            source.myself, following.myself = source, following
            watches = [weakref.ref(source), weakref.ref(following)]
            if where is in_thread:  # else neither is ever done
                where(source.set_result, 1)
                await turns()
            del source, following
            gc.collect()
            assert [watch() for watch in watches] == [None, None]

        run(main())

    def test_finaliser_of_the_result_may_use_the_loop(self, loop, run, where):
        class Attacker:
            def __del__(self):
                seen.append(1)
                gc.collect()
                loop.call_soon(seen.append, 2)

        async def main():
            source, following = self.submit(loop)
            where(source.set_result, Attacker())
            del source, following
            await turns(4)
            assert seen == [1, 2]

        seen = []
        run(main())


def test_callbacks_of_the_follower_may_be_called_by_hand(loop, run):
    async def main():
        executor = Manual()
        following = loop.run_in_executor(executor, int)
        for callback, _ in following._callbacks:
            with contextlib.suppress(AttributeError):  # asyncio's is a function of the future
                callback(42)
        executor.futures[0].set_result(1)
        assert await following == 1

    run(main())


def test_follower_may_be_initialised_again_on_another_loop(loop, loop_factory, Future):
    other = loop_factory()
    executor = Manual()
    following = loop.run_in_executor(executor, int)
    with contextlib.suppress(RuntimeError):  # from Python 3.15 on it begins once
        Future.__init__(following, loop=other)
    in_thread(executor.futures[0].set_result, 1)
    del following, executor
    gc.collect()
    other.close()


class TestShutdown:
    def test_waits_for_running_jobs(self, loop):
        seen = []

        async def main():
            loop.run_in_executor(None, lambda: (time.sleep(0.01), seen.append(1)))
            await loop.shutdown_default_executor()
            assert seen == [1]

        loop.run_until_complete(main())

    def test_refuses_work_afterwards(self, loop):
        loop.run_until_complete(loop.shutdown_default_executor())
        with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
            loop.run_in_executor(None, int)

    def test_may_be_repeated(self, loop):
        async def main():
            await loop.run_in_executor(None, int)
            await loop.shutdown_default_executor()
            await loop.shutdown_default_executor()

        loop.run_until_complete(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="timeout came with Python 3.12")
    @pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="3.12 waits for the executor whatever the timeout says")
    def test_warns_after_the_timeout(self, loop):
        gate = threading.Event()

        async def main():
            future = loop.run_in_executor(None, gate.wait)
            with pytest.warns(RuntimeWarning, match="The executor did not finishing joining its threads within 0.01"):
                await loop.shutdown_default_executor(timeout=0.01)
            gate.set()
            await future

        loop.run_until_complete(main())

    def test_close_does_not_wait(self, loop):
        gate = threading.Event()
        executor = concurrent.futures.ThreadPoolExecutor()
        loop.set_default_executor(executor)

        async def main():
            loop.run_in_executor(None, gate.wait)

        loop.run_until_complete(main())
        loop.close()
        gate.set()
        executor.shutdown()  # waits: until its end the thread holds the future


class TestThreads:
    def test_to_thread_passes_arguments_and_context(self, run):
        var = contextvars.ContextVar("var")

        async def main():
            var.set("inherited")
            return await asyncio.to_thread(lambda a, *, b: (a, b, var.get()), 1, b=2)

        assert run(main()) == (1, 2, "inherited")

    def test_run_coroutine_threadsafe_gives_the_result(self, loop, run):
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        def other():
            return asyncio.run_coroutine_threadsafe(double(21), loop).result(10)

        async def main():
            return await loop.run_in_executor(None, other)

        assert run(main()) == 42

    def test_run_coroutine_threadsafe_passes_exception_and_cancel(self, loop, run):
        async def fail():
            raise ValueError("x")

        async def forever():
            await loop.create_future()

        def other():
            with pytest.raises(ValueError, match="^x$"):
                asyncio.run_coroutine_threadsafe(fail(), loop).result(10)
            future = asyncio.run_coroutine_threadsafe(forever(), loop)
            with pytest.raises(concurrent.futures.TimeoutError):
                future.result(0.002)
            assert future.cancel()

        async def main():
            await loop.run_in_executor(None, other)
            await asyncio.sleep(0.005)
            assert asyncio.all_tasks() <= {asyncio.current_task(), *outer}

        outer = set()
        loop.call_soon(lambda: outer.update(asyncio.all_tasks(loop)))
        run(main())

    def test_wrap_future_gives_the_result(self, loop, run):
        async def main():
            source = concurrent.futures.Future()
            loop.call_soon(source.set_result, 5)
            return await asyncio.wrap_future(source)

        assert run(main()) == 5


class TestNames:
    def test_getaddrinfo_returns_the_same_as_socket(self, loop, run):
        async def main():
            return await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

        assert run(main()) == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    def test_getaddrinfo_works_in_debug_mode(self, loop, run):
        async def main():
            return await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

        loop.set_debug(True)
        assert run(main())[0][4] == ("127.0.0.1", 80)

    def test_getaddrinfo_fails(self, loop, run):
        async def main():
            with pytest.raises(socket.gaierror):
                await loop.getaddrinfo("127.0.0.1", "no such service")

        run(main())

    def test_getnameinfo_returns_host_and_port(self, loop, run):
        async def main():
            flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            return await loop.getnameinfo(("127.0.0.1", 80), flags)

        assert run(main()) == ("127.0.0.1", "80")
