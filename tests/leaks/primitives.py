"""Locks and the like: taken, waited for, handed over, cancelled, dropped."""

import asyncio
import contextlib
import warnings

import asyncloop


async def _turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def lock_free():
    lock = asyncloop.Lock()
    for _ in range(20):
        async with lock:
            pass
    assert await lock.acquire()


async def lock_handed_over():
    lock = asyncloop.Lock()

    async def hold():
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(*[hold() for _ in range(10)])
    assert not lock.locked()


async def lock_waiters_cancelled():
    lock = asyncloop.Lock()
    await lock.acquire()
    tasks = [asyncio.ensure_future(lock.acquire()) for _ in range(6)]
    await _turns()
    tasks[0].cancel()
    lock.release()
    tasks[1].cancel()
    for _ in range(4):
        await _turns()
        lock.release()
    await asyncio.gather(*tasks, return_exceptions=True)


async def never_awaited():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            asyncloop.Lock().acquire()


async def closed_and_thrown_into():
    lock = asyncloop.Lock()
    await lock.acquire()
    for _ in range(10):
        waiting = lock.acquire()
        waiting.send(None)
        waiting.close()
        waiting = lock.acquire()
        waiting.send(None)
        with contextlib.suppress(ValueError):
            waiting.throw(ValueError("x"))
        waiting = lock.acquire()
        waiting.send(None)
        del waiting


async def released_too_often():
    for _ in range(10):
        with contextlib.suppress(RuntimeError):
            asyncloop.Lock().release()


async def event():
    event = asyncloop.Event()
    tasks = [asyncio.ensure_future(event.wait()) for _ in range(10)]
    await _turns()
    tasks[0].cancel()
    event.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    event.clear()


async def semaphores():
    for semaphore in asyncloop.Semaphore(2), asyncloop.BoundedSemaphore(2):

        async def hold(semaphore=semaphore):
            async with semaphore:
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(hold()) for _ in range(8)]
        await _turns(1)
        tasks[4].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def odd_numbers():
    semaphore = asyncloop.Semaphore(2.0)
    async with semaphore:
        semaphore._value = 10**30
    queue = asyncloop.Queue(float("inf"))
    await queue.put(await asyncio.sleep(0, 1))
    await queue.get()


async def condition():
    condition = asyncloop.Condition()

    async def wait():
        async with condition:
            await condition.wait()

    tasks = [asyncio.ensure_future(wait()) for _ in range(6)]
    await _turns()
    tasks[0].cancel()
    async with condition:
        condition.notify(2)
        tasks[1].cancel()
        await _turns()
        tasks[2].cancel()
    async with condition:
        condition.notify_all()
    await asyncio.gather(*tasks, return_exceptions=True)


async def barrier():
    barrier = asyncloop.Barrier(3)
    await asyncio.gather(*[barrier.wait() for _ in range(6)])


async def queues():
    for cls in asyncloop.Queue, asyncloop.PriorityQueue, asyncloop.LifoQueue:
        queue = cls(2)

        async def produce(queue=queue):
            for i in range(6):
                await queue.put(i)
            await queue.join()

        async def consume(queue=queue):
            for _ in range(6):
                await queue.get()
                queue.task_done()

        await asyncio.gather(produce(), consume())


async def queue_waiters_cancelled():
    queue = asyncloop.Queue(1)
    getters = [asyncio.ensure_future(queue.get()) for _ in range(4)]
    await _turns()
    getters[0].cancel()
    queue.put_nowait(1)
    getters[1].cancel()
    await _turns()
    getters[3].cancel()
    await asyncio.gather(*getters, return_exceptions=True)
    putters = [asyncio.ensure_future(queue.put(i)) for i in range(4)]
    await _turns()
    for putter in putters:
        putter.cancel()
    await asyncio.gather(*putters, return_exceptions=True)


async def items_left_in_queues():
    for _ in range(10):
        queue = asyncloop.PriorityQueue()
        queue.put_nowait((1, queue))


async def cycles():
    for _ in range(10):
        lock = asyncloop.Lock()
        lock.waiting = lock.acquire()
        lock.waiting.close()
        lock.itself = lock


async def overridden():
    class Mine(asyncloop.Lock):
        def release(self):
            super().release()

    lock = Mine()
    async with lock:
        task = asyncio.ensure_future(lock.acquire())
        await _turns()
    await task
    lock.release()


def bound_to_another_loop(new_event_loop):
    lock = asyncloop.Lock()

    async def contend():
        await lock.acquire()
        task = asyncio.ensure_future(lock.acquire())
        await _turns()
        lock.release()
        await asyncio.gather(task, return_exceptions=True)
        lock.release()

    async def fail():
        await lock.acquire()
        with contextlib.suppress(RuntimeError):
            await lock.acquire()
        lock.release()

    for work in contend, fail:
        loop = new_event_loop()
        loop.run_until_complete(work())
        loop.close()
