"""Runs programs one after another, each in a process of its own: a forked child, or a fresh interpreter."""

import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile

from . import child
from .judge import Outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 20  # seconds, after which a program hangs
MOST_OUTPUT = 200_000


def run(program, limit=LIMIT):
    """Return the outcome of a program. A hang counts if it hangs twice: the machine may be busy."""
    outcome = run_once(program, limit)
    return run_once(program, limit) if outcome.status is None else outcome


def run_once(program, limit):
    with_output = tempfile.TemporaryFile()
    sys.stdout.flush()
    if program.ends == "fresh":
        pid = start(program, with_output, limit)
    else:
        pid = os.fork()
        if pid == 0:
            for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
                os.dup2(os.open(os.devnull, mode), number)
            os.dup2(with_output.fileno(), 2)
            child.end(program, child.run(program, limit))
    # An interpreter takes long to begin, under sanitizers and on a busy machine.
    status = wait(pid, limit if program.ends != "fresh" else 3 * limit)
    with_output.seek(0)
    return Outcome(status, with_output.read(MOST_OUTPUT).decode(errors="replace"))


def start(program, with_output, limit):
    command = [sys.executable, "-m", __package__, "--child", "--limit", str(limit)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=with_output)
    process.stdin.write(program.text().encode())
    process.stdin.close()
    process.returncode = 0  # it is waited for below
    return process.pid


def wait(pid, limit):
    """Return the exit code of a child, or None for one that had to be killed."""
    fd = os.pidfd_open(pid)
    ended, _, _ = select.select([fd], [], [], limit)
    os.close(fd)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if ended else None
