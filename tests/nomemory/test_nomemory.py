"""The harness sees what is wrong after a failed allocation; and some of the points that `make nomemory` tries."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent

spec = importlib.util.spec_from_file_location("nomemory_run", HERE / "run.py")
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    try:
        harness.compile_hook(tmp_path_factory.mktemp("hook"))
    except RuntimeError as exc:
        pytest.skip(str(exc))


def run(*arguments):
    command = [sys.executable, HERE / "run.py", "--jobs", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


FAULTY = """
import asyncio, ctypes, os, signal

malloc = ctypes.pythonapi.PyMem_Malloc
malloc.restype = ctypes.c_void_p
free = ctypes.pythonapi.PyMem_Free
free.argtypes = [ctypes.c_void_p]

def _fails():
    memory = malloc(100)
    free(memory)
    return not memory

async def right():
    if _fails():
        raise MemoryError

def crash(new_event_loop):
    if _fails():
        os.kill(os.getpid(), signal.SIGSEGV)

async def error():
    if _fails():
        raise SystemError

async def unusable():
    if _fails():
        asyncio.get_running_loop().call_later = None
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What is said of each of the scenarios above: the kinds of faults."""
    path = tmp_path_factory.mktemp("scenarios") / "faulty.py"
    path.write_text(FAULTY)
    done = run("--loop", "asyncio", "--file", path)
    found = {}
    for line in done.stdout.splitlines():
        if match := re.match(r"faulty\.(\w+) ", line):
            kinds = found[match[1]] = set()
        elif match := re.match(r"    \d+: (\w+)", line):
            kinds.add(match[1])
    assert found, done.stderr
    return found


def test_right_program_has_no_fault(faults):
    assert faults["right"] <= {"unusable"}  # as asyncio is after some


@pytest.mark.parametrize("name", ["crash", "error", "unusable"])
def test_planted_fault_is_found(faults, name):
    assert name in faults[name]


SOME = [
    ("tasks.never_begun", 1),
    ("tasks.cancelled_while_waiting", 1),
    ("tasks.*", 29),
    ("handles.*", 29),
    ("streams.*", 29),
    ("transports.*", 29),
    ("sock_ops.*", 29),
]


@pytest.mark.parametrize(("only", "step"), SOME)
def test_some_points_of_the_campaign_have_no_fault(only, step):
    done = run("--only", only, "--step", str(step))
    assert done.returncode == 0, done.stdout + done.stderr


UNCLOSED = """
import asyncio, socket

async def unclosed():
    sock = socket.socket()
    await asyncio.sleep(0)
"""


def test_a_warning_finds_the_frame_that_it_names(tmp_path):
    """The interpreter crashes where a ResourceWarning of what dies in a step has no memory for it."""
    path = tmp_path / "unclosed.py"
    path.write_text(UNCLOSED)
    done = run("--file", path, "--in-a-row", "2")
    assert "0 faults" in done.stdout, done.stdout + done.stderr
