"""Callbacks, tasks, futures, executors, hooks: what needs no file descriptor."""

import asyncio
import concurrent.futures
import contextvars
import os
import signal
import sys
import threading
import time

import pytest

proves = pytest.mark.proves
variable = contextvars.ContextVar("variable", default="outside")


def inside():
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    return context


@proves("loop.call_soon", "callback args")
@proves("loop.run_forever")
@proves("loop.stop")
def test_call_soon(loop):
    calls = []
    loop.call_soon(calls.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == [1]


@proves("loop.call_soon", "context")
def test_call_soon_context(loop):
    calls = []
    loop.call_soon(lambda: calls.append(variable.get()), context=inside())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == ["inside"]


@proves("loop.call_later", "delay callback args context")
def test_call_later(loop):
    calls = []
    start = loop.time()
    loop.call_later(0.01, lambda x: (calls.append((x, variable.get())), loop.stop()), 7, context=inside())
    loop.run_forever()
    assert calls == [(7, "inside")]
    assert loop.time() - start >= 0.009


@proves("loop.call_at", "when callback args context")
@proves("loop.time")
def test_call_at(loop):
    calls = []
    when = loop.time() + 0.01
    handle = loop.call_at(when, lambda x: (calls.append((x, variable.get())), loop.stop()), 7, context=inside())
    assert handle.when() == pytest.approx(when)
    loop.run_forever()
    assert calls == [(7, "inside")]


@proves("loop.call_soon_threadsafe", "callback args context")
def test_call_soon_threadsafe(loop):
    calls = []

    def callback(x):
        calls.append((x, variable.get()))
        loop.stop()

    context = inside()
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(callback, 7, context=context))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert calls == [(7, "inside")]


@proves("loop.run_until_complete", "future")
@proves("loop.create_future")
@proves("loop.is_running")
def test_run_until_complete(loop):
    future = loop.create_future()
    loop.call_soon(lambda: future.set_result(loop.is_running()))
    assert loop.run_until_complete(future) is True
    assert not loop.is_running()


@proves("loop.close")
@proves("loop.is_closed")
def test_close(loop_factory):
    loop = loop_factory()
    assert not loop.is_closed()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(RuntimeError):
        loop.call_soon(print)


@proves("loop.create_task", "coro name")
def test_create_task_name(loop):
    async def main():
        return asyncio.current_task().get_name()

    assert loop.run_until_complete(loop.create_task(main(), name="a name")) == "a name"


@proves("loop.create_task", "context")
def test_create_task_context(loop):
    async def main():
        return variable.get()

    assert loop.run_until_complete(loop.create_task(main(), context=inside())) == "inside"


@proves("loop.create_task", "kwargs")
def test_create_task_kwargs(run):
    async def work():
        return 1

    async def main():
        task = asyncio.get_running_loop().create_task(work(), eager_start=True)
        return task.done()

    assert run(main())


@proves("loop.set_task_factory", "factory")
@proves("loop.get_task_factory")
def test_task_factory(loop):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main():
        return 1

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    assert loop.run_until_complete(loop.create_task(main())) == 1
    assert len(made) == 1


@proves("loop.run_in_executor", "executor func args")
def test_run_in_executor(loop):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        work = loop.run_in_executor(pool, lambda x: (x, threading.current_thread().name), 7)
        x, name = loop.run_until_complete(work)
    assert x == 7
    assert name.startswith("mine")


@proves("loop.set_default_executor", "executor")
@proves("loop.shutdown_default_executor")
def test_default_executor(loop):
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
    loop.set_default_executor(pool)
    name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name.startswith("mine")
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError):
        pool.submit(print)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 waits for the executor before it minds the timeout")
@proves("loop.shutdown_default_executor", "timeout")
def test_shutdown_default_executor_timeout(loop):
    go_on = threading.Event()
    work = loop.run_in_executor(None, go_on.wait, 5)
    start = time.monotonic()
    with pytest.warns(RuntimeWarning):
        loop.run_until_complete(loop.shutdown_default_executor(timeout=0.02))
    assert time.monotonic() - start < 2
    go_on.set()
    loop.run_until_complete(work)


@proves("loop.shutdown_asyncgens")
def test_shutdown_asyncgens(loop):
    closed = []

    async def numbers():
        try:
            yield 1
        finally:
            closed.append(True)

    generator = numbers()

    async def first():
        return await anext(generator)

    assert loop.run_until_complete(first()) == 1
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert closed == [True]


@proves("loop.set_exception_handler", "handler")
@proves("loop.get_exception_handler")
@proves("loop.call_exception_handler", "context")
def test_exception_handler(loop):
    seen = []
    handler = lambda loop, context: seen.append((loop, context))  # noqa: E731
    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    context = {"message": "x"}
    loop.call_exception_handler(context)
    assert seen == [(loop, context)]


@proves("loop.default_exception_handler", "context")
def test_default_exception_handler(loop, caplog):
    loop.default_exception_handler({"message": "it went wrong"})
    assert [(r.name, r.levelname) for r in caplog.records] == [("asyncio", "ERROR")]
    assert "it went wrong" in caplog.text


@proves("loop.set_debug", "enabled")
@proves("loop.get_debug")
def test_debug(loop):
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


@proves("loop.add_signal_handler", "sig callback args")
@proves("loop.remove_signal_handler", "sig")
def test_signal_handler(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda x: (seen.append(x), loop.stop()), 7)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert seen == [7]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
