"""System calls that fail: the Python side of failing.c.

so = failing.compile_shim(folder)                    in one process,
subprocess.run(..., env=failing.environment(so))     which starts another, where
with failing.calls("accept4", error=errno.EMFILE): ...    calls fail
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
OURS, OTHERS, ANY_THREAD = 1, 2, 4  # who calls
FOR_EVER = -1

is_possible = sys.platform == "linux" and shutil.which("cc") is not None


def compile_shim(folder, source=SOURCE):
    """The path of the shared object to be preloaded."""
    path = Path(folder) / f"{source.stem}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-w", "-o", path, source, "-ldl"], check=True)
    return path


def environment(so, base=os.environ):
    """The environment `base` for a process that preloads the shim: behind a sanitizer, which wants to be the first."""
    return {**base, "LD_PRELOAD": f"{base.get('LD_PRELOAD', '')} {so}".strip()}


def _shim():
    shim = ctypes.CDLL(None)
    shim.failing_name.restype = ctypes.c_char_p
    return shim


def names():
    """The calls that can fail, by the number that failing.c gives them."""
    shim = _shim()
    return [shim.failing_name(number).decode() for number in range(shim.failing_count())]


def begin(*wanted, error=0, nth=0, times=1, whose=OURS | OTHERS | ANY_THREAD):
    """Let the wanted calls fail, each from its nth time on, so many times; none: only count."""
    known = names()
    mask = sum(1 << known.index(name) for name in wanted)
    _shim().failing_begin(ctypes.c_uint64(mask), nth, times, error, whose)


def end():
    """No call fails any more: how many did."""
    return _shim().failing_end()


def made():
    """{name: how many calls were made since begin()}."""
    shim = _shim()
    return {name: shim.failing_made(number) for number, name in enumerate(names()) if shim.failing_made(number)}


@contextlib.contextmanager
def calls(*wanted, times=FOR_EVER, **options):
    """Within the context the calls fail."""
    begin(*wanted, times=times, **options)
    try:
        yield
    finally:
        end()
