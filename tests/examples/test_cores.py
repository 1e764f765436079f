"""examples/cores.py runs on asyncloop alone: it shows run_workers()."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import asyncloop
from asyncloop import _workers

SCRIPT = Path(__file__).parents[2] / "examples" / "cores.py"


@pytest.mark.parametrize("how", _workers._available())
def test_lines_are_answered_and_counted(how):
    env = os.environ | {"PYTHONPATH": str(Path(asyncloop.__file__).parents[1])}
    env.pop("PYTHONASYNCIODEBUG", None)
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--port", "0", "--workers", "2", "--how", how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        ready = sorted(process.stdout.readline() for _ in range(2))
        assert ready == [f"worker {number} of 2 is ready ({how})\n" for number in range(2)]
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                client.sendall(b"some line\n")
                assert client.makefile("rb").readline() == b"SOME LINE\n"
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, "")
    words = [line.split() for line in output.splitlines()]
    assert [line[:2] for line in words] == [["worker", "0"], ["worker", "1"]]
    assert sum(int(line[4]) for line in words) == 20
