"""Metrics, profiles, and the log of slow steps. asyncio's loop has none of them: there the scenarios do without."""

import asyncio
import contextlib
import functools
import gc


async def _turns(n):
    for _ in range(n):
        await asyncio.sleep(0)


def _profile_of(loop):
    import asyncloop

    return asyncloop.profile(loop) if hasattr(loop, "metrics") else contextlib.nullcontext()


def snapshots(new_event_loop):
    loop = new_event_loop()
    metrics = getattr(loop, "metrics", int)
    before = metrics()
    loop.run_until_complete(_turns(3))
    between = metrics() - before
    if between:
        between.delay.percentile(99)
        repr(between)
    loop.close()


def all_loops_added_up(new_event_loop):
    import asyncloop

    loop = new_event_loop()
    loop.run_until_complete(_turns(3))
    asyncloop.metrics()
    loop.close()
    asyncloop.metrics()


def profiled(new_event_loop):
    loop = new_event_loop()
    with _profile_of(loop) as profile:
        loop.call_soon(functools.partial(int, "5"))
        loop.run_until_complete(_turns(3))
        if profile is not None:
            assert profile.tasks and profile.callbacks
    loop.close()


def profiled_to_the_end(new_event_loop):
    loop = new_event_loop()
    _profile_of(loop).__enter__()
    loop.run_until_complete(_turns(3))
    loop.close()
    del loop
    gc.collect()


def slow_steps(new_event_loop):
    loop = new_event_loop()
    getattr(loop, "set_slow_callback_log", abs)(1000)
    loop.run_until_complete(_turns(3))
    loop.close()


def a_task_that_is_collected(new_event_loop):
    async def forgotten():
        await loop.create_future()

    async def main():
        asyncio.create_task(forgotten())
        await asyncio.sleep(0)

    loop = new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(main())
    gc.collect()
    loop.close()
