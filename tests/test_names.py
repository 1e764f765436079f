"""What the public classes and functions call themselves, and what a loop says of itself."""

import asyncio
import pickle
import re
import sys

import pytest

import asyncloop
from asyncloop._core import Future

OURS = [
    name
    for name in asyncloop.__all__
    if name not in ("EventLoopPolicy", "__version__")
    if getattr(asyncloop, name).__module__.partition(".")[0] == "asyncloop"
]


def test_most_names_are_ours():
    others = {*asyncloop.__all__} - {*OURS} - {"EventLoopPolicy", "__version__"}
    may_be_asyncios = {"QueueShutDown"} | ({"Future", "Task"} if Future is asyncio.Future else set())
    if sys.version_info < (3, 12):
        may_be_asyncios.add("wait_for")
    assert others <= may_be_asyncios


@pytest.mark.parametrize("name", OURS)
def test_names_are_those_of_the_package(name):
    public = getattr(asyncloop, name)
    assert (public.__module__, public.__qualname__) == ("asyncloop", name)
    assert pickle.loads(pickle.dumps(public)) is public
    assert f"asyncloop.{name}" in repr(public) or not isinstance(public, type)


def test_repr_of_a_loop_says_its_state():
    class OwnLoop(asyncloop.Loop):
        pass

    async def main():
        return repr(asyncio.get_running_loop())

    loop = asyncloop.Loop()
    assert repr(loop) == "<asyncloop.Loop running=False closed=False debug=False>"
    loop.set_debug(True)
    assert loop.run_until_complete(main()) == "<asyncloop.Loop running=True closed=False debug=True>"
    loop.close()
    assert repr(loop) == "<asyncloop.Loop running=False closed=True debug=True>"
    own = OwnLoop()
    assert repr(own) == "<OwnLoop running=False closed=False debug=False>"
    own.close()


@pytest.mark.parametrize("name", ["poll ", "", "port", "EPOLL"])
def test_a_backend_that_there_is_not_is_an_error_that_lists_those_there_are(name):
    with pytest.raises(ValueError) as caught:
        asyncloop.Loop(backend=name)
    listed = re.fullmatch(r"there is no backend (.*) on this system; there are (.*)", str(caught.value))
    assert listed[1] == repr(name)
    names = listed[2].replace("'", "").split(", ")
    assert {"epoll", "poll", "select"} <= {*names}
    for each in "epoll", "poll", "select":
        asyncloop.Loop(backend=each).close()
