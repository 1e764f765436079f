"""Work handed to a thread and back."""

from case import micro


def noop():
    pass


@micro("run_in_executor round trip", operation="a function that does nothing, run in the default executor and awaited")
def round_trip(loop):
    async def work(count):
        for _ in range(count):
            await loop.run_in_executor(None, noop)

    yield work
    loop.run_until_complete(loop.shutdown_default_executor())
