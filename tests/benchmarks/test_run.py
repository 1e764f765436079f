"""benchmarks/run.py measures, reports, and owns up to failures. Nothing here asserts a time."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
SHORT = ["--rounds", "1", "--seconds", "0.01"]


def run(*arguments, **kwargs):
    return subprocess.run([sys.executable, RUN, *arguments], capture_output=True, text=True, timeout=120, **kwargs)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a run of two cases on two loops wrote: the process, its JSON, the path of its SVG."""
    folder = tmp_path_factory.mktemp("benchmark")
    stored, chart = folder / "result.json", folder / "chart.svg"
    cases, loops = ["call_soon.chain", "tcp_echo.protocol_1k"], ["asyncio", "asyncloop"]
    done = run("--cases", *cases, "--loops", *loops, *SHORT, "--json", stored, "--svg", chart, "--markdown")
    assert done.returncode == 0, done.stdout + done.stderr
    return done, json.loads(stored.read_text()), chart


def test_json_holds_every_case_on_every_loop(measured):
    _, report, _ = measured
    assert report["failed"] == []
    assert list(report["cases"]) == ["call_soon.chain", "tcp_echo.protocol_1k"]
    for case in report["cases"].values():
        assert case.keys() == {"title", "operation", "unit", "loops"}
        assert list(case["loops"]) == list(report["loops"]) == ["asyncio", "asyncloop"]
        for result in case["loops"].values():
            assert result.keys() == {"median", "spread", "wall", "rate", "samples"}
            assert result["samples"] == [result["median"]]
            assert result["median"] > 0
            assert result["wall"] > 0
            assert result["rate"] > 0


def test_markdown_has_a_row_per_case(measured):
    done, _, _ = measured
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows[0] == "| case | asyncio | asyncloop | x asyncio |"
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| call_soon chain", "| TCP echo, Protocol, 1 KiB"]
    assert all(row.count("|") == rows[0].count("|") for row in rows)


def test_chart_has_a_bar_per_case_and_loop(measured):
    _, _, chart = measured
    rectangles = ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}rect")
    bars = [r.get("class") for r in rectangles if r.get("height") == "12"]
    legend = ["loop-asyncio", "loop-asyncloop"]
    assert bars == legend + legend * 2


def test_one_performs_the_operations_asked_for():
    done = run("--one", "task_switch.sleep_0", "asyncio", "--operations", "123")
    assert json.loads(done.stdout)["operations"] == 123
    rounded_up = run("--one", "task_switch.sleep_0_100", "asyncio", "--operations", "123")
    assert json.loads(rounded_up.stdout)["operations"] == 200


BROKEN = """
import asyncio, os

class Raises(asyncio.SelectorEventLoop):
    def call_soon(self, *args, **kwargs):
        raise LookupError("no such thing")

class Crashes(asyncio.SelectorEventLoop):
    def run_forever(self):
        os.abort()

class Garbles(asyncio.SelectorEventLoop):
    async def sock_sendall(self, sock, data):
        await super().sock_sendall(sock, bytes(len(data)))
"""


@pytest.mark.parametrize(
    "loop, case, why",
    [
        ("Raises", "call_soon.chain", "LookupError: no such thing"),
        ("Crashes", "call_soon.chain", "SIGABRT"),
        ("Garbles", "tcp_echo.sock_1k", "the server did not echo what it was sent"),
    ],
)
def test_a_loop_that_fails_is_reported_and_the_others_go_on(tmp_path, monkeypatch, loop, case, why):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stored = tmp_path / "result.json"
    done = run("--cases", case, "--loops", "asyncio", f"broken:{loop}", *SHORT, "--json", stored)
    report = json.loads(stored.read_text())
    assert done.returncode == 1
    assert [failure["loop"] for failure in report["failed"]] == [f"broken:{loop}"]
    assert why in report["failed"][0]["why"]
    assert list(report["cases"][case]["loops"]) == ["asyncio"]
    assert why in done.stdout


def test_unknown_names_are_refused():
    assert "No case is called 'nonesuch'" in run("--cases", "nonesuch").stderr
    assert "nonesuch" in run("--cases", "call_soon.chain", "--loops", "nonesuch:Loop").stderr


def test_missing_compiler_is_named(tmp_path):
    build = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); from net import load;"
        "load.PROGRAM = pathlib.Path(sys.argv[2]); load.build()"
    )
    command = [sys.executable, "-c", build, RUN.parent, tmp_path / "load"]
    done = subprocess.run(command, env={"CC": "nonesuch-cc"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "need a C compiler" in done.stderr
    assert "nonesuch-cc" in done.stderr
