"""call_soon and call_soon_threadsafe: handles run, cancelled, kept and dropped."""

import asyncio
import contextvars
import threading


async def run():
    loop = asyncio.get_running_loop()
    for _ in range(20):
        loop.call_soon(lambda *args: None, object(), object())
    await asyncio.sleep(0)


async def with_many_arguments():
    asyncio.get_running_loop().call_soon(lambda *args: None, *[object() for _ in range(20)])
    await asyncio.sleep(0)


async def with_a_context():
    context = contextvars.copy_context()
    asyncio.get_running_loop().call_soon(lambda: None, context=context)
    await asyncio.sleep(0)


async def cancelled():
    loop = asyncio.get_running_loop()
    handles = [loop.call_soon(lambda *args: None, object()) for _ in range(20)]
    for handle in handles:
        handle.cancel()
        handle.cancel()
    await asyncio.sleep(0)


async def cancelled_by_themselves():
    loop = asyncio.get_running_loop()
    handle = loop.call_soon(lambda: handle.cancel())
    await asyncio.sleep(0)


async def failing():
    def fail(argument):
        raise ValueError(argument)

    asyncio.get_running_loop().call_soon(fail, object())
    await asyncio.sleep(0)


async def threadsafe():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set_result, object()))
    thread.start()
    await done
    thread.join()


async def reprs():
    handle = asyncio.get_running_loop().call_soon(lambda: None)
    repr(handle)
    handle.cancel()
    repr(handle)


async def in_debug_mode():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        loop.call_soon(lambda: None)
        loop.call_later(0, lambda: None).cancel()
        await asyncio.sleep(0)
    finally:
        loop.set_debug(False)


def never_run(new_event_loop):
    loop = new_event_loop()
    for _ in range(20):
        loop.call_soon(lambda argument: None, object())
    loop.close()


def in_a_cycle(new_event_loop):
    loop = new_event_loop()
    kept = []
    kept.append(loop.call_soon(kept.append, loop))
    loop.close()
