"""The load generators of the network cases: programs in a process and on a core of their own."""

import os
import subprocess

from case import Result
from net.compile import program


def build():
    """Return the path of the generator in C, compiled on first use; raises Missing if it cannot be."""
    return program("load")


def drive(address, size, seconds, operations, core=None, connections=16, kind="echo", pid=None):
    """Load a server, usually the one of this process; blocks, so it belongs into a thread of its own.

    Args:
        address: where the server listens: a port on 127.0.0.1, or the path of a Unix socket.
        size: bytes of a message, or of the body of a response.
        seconds: how long to measure, after a third of that for warming up.
        operations: count this many answers instead, if not None.
        core: the CPU the generator may use; None for any.
        connections: how many have a message on its way all the time.
        kind: "echo", "udp" or "http".
        pid: of the server; None for this process.

    Returns:
        The Result, whose CPU time is the server's.

    Raises:
        RuntimeError: an answer was wrong, late or missing; says which.
    """
    arguments = address, pid or os.getpid(), connections, size, seconds / 3, seconds, operations or 0, kind
    return run([build(), *arguments], core)


def run(command, core, **options):
    """Run a generator that prints "OPERATIONS CPU WALL P50 P99 P99.9", and return that as a Result.

    Args:
        command: program and arguments.
        core: the CPU it may use; None for any.
        options: further ones of subprocess.Popen.

    Raises:
        RuntimeError: it failed, or nothing came back.
    """
    pipe = subprocess.PIPE
    load = subprocess.Popen(list(map(str, command)), stdout=pipe, stderr=pipe, text=True, **options)
    if core is not None:
        os.sched_setaffinity(load.pid, {core})
    out, err = load.communicate()
    if load.returncode:
        raise RuntimeError(err.strip() or f"the load generator ended with {load.returncode}")
    count, cpu, wall, *latency = map(int, out.split())
    if not count:
        raise RuntimeError(f"not one message came back within {wall / 1e9:.3f} s")
    return Result(count, cpu / 1e9, wall / 1e9, latency=latency)
