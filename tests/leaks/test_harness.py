"""The leak harness sees leaks, and every scenario of this folder does what it says."""

import importlib.util
import inspect
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent

spec = importlib.util.spec_from_file_location("leaks_run", HERE / "run.py")
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)

FILES = sorted(
    path for path in HERE.glob("*.py") if path.name not in harness.NOT_SCENARIOS and not path.name.startswith("test_")
)
SCENARIOS = [
    pytest.param(function, id=f"{path.stem}.{name}")
    for path in FILES
    for name, function in harness.scenarios(harness.load(path))
]

LEAKY = """
import ctypes, os

kept = []

def leaks_objects(new_event_loop):
    kept.append(object())

async def leaks_objects_in_a_coroutine():
    kept.append(object())

def leaks_descriptors(new_event_loop):
    os.dup(0)

def leaks_references(new_event_loop):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

def leaks_memory_of_the_c_library(new_event_loop):
    malloc = ctypes.CDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    malloc(1000)

def leaks_nothing(new_event_loop):
    object()
    os.close(os.dup(0))

def leaks_only_at_first(new_event_loop, seen=[]):
    if len(seen) < 20:
        seen.append(object())

def fails(new_event_loop):
    raise ZeroDivisionError
"""


@pytest.fixture
def run_harness(tmp_path):
    """run_harness(source) -> (exit status, what was printed)."""

    def run(source):
        file = tmp_path / "made_up.py"
        file.write_text(source)
        done = subprocess.run(
            [sys.executable, HERE / "run.py", "--loop", "asyncio", "--patience", "1", file],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    return run


counted = pytest.mark.skipif(
    sys.getallocatedblocks() == 0, reason="blocks are not counted with PYTHONMALLOC=malloc, which the sanitizers want"
)


@counted
def test_leaks_are_seen_and_told(run_harness):
    status, told = run_harness(LEAKY)
    assert status == 1
    leaking = {line.split()[0].removeprefix("made_up."): line for line in told.splitlines() if "LEAK" in line}
    expected = {"leaks_objects", "leaks_objects_in_a_coroutine", "leaks_descriptors"}
    if hasattr(sys, "gettotalrefcount"):
        expected.add("leaks_references")
    if harness.heap_counter():
        expected.add("leaks_memory_of_the_c_library")
    assert set(leaking) == expected
    assert "+10" in leaking["leaks_descriptors"]
    assert "made_up.fails failed: " in told
    assert "ZeroDivisionError" in told
    assert f"8 scenarios on asyncio, {len(expected)} leak, 1 failed" in told


@counted
def test_a_clean_file_is_a_success(run_harness):
    status, told = run_harness("def clean(new_event_loop): new_event_loop().close()")
    assert status == 0
    assert told.startswith("1 scenarios on asyncio, 0 leak, 0 failed")


def test_a_crash_is_a_failure(run_harness):
    status, told = run_harness("def crash(new_event_loop): import os; os.abort()")
    assert status == 1
    assert "made_up failed: ended with status -6" in told


@pytest.mark.parametrize("function", SCENARIOS)
def test_scenario_runs(loop_factory, kind, function, monkeypatch):
    if kind == "asyncio":  # as garbage, one of its loops cannot close itself if its sockets happen to go first
        monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    loop = loop_factory()
    loop.set_exception_handler(lambda loop, context: None)

    def new_event_loop():
        loop = loop_factory()
        loop.set_exception_handler(lambda loop, context: None)
        return loop

    harness.runner(function, loop, new_event_loop)()
    if inspect.iscoroutinefunction(function):
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
