"""Fixtures for what works on any loop: asyncio's on its loop, and asyncloop's on its own loop and on asyncio's.

A conftest.py that imports them replaces those of tests/conftest.py.
"""

import asyncio

import pytest

import asyncloop


@pytest.fixture(params=["asyncio", "asyncloop", "asyncloop on asyncio"])
def kind(request):
    """The names of the module and of the loop."""
    return request.param


@pytest.fixture
def module(kind):
    """The module whose classes and functions are tested."""
    return asyncio if kind == "asyncio" else asyncloop


@pytest.fixture
def loop_factory(kind):
    """Makes loops; the test closes them."""
    return asyncloop.new_event_loop if kind == "asyncloop" else asyncio.SelectorEventLoop
