"""Timers that are cancelled, as nearly all are, and timers that fire."""

import asyncio

from case import micro


def noop():
    pass


@micro("100,000 timers armed, cancelled", operation="call_later and its cancel, 100,000 armed at a time", batch=100_000)
def arm_cancel(loop):
    async def work(count):
        for _ in range(count // 100_000):
            timers = [loop.call_later(60, noop) for _ in range(100_000)]
            for timer in timers:
                timer.cancel()
            del timers, timer
            await asyncio.sleep(0)  # some loops let go of cancelled timers only in a later turn
            await asyncio.sleep(0)

    yield work


def churning(others):
    """Return the body of a case: turn by turn a timer is cancelled and another armed, while `others` wait."""

    def churn(loop):
        waiting = [loop.call_later(3600 + i / 1000, noop) for i in range(others)]
        timer = loop.call_later(60, noop)
        left = 0

        def step():
            nonlocal left, timer
            timer.cancel()
            timer = loop.call_at(loop.time() + 60, noop)
            left -= 1
            if left:
                loop.call_soon(step)
            else:
                loop.stop()

        def work(count):
            nonlocal left
            left = count
            loop.call_soon(step)
            loop.run_forever()

        yield work
        for other in [*waiting, timer]:
            other.cancel()

    return churn


churn = micro(
    "timer churned among 1,000", operation="a turn that cancels its timer and arms another, 1,000 others waiting"
)(churning(1_000))


@micro("timers that fire", operation="a timer armed and fired, 20,000 due within 20 ms", batch=20_000)
def fire(loop):
    left = 0

    def fired():
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    def work(count):
        nonlocal left
        for _ in range(count // 20_000):
            left = 20_000
            start = loop.time()
            for i in range(20_000):
                loop.call_at(start + i * 1e-6, fired)
            loop.run_forever()

    yield work
