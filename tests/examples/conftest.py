"""The examples run as their readers run them: as programs, from the command line."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 120  # seconds, for a program that needs one or two on a machine with nothing else to do


class Example:
    """Starts one example on the loop under test; whatever is still running after the test is ended."""

    def __init__(self, kind, directory):
        self.kind = kind
        self.directory = directory
        self.started = []

    def start(self, script, *args, **kwargs):
        """Return a Popen with pipes for standard input, output and error, in a process group of its own."""
        command = [sys.executable, "-W", "always::ResourceWarning", EXAMPLES / script, "--loop", self.kind, *args]
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=self.directory,
            env=self.environment(),
            start_new_session=True,
            **kwargs,
        )
        self.started.append(process)
        return process

    def environment(self):
        environment = dict(os.environ, PYTHONUTF8="1")
        environment.pop("PYTHONASYNCIODEBUG", None)  # it reports slow callbacks, and here nothing may be reported
        if self.kind == "asyncloop":
            # The very asyncloop that the other tests run, installed or built in place.
            import asyncloop

            environment["PYTHONPATH"] = str(Path(asyncloop.__file__).parents[1])
        return environment

    def run(self, script, *args):
        """Run to the end, which must be a good one and quiet; return what was printed."""
        return self.finish(self.start(script, *args))

    def finish(self, process, status=0, stderr=""):
        """Wait for the end, check it, return what was printed."""
        output, errors = process.communicate(timeout=TIMEOUT)
        assert errors == stderr
        assert process.returncode == status
        return output

    def interrupt(self, process):
        """Ctrl-C: the terminal sends SIGINT to all processes of the group."""
        os.killpg(process.pid, signal.SIGINT)

    def end_all(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):  # workers of a program that has ended are of the group, too
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def example(kind, tmp_path):
    example = Example(kind, tmp_path)
    yield example
    example.end_all()
