"""Futures: made, resolved, awaited, forgotten."""

import asyncio
import concurrent.futures
import threading


def _future():
    return asyncio.get_running_loop().create_future()


async def made_and_dropped():
    for _ in range(20):
        _future()


async def result():
    for i in range(20):
        future = _future()
        future.set_result(i)
        assert future.result() == i


async def exception_retrieved():
    future = _future()
    future.set_exception(ValueError("x"))
    assert isinstance(future.exception(), ValueError)


async def exception_raised():
    future = _future()
    future.set_exception(ValueError("x"))
    try:
        await future
    except ValueError:
        pass


async def exception_never_retrieved():
    _future().set_exception(ValueError("x"))


async def cancelled():
    future = _future()
    future.cancel("message")
    try:
        await future
    except asyncio.CancelledError:
        pass


async def awaited():
    future = _future()
    asyncio.get_running_loop().call_soon(future.set_result, object())
    await future


async def awaited_by_many():
    future = _future()

    async def wait():
        return await future

    tasks = [asyncio.create_task(wait()) for _ in range(10)]
    await asyncio.sleep(0)
    future.set_result(object())
    await asyncio.gather(*tasks)


async def callbacks_run():
    future = _future()
    seen = []
    for _ in range(5):
        future.add_done_callback(seen.append)
    future.set_result(None)
    await asyncio.sleep(0)
    assert len(seen) == 5


async def callbacks_removed():
    future = _future()
    for _ in range(5):
        future.add_done_callback(print)
    assert future.remove_done_callback(print) == 5


async def callbacks_never_run():
    future = _future()
    for _ in range(5):
        future.add_done_callback(lambda f: None)


async def in_a_cycle():
    future = _future()
    future.add_done_callback(lambda f: future)
    future.itself = future


async def iterator_dropped():
    future = _future()
    iterator = future.__await__()
    next(iterator)
    iterator.close()
    next(_future().__await__())


async def repr_and_attributes():
    future = _future()
    future.remark = object()
    repr(future)
    future.add_done_callback(print)
    repr(future)
    for name in ("_state", "_callbacks", "_loop", "_source_traceback", "_cancel_message", "_exception"):
        getattr(future, name)


async def wrapped_from_a_thread():
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, int)


async def of_executors_that_fail_or_are_cancelled_or_never_done():
    loop = asyncio.get_running_loop()
    await asyncio.gather(loop.run_in_executor(None, int, "x"), return_exceptions=True)
    loop.run_in_executor(None, int).cancel()
    executor = concurrent.futures.ThreadPoolExecutor(1)
    gate = threading.Event()
    blocked = loop.run_in_executor(executor, gate.wait)
    loop.run_in_executor(executor, int).cancel()
    await asyncio.sleep(0)
    gate.set()
    await blocked
    executor.shutdown()
    source = concurrent.futures.Future()
    executor.submit = lambda *args: source
    loop.run_in_executor(executor, int)  # is never done


async def gather_and_shield():
    futures = [_future() for _ in range(10)]
    gathered = asyncio.gather(*[asyncio.shield(future) for future in futures])
    for future in futures:
        future.set_result(None)
    await gathered


async def mixed_with_stock_futures():
    loop = asyncio.get_running_loop()
    stock = asyncio.Future(loop=loop)
    loop.call_soon(stock.set_result, None)
    await stock
