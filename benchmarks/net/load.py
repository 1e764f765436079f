"""The load generator of the network cases: built on first use, run in a process and on a core of its own."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from case import Result

SOURCE = Path(__file__).with_name("load.c")
PROGRAM = SOURCE.parent / "build" / "load"


def build():
    """Compile the generator unless that has been done.

    Raises:
        SystemExit: there is no C compiler, or it failed; says what to do.
    """
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise SystemExit(
            f"The network cases need a C compiler for their load generator, and there is no {compiler[0]!r}. "
            "Install one (Debian: apt install gcc), name one in CC, or leave these cases out by --cases."
        )
    PROGRAM.parent.mkdir(exist_ok=True)
    fresh = PROGRAM.with_suffix(f".{os.getpid()}")  # two runs may build at the same time
    if subprocess.run([*compiler, "-O2", "-std=c11", "-Wall", "-Wextra", "-o", fresh, SOURCE]).returncode:
        raise SystemExit(f"The load generator of the network cases, {SOURCE.name}, does not compile.")
    fresh.replace(PROGRAM)


def drive(port, size, seconds, operations, core=None, connections=16, protocol="tcp"):
    """Load the echo server of this process; blocks, so it belongs into a thread of its own.

    Args:
        port: where the server listens on 127.0.0.1.
        size: bytes of a message.
        seconds: how long to measure, after a third of that for warming up.
        operations: count this many echoes instead, if not None.
        core: the CPU the generator may use; None for any.
        connections: how many have a message on its way all the time.
        protocol: "tcp" or "udp".

    Returns:
        The Result, whose times are those of this process.

    Raises:
        RuntimeError: an echo was wrong, late or missing; says which.
    """
    arguments = [port, os.getpid(), connections, size, seconds / 3, seconds, operations or 0]
    arguments += ["udp"] if protocol == "udp" else []
    load = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if core is not None:
        os.sched_setaffinity(load.pid, {core})
    out, err = load.communicate()
    if load.returncode:
        raise RuntimeError(err.strip() or f"the load generator ended with {load.returncode}")
    count, cpu, wall = map(int, out.split())
    if not count:
        raise RuntimeError(f"not one message came back within {wall / 1e9:.3f} s")
    return Result(count, cpu / 1e9, wall / 1e9)
