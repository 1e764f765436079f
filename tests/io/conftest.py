"""What the tests of this folder share: programs whose system calls are counted, and made to fail."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
import asyncio, ctypes, errno, os, socket, sys, threading, time
sys.path[:] = {path!r}
from {kind} import new_event_loop

library = ctypes.CDLL(None)
before = dict()

def refuse(what, error):
    ctypes.c_int.in_dll(library, "refuse_" + what).value = error

def calls(name):  # how many there were since the last question
    count = ctypes.c_int.in_dll(library, name).value
    since, before[name] = count - before.get(name, 0), count
    return since

loop = new_event_loop()
"""

RUN = """
loop.run_until_complete(main())
loop.close()
"""


@pytest.fixture(scope="module")
def calls_library(tmp_path_factory):
    """calls.c, compiled."""
    if sys.platform != "linux":
        pytest.skip("epoll and timerfd are Linux's")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for calls.c")
    path = tmp_path_factory.mktemp("calls") / "calls.so"
    source = Path(__file__).with_name("calls.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.fixture
def preloaded(calls_library, tmp_path):
    """preloaded(kind, prelude, source) runs the source of main() on a loop of that kind, with calls.c preloaded."""

    def preloaded(kind, prelude, source, run=RUN):
        path = tmp_path / "program.py"
        program = PRELUDE.format(path=sys.path, kind=kind) + prelude + textwrap.dedent(source) + run
        path.write_text(program)
        preload = f"{os.environ.get('LD_PRELOAD', '')} {calls_library}".strip()
        environment = os.environ | {"LD_PRELOAD": preload}
        done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    return preloaded
