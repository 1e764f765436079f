"""sleep(), timeout() and so on: asyncio's on its loop, and asyncloop's on its own loop and on asyncio's."""

import asyncio

import pytest

import asyncloop


@pytest.fixture(params=["asyncio", "asyncloop", "asyncloop on asyncio"])
def kind(request):
    """The names of the module and of the loop."""
    return request.param


@pytest.fixture
def waits(kind):
    """The module whose functions are tested."""
    return asyncio if kind == "asyncio" else asyncloop


@pytest.fixture
def loop_factory(kind):
    """Makes loops; the test closes them."""
    return asyncloop.new_event_loop if kind == "asyncloop" else asyncio.SelectorEventLoop


@pytest.fixture
def run(loop):
    """Runs a coroutine on the loop to its end, without a time limit of asyncio's, which would be seen."""
    return loop.run_until_complete
