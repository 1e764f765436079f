"""The interpreter's own tests of asyncio on our loop, Task and Future: one item a module."""

import concurrent.futures
import importlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # pytest's importlib mode leaves it out
suite = importlib.import_module("suite")

NOT_APPLICABLE = suite.not_applicable()
MODULES = {
    name: full_name
    for name, full_name in suite.modules().items()
    if not any(omission.matches(f"{name}.*") for omission in NOT_APPLICABLE)
}
DETAILS = 20  # failed tests of a module whose details are shown
TAIL = 12  # lines of each

pytestmark = pytest.mark.skipif(bool(suite.why_not_installed()), reason=str(suite.why_not_installed()))


# What asyncloop.accelerate() replaces. (test_waitfor is a module of its own from 3.12 on.)
ACCELERATED = ["test_locks", "test_queues", "test_streams", "test_taskgroups", "test_tasks", "test_timeouts"]
ACCELERATED += ["test_waitfor"]


def options(**others):
    return suite.Options(
        loop="asyncloop:Loop",
        task="asyncloop:Task",
        future="asyncloop:Future",
        omissions=NOT_APPLICABLE + suite.foreign(),
        debug=bool(os.environ.get("PYTHONASYNCIODEBUG")),
        **others,
    )


@pytest.fixture(scope="session")
def finished(request):
    """finished(name) -> the suite.Module of that name after its run.

    Two modules run at a time, ahead of the item that waits for them. Under pytest-xdist a process does not know
    which items will be its own: there each runs one module at a time, when its item comes.
    """
    modules = {name: suite.Module(name, full_name, options()) for name, full_name in MODULES.items()}
    ahead = [item.callspec.params["name"] for item in request.session.items if item.originalname == "test_module"]
    if "PYTEST_XDIST_WORKER" in os.environ:
        ahead = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        runs = {name: pool.submit(modules[name].run) for name in ahead}
        yield lambda name: runs[name].result() if name in runs else modules[name].run()
        pool.shutdown(wait=False, cancel_futures=True)
        for module in modules.values():
            module.stop()


@pytest.mark.parametrize("name", list(MODULES) or ["test_asyncio"])
def test_module(name, finished):
    module = finished(name)
    count = module.counts()
    if module.failures():
        pytest.fail(report(module), pytrace=False)
    if not count["applicable"]:
        pytest.skip(why_nothing_applies(module))
    print(", ".join(f"{number} {outcome}" for outcome, number in count.items()))


@pytest.mark.parametrize("name", [name for name in ACCELERATED if name in MODULES])
def test_accelerated(name):
    """The same with asyncloop.accelerate()."""
    module = suite.Module(name, MODULES[name], options(accelerate=True))
    module.run()
    if module.failures():
        pytest.fail(report(module), pytrace=False)
    assert module.counts()["applicable"]


def report(module):
    parts = [f"{len(module.failures())} of {module.counts()['applicable']} failed", *module.summary(), ""]
    for test, result in list(module.failures().items())[:DETAILS]:
        parts += [f"--- {test}", *result["detail"].rstrip().splitlines()[-TAIL:], ""]
    return "\n".join(parts)


def why_nothing_applies(module):
    """The reason that its tests share, or that they test other things."""
    reasons = {result["detail"] for result in module.results.values() if result["outcome"] != "unrelated"}
    return reasons.pop() if len(reasons) == 1 else "no test of it that applies makes a loop, Task or Future"
