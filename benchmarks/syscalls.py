"""Counts the system calls per operation of the network cases. They take much of a server's time.

    python benchmarks/syscalls.py                                   # a table in Markdown
    python benchmarks/syscalls.py --cases 'tls*' --loops asyncloop uvloop

Each case runs twice under strace, the second time with twice the operations. The difference is what the operations
took. Only the thread that runs the loop is traced, not the load generator. strace slows the server, so each poll finds
more, and there are fewer polls per operation than without strace. Needs strace.
"""

import argparse
import collections
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import loops

HERE = pathlib.Path(__file__).resolve().parent
SELDOM = 0.02  # calls per operation: fewer are not shown

# Operations of the shorter run.
CASES = {
    "tcp_echo.protocol_1k": 10_000,
    "tcp_echo.buffered_1k": 10_000,
    "tcp_echo.protocol_100k": 4_000,
    "tcp_echo.sock_1k": 10_000,
    "streams.echo_1k": 10_000,
    "unix.echo_1k": 10_000,
    "udp.echo_1k": 10_000,
    "tls.echo_1k": 4_000,
    "tls.echo_100k": 1_000,
    "connect.plain": 2_000,
    "http_server.aiohttp": 4_000,
    "http_server.asgi": 4_000,
}


def count(case, loop, operations):
    """Return a Counter of the calls of a process that runs the case."""
    with tempfile.NamedTemporaryFile("r", prefix="syscalls-") as report:
        command = ["strace", "-c", "-U", "calls,name", "-o", report.name]
        command += [sys.executable, HERE / "run.py", "--one", case, loop, "--operations", str(operations)]
        command += ["--seconds", "0.03"]  # the warm-up takes a third of that; no call of it is in the difference
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case} on {loop} did not run: {done.stderr.strip()[-500:]}")
        rows = re.findall(r"^\s*(\d+)\s+(\w+)\s*$", report.read(), re.MULTILINE)
    return collections.Counter({name: int(calls) for calls, name in rows if name != "total"})


def per_operation(case, loop):
    """Return {name of a call: how often an operation makes it}, the most frequent call first."""
    operations = CASES[case]
    calls = count(case, loop, 2 * operations)
    calls.subtract(count(case, loop, operations))
    return {name: times / operations for name, times in calls.most_common() if times / operations >= SELDOM}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB")
    parser.add_argument("--loops", nargs="+", default=loops.installed(), metavar="LOOP")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        raise SystemExit("There is no strace here (Debian: apt install strace).")
    print("| case | loop | calls an operation | which |")
    print("| --- | --- | ---: | --- |")
    for case in [case for case in CASES if any(fnmatch.fnmatchcase(case, glob) for glob in arguments.cases)]:
        for loop in arguments.loops:
            calls = per_operation(case, loop)
            which = ", ".join(f"{name} {times:.2g}" for name, times in calls.items())
            print(f"| {case} | {loop} | {sum(calls.values()):.2f} | {which} |", flush=True)


if __name__ == "__main__":
    main()
