"""Tasks: finished, failed, cancelled, destroyed while pending."""

import asyncio
import contextvars

_var = contextvars.ContextVar("var")


async def _answer():
    return object()


async def _fail():
    raise ValueError("x")


async def created_and_awaited():
    for _ in range(10):
        await asyncio.create_task(_answer())


async def with_name_and_context():
    context = contextvars.copy_context()
    context.run(_var.set, object())
    task = asyncio.create_task(_answer(), name="a name", context=context)
    task.set_name(["another"])
    await task


async def failed_and_awaited():
    try:
        await asyncio.create_task(_fail())
    except ValueError:
        pass


async def failed_and_forgotten():
    asyncio.create_task(_fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def cancelled_before_it_began():
    task = asyncio.create_task(_answer())
    task.cancel()
    await asyncio.wait([task])


async def cancelled_while_waiting():
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel("message")
    await asyncio.wait([task])


async def cancelled_and_uncancelled():
    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            return object()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def waiting_for_each_other():
    loop = asyncio.get_running_loop()
    a, b = loop.create_future(), loop.create_future()

    async def ping():
        a.set_result(None)
        await b

    async def pong():
        await a
        b.set_result(None)

    await asyncio.gather(pong(), ping())


async def awaiting_stock_tasks_and_back():
    loop = asyncio.get_running_loop()
    await asyncio.Task(_answer(), loop=loop)

    async def outer():
        await asyncio.create_task(_answer())

    await asyncio.Task(outer(), loop=loop)


async def awaiting_the_wrong_thing():
    class Wrong:
        def __await__(self):
            yield object()

    async def main():
        await Wrong()

    try:
        await asyncio.create_task(main())
    except RuntimeError:
        pass


async def awaiting_itself():
    async def main():
        await task

    task = asyncio.create_task(main())
    try:
        await task
    except RuntimeError:
        pass


async def stacks_and_reprs():
    task = asyncio.create_task(asyncio.sleep(0.001))
    await asyncio.sleep(0)
    task.get_stack()
    repr(task)
    task.get_coro()
    task.get_name()
    await task
    repr(task)


async def groups():
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(_answer())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
            group.create_task(asyncio.sleep(60))
    except* ValueError:
        pass


async def timeouts():
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
    except TimeoutError:
        pass


async def queues_and_locks():
    queue = asyncio.Queue(1)
    lock = asyncio.Lock()

    async def producer():
        for _ in range(5):
            await queue.put(object())

    async def consumer():
        for _ in range(5):
            async with lock:
                await queue.get()

    await asyncio.gather(producer(), consumer())


async def generators():
    async def numbers():
        try:
            for i in range(3):
                yield i
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    async for _ in numbers():
        pass
    async for _ in numbers():
        break  # left unfinished: the loop's hooks close it
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def all_tasks_and_current_task():
    task = asyncio.create_task(asyncio.sleep(0))
    assert task in asyncio.all_tasks()
    assert asyncio.current_task() is not task
    await task


def pending_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()

    async def wait():
        await loop.create_future()

    for _ in range(3):
        loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def never_begun(new_event_loop):
    loop = new_event_loop()
    coro = _answer()
    task = loop.create_task(coro)
    loop.close()
    del task
    coro.close()


async def eager():
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        return
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        await asyncio.create_task(_answer())
        await asyncio.create_task(asyncio.sleep(0))
        try:
            await asyncio.create_task(_fail())
        except ValueError:
            pass
    finally:
        loop.set_task_factory(None)


async def made_by_a_factory():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
    try:
        await loop.create_task(_answer())
    finally:
        loop.set_task_factory(None)
