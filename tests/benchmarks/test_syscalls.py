"""benchmarks/syscalls.py counts what a server asks of the kernel."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SYSCALLS = Path(__file__).parents[2] / "benchmarks" / "syscalls.py"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_an_echo_receives_and_sends():
    command = [sys.executable, SYSCALLS, "--cases", "tcp_echo.protocol_1k", "--loops", "asyncio", "asyncloop"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["tcp_echo.protocol_1k", loop] for loop in ("asyncio", "asyncloop")]
    for _, _, total, which in rows:
        calls = dict(call.split() for call in which.split(", "))
        assert float(calls["recvfrom"]) == pytest.approx(1, abs=0.2)
        assert float(calls["sendto"]) == pytest.approx(1, abs=0.2)
        assert float(total) >= 2


def test_without_strace_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, SYSCALLS], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no strace here" in done.stderr
