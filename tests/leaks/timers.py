"""call_later and call_at: timers that fire, are cancelled, or never come to fire."""

import asyncio


async def fired():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    for _ in range(20):
        loop.call_later(0.0001, lambda argument: None, object())
    loop.call_later(0.0005, done.set_result, None)
    await done


async def cancelled():
    loop = asyncio.get_running_loop()
    for handle in [loop.call_later(3600, lambda argument: None, object()) for _ in range(200)]:
        handle.cancel()
    await asyncio.sleep(0)


async def cancelled_in_another_order():
    loop = asyncio.get_running_loop()
    handles = [loop.call_later(3600 - i, print) for i in range(50)]
    for handle in handles[::2] + handles[1::2]:
        handle.cancel()
    await asyncio.sleep(0)


async def failing():
    loop = asyncio.get_running_loop()
    loop.call_later(0, [].pop)
    await asyncio.sleep(0.0005)


async def compared_and_shown():
    loop = asyncio.get_running_loop()
    a, b = loop.call_later(3600, print), loop.call_at(loop.time() + 3600, print)
    assert a != b
    assert sorted([b, a])
    hash(a)
    a.when()
    repr(a)
    a.cancel()
    b.cancel()


async def sleeps():
    await asyncio.gather(*[asyncio.sleep(0.0001 * i) for i in range(10)])


async def wait_for():
    await asyncio.wait_for(asyncio.sleep(0), 60)
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.0001)
    except TimeoutError:
        pass


def never_fired(new_event_loop):
    loop = new_event_loop()
    for _ in range(20):
        loop.call_later(3600, lambda argument: None, object())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
