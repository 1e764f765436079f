"""The ready queue: callbacks one after another, and many at once."""

from case import micro


def noop():
    pass


@micro("call_soon chain", operation="a callback that schedules the next one")
def chain(loop):
    left = 0

    def step():
        nonlocal left
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


@micro("100,000 call_soon in a batch", operation="a callback scheduled and run, 100,000 in a turn", batch=100_000)
def batch(loop):
    def work(count):
        for _ in range(count // 100_000):
            for _ in range(100_000):
                loop.call_soon(noop)
            loop.call_soon(loop.stop)
            loop.run_forever()

    yield work
