"""benchmarks/run.py measures, reports, and owns up to failures. Nothing here asserts a time."""

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
SHORT = ["--rounds", "1", "--seconds", "0.05"]  # some ticks of the clock that tells CPU times


def run(*arguments, **kwargs):
    return subprocess.run([sys.executable, RUN, *arguments], capture_output=True, text=True, timeout=120, **kwargs)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a run of two cases on two loops wrote: the process, its JSON, the path of its SVG."""
    folder = tmp_path_factory.mktemp("benchmark")
    stored, chart = folder / "result.json", folder / "chart.svg"
    cases, loops = ["call_soon.chain", "tcp_echo.protocol_1k"], ["asyncio", "asyncloop"]
    done = run(
        "--cases", *cases, "--loops", *loops, *SHORT, "--json", stored, "--svg", chart, "--markdown", "--latency"
    )
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
            assert result.keys() - {"latency"} == {"median", "spread", "wall", "rate", "samples"}
            assert result["samples"] == [result["median"]]
            assert result["median"] > 0
            assert result["wall"] > 0
            assert result["rate"] > 0


def test_network_cases_tell_the_latency(measured):
    done, report, _ = measured
    assert not any("latency" in result for result in report["cases"]["call_soon.chain"]["loops"].values())
    for result in report["cases"]["tcp_echo.protocol_1k"]["loops"].values():
        assert list(result["latency"]) == ["p50", "p99", "p99.9"]
        assert 0 < result["latency"]["p50"] <= result["latency"]["p99"] <= result["latency"]["p99.9"]
    assert "| latency: p50 / p99 / p99.9 | asyncio | asyncloop |" in done.stdout


def test_markdown_has_a_row_per_case(measured):
    done, _, _ = measured
    rows = [line for line in done.stdout.partition("latency")[0].splitlines() if line.startswith("|")]
    assert rows[0] == "| case | asyncio | asyncloop | x asyncio |"
    assert [row.split(" | ")[0] for row in rows[2:4]] == ["| call_soon chain", "| TCP echo, Protocol, 1 KiB"]
    assert all(row.count("|") == rows[0].count("|") for row in rows[:4])


@pytest.mark.parametrize(
    ("theirs", "ours", "ratio"),
    [
        ([100, 200, 400], [50, 100, 200], "2.00x"),
        ([400, 100, 100], [100, 100, 400], "1.00x"),
        ([400, 100, 100], [400, 50, 50], "2.00x"),
        ([100, 300, 100], [50, 100], "1.33x"),  # failed in a round: of the medians
    ],
)
def test_a_ratio_is_that_of_a_round(measured, tmp_path, theirs, ours, ratio):
    _, report, _ = measured
    case = report["cases"]["call_soon.chain"]
    loops = {
        loop: case["loops"][loop] | {"samples": samples, "median": statistics.median(samples)}
        for loop, samples in [("asyncio", theirs), ("asyncloop", ours)]
    }
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps(report | {"cases": {"call_soon.chain": case | {"loops": loops}}}))
    done = run("--from", stored, "--markdown")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| call_soon chain")]
    assert row.split(" | ")[3] == f"{ratio} |"


def test_chart_has_a_bar_per_case_and_loop(measured):
    _, _, chart = measured
    rectangles = ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}rect")
    bars = [r.get("class") for r in rectangles if r.get("height") == "12"]
    legend = ["loop-asyncio", "loop-asyncloop"]
    assert bars == legend + legend * 2


def test_one_performs_as_many_operations_as_asked():
    done = run("--one", "task_switch.sleep_0", "asyncio", "--operations", "123")
    assert json.loads(done.stdout)["operations"] == 123
    rounded_up = run("--one", "task_switch.sleep_0_100", "asyncio", "--operations", "123")
    assert json.loads(rounded_up.stdout)["operations"] == 200


def test_the_floor_is_run_where_there_is_one(tmp_path):
    stored = tmp_path / "result.json"
    cases, loops = ["task_switch.sleep_0", "call_soon.chain"], ["asyncio", "floor"]
    done = run("--cases", *cases, "--loops", *loops, *SHORT, "--json", stored, "--markdown")
    assert done.returncode == 0, done.stderr
    measured = {name: list(case["loops"]) for name, case in json.loads(stored.read_text())["cases"].items()}
    assert measured == {"call_soon.chain": ["asyncio"], "task_switch.sleep_0": ["asyncio", "floor"]}
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| call_soon chain")]
    assert row.split(" | ")[2] == "- |"


@pytest.mark.parametrize(
    "case", ["tcp_echo.protocol_1k", "udp.echo_1k", "unix.echo_1k", "connect.plain", "http_server.asgi"]
)
def test_the_floor_serves(case):
    done = run("--one", case, "floor", "--operations", "100")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["operations"] >= 100


NEEDS_PACKAGES = ["http_server.aiohttp", "http_server.asgi", "http_server.starlette", "http_client.aiohttp"]


# As many operations as the figure needs to be more than nothing: the kernel brings the CPU clock of a process that
# another one reads up to date at its ticks, and the first connections fit into memory that is there already.
@pytest.mark.parametrize("loop", ["asyncio", "asyncloop"])
@pytest.mark.parametrize(
    ("case", "operations"),
    [
        *((case, 2_000) for case in NEEDS_PACKAGES),
        ("memory.connection", 2_000),
        ("memory.connection_tls", 200),
        ("growth.timers_10", 2_000),
        ("growth.tasks_1", 2_000),
        ("growth.connections_10", 2_000),
        ("sendfile.tcp", 50),
        ("subprocesses.one_by_one", 50),
    ],
)
def test_cases_come_to_their_end(case, operations, loop):
    done = run("--one", case, loop, "--operations", str(operations))
    if case in NEEDS_PACKAGES and "missing (pip install --group bench)" in done.stderr:
        assert done.stdout == ""  # what this says of a run, the test below says
        return
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["operations"] >= operations
    assert result["figure"] > 0


def test_a_case_whose_packages_are_missing_is_left_out(tmp_path):
    stored = tmp_path / "result.json"
    command = [sys.executable, "-S", RUN, "--cases", "http_*", "task_switch.sleep_0", "--loops", "asyncio", *SHORT]
    done = subprocess.run([*command, "--json", stored], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "left out: http_server.aiohttp, http_client.aiohttp: aiohttp missing" in done.stderr
    assert list(json.loads(stored.read_text())["cases"]) == ["task_switch.sleep_0"]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, timeout=120)
    assert "16 connections that stay (aiohttp missing)" in listed.stdout


ANSWERS = {
    "right": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    "refused": b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nabc",
    "too short": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
    "without length": b"HTTP/1.1 200 OK\r\n\r\ncontent-length: 3\r\n",
    "too much": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd",
    "closed": b"",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_load_generator_checks_responses(answer):
    drive = (
        "import sys; sys.path.insert(0, sys.argv[1]); from net import load;"
        "print(load.drive(int(sys.argv[2]), 3, 0.01, 2, connections=1, kind='http').operations)"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as executor:
        executor.submit(answer_all, listening, ANSWERS[answer])
        command = [sys.executable, "-c", drive, RUN.parent, str(listening.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if answer == "right":
        assert done.stdout == "2\n", done.stderr
    else:
        assert "RuntimeError: load: the server " in done.stderr


def answer_all(listening, answer):
    """Serve one connection: the same answer to every request, in two pieces; an empty one ends it."""
    connection, _ = listening.accept()
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(1000) and answer:
            connection.sendall(answer[:20])
            time.sleep(0.001)
            connection.sendall(answer[20:])


LATENCY = """
#include "latency.h"
int main(void) {
    for (uint64_t ns = 0; ns < UINT64_C(1) << 40; ns += ns < 5000 ? 1 : ns / 37) {
        latency_reset();
        latency_add(ns);
        uint64_t told = latency_percentile(0.5);
        if (told < ns || told > ns + ns / 31) {
            return 1;
        }
    }
    latency_reset();
    for (uint64_t ns = 1; ns <= 20; ns++) {
        latency_add(ns);
    }
    return latency_percentile(0.5) != 11 || latency_percentile(0.99) != 20 ? 2 : 0;
}
"""


def test_latency_is_told_within_3_per_cent(tmp_path):
    source, program = tmp_path / "test.c", tmp_path / "test"
    source.write_text(LATENCY)
    subprocess.run(["cc", "-I", RUN.parent / "net", "-o", program, source], check=True, timeout=60)
    assert subprocess.run([program], timeout=60).returncode == 0


def test_a_method_that_a_loop_does_not_have_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text(
        "import asyncio\n"
        "class Loop(asyncio.SelectorEventLoop):\n"
        "    async def sendfile(self, *args, **kwargs):\n"
        "        raise NotImplementedError\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stored = tmp_path / "result.json"
    cases = ["--cases", "sendfile.tcp", "--loops", "asyncio", "lacking:Loop"]
    done = run(*cases, *SHORT, "--markdown", "--json", stored)
    assert done.returncode == 0, done.stderr
    assert json.loads(stored.read_text())["failed"] == []
    again = run(*cases, "--from", stored, "--markdown")
    for table in done.stdout, again.stdout:
        (row,) = [line for line in table.splitlines() if line.startswith("| sendfile")]
        assert row.split(" | ")[2] == "none |"


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
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); from net import compile;"
        "compile.PROGRAMS = pathlib.Path(sys.argv[2]); compile.program('load')"
    )
    command = [sys.executable, "-c", build, RUN.parent, tmp_path]
    done = subprocess.run(command, env={"CC": "nonesuch-cc"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "need a C compiler" in done.stderr
    assert "nonesuch-cc" in done.stderr
