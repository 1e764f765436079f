"""benchmarks/latency.py measures each case on each loop, and owns up to failures. Nothing here asserts a time."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LATENCY = BENCHMARKS / "latency.py"
LOOPS = ["asyncio", "asyncloop"]
BESIDE = ["alone", "udp_flood", "udp_work", "callbacks", "bulk", "connections", "timers_due", "call_soon"]


def run(*arguments, **kwargs):
    return subprocess.run([sys.executable, LATENCY, *arguments], capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a quick run of all cases on two loops wrote: its output, its JSON."""
    stored = tmp_path_factory.mktemp("latency") / "report.json"
    done = run("--quick", "--seconds", "0.1", "--loops", *LOOPS, "--json", stored)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(stored.read_text())


def test_every_case_has_figures_of_every_loop(measured):
    _, report = measured
    assert report["failed"] == []
    assert list(report["cases"]) == [f"latency.{name}" for name in [*BESIDE, "timers"]]
    for name, loops in report["cases"].items():
        assert list(loops) == LOOPS
        for figures in loops.values():
            assert figures["p50"] <= figures["p99"]
            if name != "latency.timers":
                assert 0 < figures["p50"] <= figures["p99"] <= figures["p99.9"]
                assert figures["echoes"] > 0


def test_tables_have_a_row_a_case_and_a_row_a_loop(measured):
    tables, _ = measured
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert rows[0] == "| echo beside ..., p50 / p99.9 | asyncio | asyncloop | asyncloop by the lowest |"
    beside, timers = rows[2 : 2 + len(BESIDE)], rows[2 + len(BESIDE) :]
    assert all(row.count("|") == rows[0].count("|") and " - |" not in row for row in beside)
    assert [row.split(" | ")[0].strip("| ") for row in timers] == ["timers of 50 us to 1 s", "---", *LOOPS]


def test_no_timer_is_early(measured):
    _, report = measured
    for figures in report["cases"]["latency.timers"].values():
        assert figures["early"] == 0
        assert figures["timers"] == sum(1 for _ in delays(0.4))
        assert figures["wakeups"] > 0


def delays(seconds):
    script = f"from net import beside; print(*beside.delays({seconds}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=BENCHMARKS, capture_output=True, text=True, timeout=60)
    return [float(delay) for delay in done.stdout.split()]


@pytest.mark.parametrize("seconds", [0.4, 1.2, 8])
def test_delays_take_the_time_that_is_given(seconds):
    chosen = delays(seconds)
    assert min(chosen) == 50e-6
    assert seconds / 2 < sum(chosen) < seconds * 1.5
    assert seconds < 8 or max(chosen) == 1


def test_the_longest_delays_come_last(measured):
    chosen = delays(8)
    assert chosen == sorted(chosen)


class Server(threading.Thread):
    """Answers the first connection once, with what `answer` makes of the message, and then closes it."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]

    def run(self):
        with self.listening, self.listening.accept()[0] as connection:
            connection.sendall(self.answer(connection.recv(100)))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda data: bytes(64), "the server did not echo what it was sent"),
        (lambda data: data[:10], "the server closed a connection"),
        (lambda data: data, "the server closed a connection"),
    ],
)
def test_the_generator_checks_the_echo(answer, complaint):
    server = Server(answer)
    server.start()
    script = "import os, sys; from net import beside, load; load.run([beside.build(), *sys.argv[1:]], None)"
    arguments = [str(server.port), "0", "1", "0", "5", "none", "0"]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=60)
    server.join()
    assert f"RuntimeError: beside: {complaint}" in done.stderr


BROKEN = """
import asyncio

class Raises(asyncio.SelectorEventLoop):
    def call_soon(self, *args, **kwargs):
        raise LookupError("no such thing")
"""


def test_a_loop_that_fails_is_reported_and_the_others_go_on(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stored = tmp_path / "report.json"
    chosen = ["--cases", "latency.alone", "latency.timers", "--loops", "broken:Raises", "asyncio"]
    done = run("--quick", "--seconds", "0.1", *chosen, "--json", stored)
    assert done.returncode == 1
    report = json.loads(stored.read_text())
    assert [(one["loop"], one["case"]) for one in report["failed"]] == [
        ("broken:Raises", "latency.alone"),
        ("broken:Raises", "latency.timers"),
    ]
    assert "broken:Raises failed at latency.alone: `LookupError: no such thing`" in done.stdout
    assert list(report["cases"]["latency.alone"]) == ["asyncio"]


def test_unknown_names_are_refused():
    assert "No case is called 'nonesuch'" in run("--cases", "nonesuch").stderr
