"""Locks and queues of asyncio on its loop, and of asyncloop on its own loop and on asyncio's: they work on any."""

import asyncio

import pytest

import asyncloop


@pytest.fixture(params=["asyncio", "asyncloop", "asyncloop on asyncio"])
def kind(request):
    """The names of the primitives and of the loop."""
    return request.param


@pytest.fixture
def primitives(kind):
    """The module whose Lock, Event, Queue ... are tested."""
    return asyncio if kind == "asyncio" else asyncloop


@pytest.fixture
def loop_factory(kind):
    """Makes loops; the test closes them."""
    return asyncloop.new_event_loop if kind == "asyncloop" else asyncio.SelectorEventLoop
