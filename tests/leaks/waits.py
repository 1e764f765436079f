"""sleep(), timeout(), wait_for() and groups of tasks: over, expired, failed, cancelled, dropped, refused."""

import asyncio
import contextlib
import warnings

import asyncloop


async def _turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def sleeps():
    for delay in (0, 1e-6, -1, True):
        assert await asyncloop.sleep(delay, "x") == "x"
    with contextlib.suppress(TypeError):
        await asyncloop.sleep("x")


async def sleeps_cancelled():
    tasks = [asyncio.ensure_future(asyncloop.sleep(delay)) for delay in (0, 1000)]
    await _turns(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def timeouts():
    for delay in (None, 1000):
        for _ in range(10):
            async with asyncloop.timeout(delay) as timeout:
                timeout.reschedule(asyncio.get_running_loop().time() + 1000)
                await asyncio.sleep(0)


async def timeouts_expire():
    for _ in range(5):
        with contextlib.suppress(TimeoutError):
            async with asyncloop.timeout(0):
                await _turns()


async def timeouts_with_an_exception():
    for _ in range(5):
        with contextlib.suppress(ValueError):
            async with asyncloop.timeout(1000):
                raise ValueError


async def timeouts_refused():
    timeout = asyncloop.timeout(1000)
    with contextlib.suppress(RuntimeError, AssertionError):  # early patch releases of 3.11 assert
        timeout.reschedule(1)
    async with timeout:
        with contextlib.suppress(RuntimeError):
            await timeout.__aenter__()
    with contextlib.suppress(AssertionError):
        await timeout.__aexit__(None, None, None)


async def wait_for():
    loop = asyncio.get_running_loop()
    for limit in (None, 1000, 0, 1e-9):
        future = loop.create_future()
        future.set_result(1)
        for one in (future, asyncio.sleep(0), loop.create_task(asyncio.sleep(0)), loop.create_future()):
            if asyncio.isfuture(one):
                loop.call_later(0.001, one.cancel)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await asyncloop.wait_for(one, limit)


async def wait_for_cancelled():
    async def wait():
        await asyncloop.wait_for(asyncio.get_running_loop().create_future(), 1000)

    tasks = [asyncio.ensure_future(wait()) for _ in range(5)]
    await _turns(2)
    for task in tasks:
        task.cancel("x")
    await asyncio.gather(*tasks, return_exceptions=True)


async def wait_for_what_cannot_be_awaited():
    for one in (1, "x", None):
        with contextlib.suppress(TypeError):
            await asyncloop.wait_for(one, 0.001)
    await asyncio.sleep(0.005)  # asyncio's of 3.11 leaves the timer armed


async def _fail():
    raise ValueError


async def groups():
    for _ in range(5):
        async with asyncloop.TaskGroup() as group:
            for _ in range(10):
                group.create_task(_turns(2), name="x")


async def groups_fail():
    for body in (_turns, _fail):
        with contextlib.suppress(BaseExceptionGroup):
            async with asyncloop.TaskGroup() as group:
                group.create_task(asyncio.sleep(1000))
                group.create_task(_fail())
                await body()


async def groups_cancelled():
    async def wait():
        async with asyncloop.TaskGroup() as group:
            group.create_task(asyncio.sleep(1000))
            group.create_task(_turns(5))

    tasks = [asyncio.ensure_future(wait()) for _ in range(5)]
    for task in tasks:
        await _turns()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def groups_refused():
    group = asyncloop.TaskGroup()
    for _ in range(2):
        coroutine = _turns()
        with contextlib.suppress(RuntimeError):
            group.create_task(coroutine)
        coroutine.close()
        with contextlib.suppress(RuntimeError):
            async with group:
                with contextlib.suppress(TypeError):
                    group.create_task(1)


async def gathered():
    loop = asyncio.get_running_loop()
    for returns in (False, True):
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        coroutines = [_turns(), loop.create_task(_turns(1)), future]
        await asyncloop.gather(*coroutines, return_exceptions=returns)
        with contextlib.suppress(ValueError):
            await asyncloop.gather(_fail(), _turns(), return_exceptions=returns)
        outer = asyncloop.gather(_turns(), asyncio.sleep(1000), return_exceptions=returns)
        await _turns()
        outer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await outer
        with contextlib.suppress(TypeError):
            await asyncloop.gather(loop.create_future(), 1)


async def shielded():
    loop = asyncio.get_running_loop()
    for _ in range(5):
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        for inner in (future, _turns(), loop.create_task(_turns())):
            await asyncloop.shield(inner)
        with contextlib.suppress(ValueError):
            await asyncloop.shield(_fail())
        inner = loop.create_task(_turns(10))
        for _ in range(3):
            asyncloop.shield(inner).cancel()
            await _turns(1)
        outer = asyncloop.shield(inner)
        outer.cancel()  # both are done in one turn
        inner.cancel()
        outer = asyncloop.shield(loop.create_task(_turns(10)))
        outer.itself = outer
        with contextlib.suppress(TypeError):
            asyncloop.shield(1)
        del outer, inner
        await _turns(12)


async def waited():
    loop = asyncio.get_running_loop()
    for timeout in (None, 1000, 1e-6):
        for return_when in (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION):
            futures = [loop.create_task(_turns(i)) for i in range(1, 4)]
            futures += [loop.create_task(_fail()), loop.create_future()]
            loop.call_soon(futures[-1].set_result, 1)
            await asyncloop.wait(futures, timeout=timeout, return_when=return_when)
            await asyncloop.wait(futures)
            await asyncloop.wait({*futures}, timeout=timeout, return_when=return_when)
            futures[-2].exception()
        pending = loop.create_future()
        waiting = loop.create_task(asyncloop.wait((pending,), timeout=1000))
        await _turns(1)
        waiting.cancel()
        await _turns()
        pending.itself = loop.create_task(asyncloop.wait([pending]))  # both are dropped
        pending.itself._log_destroy_pending = False
        await _turns(1)
        for wrong in ([], [1], [[]], pending, None):
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                await asyncloop.wait(wrong)
        del pending, waiting, futures
    closed = asyncloop.wait([loop.create_future()])
    closed.send(None)
    closed.close()


async def never_awaited():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            asyncloop.sleep(1, object())
            asyncloop.wait_for(object(), 1)
            asyncloop.wait([object()], timeout=1)
            asyncloop.timeout(1).__aenter__()


async def cycles():
    for _ in range(10):
        timeout = asyncloop.timeout(1000)
        timeout.itself = timeout
        waiting = asyncloop.wait_for(timeout, 1)
        timeout.waiting = waiting
        waiting.close()
        group = asyncloop.TaskGroup()
        group.itself = [group, group.__aenter__()]
        group.itself[1].close()


async def overridden():
    class Mine(asyncloop.Timeout):
        def reschedule(self, when):
            super().reschedule(when)

    async with Mine(None) as timeout:
        timeout.reschedule(None)


def on_asyncio(new_event_loop):
    async def main():
        await asyncloop.sleep(1e-6)
        await asyncloop.wait_for(asyncio.sleep(0), 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncloop.timeout(1e-6):
                await asyncio.sleep(1000)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()
