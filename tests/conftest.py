"""Every behaviour test runs on stock asyncio first, which proves the test right, and then on asyncloop."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import failing
import pytest
import stock

import asyncloop
from asyncloop import _core

# A shell that starts us in the background has Ctrl-C ignored, and so would every program that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


FEATURES = _core._features()
ACCELERATED = Path(__file__).parent / "shared" / "accelerated"


def pytest_addoption(parser):
    parser.addoption(
        "--accelerate", action="store_true", help="asyncloop.accelerate() first, in the Python processes of tests, too"
    )


def pytest_configure(config):
    if config.getoption("--accelerate"):
        asyncloop.accelerate()
        sys.path.insert(0, str(ACCELERATED))  # for those that get our path
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ACCELERATED), os.environ.get("PYTHONPATH")]))
    config.addinivalue_line("markers", "stock_needs(fact, reason): what must hold of stock, see shared/stock.py")
    config.addinivalue_line("markers", "feature(name...): what it is about, see src/base/features.h")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("stock_needs"):
            assert "kind" in item.callspec.params, f"{item.nodeid} does not run on stock"
            if not mark.args[0] and item.callspec.params["kind"] == "asyncio":
                item.add_marker(pytest.mark.skip(reason=mark.kwargs["reason"]))
        for mark in item.iter_markers("feature"):
            if missing := [name for name in mark.args if not FEATURES[name]]:
                item.add_marker(pytest.mark.skip(reason=f"built without {', '.join(missing)}"))


def pytest_sessionfinish(session):
    if stock.FREE_THREADED and sys._is_gil_enabled():
        session.exitstatus = 3
        print("\nthe GIL is on: a module has turned it on", file=sys.stderr)


@pytest.fixture(autouse=True, scope="module")
def little_to_collect():
    """Most tests collect garbage: leave what was there before out of it, which takes most of their time."""
    gc.collect()
    gc.freeze()


# How a test ended.
HAS_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.stash[HAS_PASSED] = report.passed
    return report


if hasattr(_core, "_live"):

    @pytest.fixture(autouse=True)
    def nothing_left(request, caplog):
        """In a debug build: no object of ours outlives a test, but one that has failed, whose traceback has them.

        Set up after the fixtures of the module and before those of the test, and torn down after these.
        """
        gc.collect()
        before = _core._live()
        yield
        if not request.node.stash.get(HAS_PASSED, False):
            return
        # What pytest itself still holds, also by the traceback of an exception that is a parameter.
        callspec = getattr(request.node, "callspec", None)
        parameters = list(callspec.params.values()) if callspec is not None else []
        for value in parameters:
            if isinstance(value, tuple):
                parameters += value
            elif isinstance(value, BaseException):
                value.__traceback__ = value.__context__ = None
        request.node.funcargs.clear()
        for when in "setup", "call", "teardown":
            caplog.get_records(when).clear()
        caplog.clear()
        gc.collect()
        left = {name: count - before[name] for name, count in _core._live().items() if count > before[name]}
        assert left == {}, "objects that outlive the test"


def new_loop(kind):
    if kind == "asyncio":
        return asyncio.SelectorEventLoop()
    import asyncloop

    return asyncloop.new_event_loop()


@pytest.fixture(params=["asyncio", "asyncloop"])
def kind(request):
    """The name of the implementation under test."""
    return request.param


@pytest.fixture
def loop_factory(kind):
    """Makes loops of the kind under test; the test closes them."""
    return lambda: new_loop(kind)


REFUSED = "Error on transport creation for incoming connection"


@pytest.fixture
def loop(loop_factory):
    """A fresh loop, closed after the test, whose exception handler must not have been called."""
    loop = loop_factory()
    unhandled = []
    loop.set_exception_handler(lambda loop, context: unhandled.append(context))
    loop.unhandled = unhandled  # a test that expects reports takes them out
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    gc.collect()
    if sys.flags.dev_mode or os.environ.get("PYTHONASYNCIODEBUG"):  # asyncio tells of strangers at the door then
        unhandled = [context for context in unhandled if context["message"] != REFUSED]
    if stock.FREE_THREADED:  # a collection may free the future of a reader's protocol before the protocol asks it
        unhandled = [context for context in unhandled if context["message"] != "Future exception was never retrieved"]
    assert unhandled == []


@pytest.fixture
def run(loop):
    """Runs a coroutine on the loop to its end, 30 seconds at most."""
    return lambda coro: loop.run_until_complete(asyncio.wait_for(coro, 30))


@pytest.fixture
def Future(kind):
    if kind == "asyncio":
        return asyncio.Future
    import asyncloop

    return asyncloop.Future


@pytest.fixture
def Task(kind):
    if kind == "asyncio":
        return asyncio.Task
    import asyncloop

    return asyncloop.Task


@pytest.fixture
def future(loop, Future):
    """A pending future of the kind under test."""
    return Future(loop=loop)


@pytest.fixture
def turn(loop):
    """Runs one turn of the loop: what is ready now, not what that makes ready."""

    def turn(times=1):
        for _ in range(times):
            loop.call_soon(loop.stop)
            loop.run_forever()

    return turn


@pytest.fixture
def reports(loop):
    """Takes what the exception handler was given since the last call."""

    def reports():
        gc.collect()
        taken, loop.unhandled[:] = loop.unhandled[:], []
        return taken

    return reports


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """What a program preloads so that system calls can fail in it: failing.environment(shim)."""
    if not failing.is_possible:
        pytest.skip("needs a C compiler for failing.c")
    return failing.compile_shim(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def script(kind, tmp_path):
    """Runs source in its own interpreter, where a crash is no danger, and returns what it printed.

    The source finds `new_loop`, `Future` and `Task` of the kind under test, unless these names are not wanted. The
    environment changes nothing but the allocator, which is the debug one by default: it overwrites what is freed, so
    that using it crashes. `preload`: the shim, for programs whose system calls fail.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONMALLOC"] = os.environ.get("PYTHONMALLOC", "debug")
    prelude = f"import asyncio, sys\nsys.path[:] = {sys.path!r}\n"
    imports = f"from {kind} import Future, Task, new_event_loop as new_loop\n"

    def script(source, *flags, check=True, names=True, preload=None):
        path = tmp_path / "script.py"
        path.write_text(prelude + imports * names + textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", *flags, path],
            env=environment if preload is None else failing.environment(preload, environment),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return script
