"""sleep(), timeout() and so on: asyncio's on its loop, and asyncloop's on its own loop and on asyncio's."""

import any_loop
import pytest

kind = any_loop.kind
loop_factory = any_loop.loop_factory
waits = any_loop.module


@pytest.fixture
def run(loop):
    """Runs a coroutine on the loop to its end, without a time limit of asyncio's, which would be seen."""
    return loop.run_until_complete
