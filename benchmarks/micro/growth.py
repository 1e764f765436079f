"""What an operation costs when there is much of its kind already: timers that wait, tasks that wait."""

import asyncio
import contextlib
import gc

from case import Micro
from micro.task_switch import create_await
from micro.timers import churning


def making(count):
    """Return the body of a case: tasks are made and awaited while `count` others wait."""

    def body(loop):
        async def wait():
            await loop.create_future()

        async def end(others):
            for other in others:
                other.cancel()
            await asyncio.wait(others)

        others = [loop.create_task(wait()) for _ in range(count)]
        loop.run_until_complete(asyncio.sleep(0))
        with create_await.open(loop) as work:
            yield work
        loop.run_until_complete(end(others))

    return body


class Growth(Micro):
    """A Micro case among `count` others of a kind."""

    def __init__(self, body, kind, count, title, operation):
        super().__init__(body, f"{title}, among {count:,}", f"{operation}, {count:,} others waiting", 1)
        self.name = f"growth.{kind}_{count}"

    @contextlib.contextmanager
    def open(self, loop):
        gc.disable()  # the others are the loop's to bear here, not the collector's
        with super().open(loop) as work:
            gc.freeze()
            gc.enable()
            yield work
            gc.disable()


timers = [
    Growth(churning(count), "timers", count, "timer churned", "a turn that cancels its timer and arms another")
    for count in (10, 1_000, 1_000_000)
]
tasks = [
    Growth(making(count), "tasks", count, "create_task + await", "a task that returns at once, made and awaited")
    for count in (1, 1_000, 1_000_000)
]
