"""Loops made and closed, in every state."""

import asyncio
import gc
import warnings


def made_and_closed(new_event_loop):
    new_event_loop().close()


def closed_twice(new_event_loop):
    loop = new_event_loop()
    loop.close()
    loop.close()


def never_closed(new_event_loop):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop = new_event_loop()
        loop.itself = loop
        del loop
        gc.collect()


def run(new_event_loop):
    loop = new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


def failing_main(new_event_loop):
    async def main():
        raise ValueError

    loop = new_event_loop()
    try:
        loop.run_until_complete(main())
    except ValueError:
        pass
    loop.close()


def stopped_before_the_end(new_event_loop):
    loop = new_event_loop()
    loop.call_soon(loop.stop)
    task = loop.create_task(asyncio.sleep(0))
    try:
        loop.run_until_complete(loop.create_future())
    except RuntimeError:
        pass
    loop.run_until_complete(task)
    loop.close()


def interrupted(new_event_loop):
    def interrupt():
        raise KeyboardInterrupt

    loop = new_event_loop()
    loop.call_soon(interrupt)
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        pass
    loop.close()


def used_when_closed(new_event_loop):
    loop = new_event_loop()
    loop.close()
    for call in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print), loop.run_forever):
        try:
            call()
        except RuntimeError:
            pass


def in_a_runner(new_event_loop):
    async def main():
        asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def with_handlers_and_factories(new_event_loop):
    loop = new_event_loop()
    loop.set_exception_handler(lambda loop, context: loop)
    loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
    loop.remark = loop
    loop.set_debug(True)
    loop.run_until_complete(asyncio.sleep(0))
    repr(loop)
    loop.close()


def with_an_executor(new_event_loop):
    loop = new_event_loop()
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
