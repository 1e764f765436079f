"""Measures latency: how long a small echo takes while the loop has other things to do, and how late timers are.

    python benchmarks/latency.py                          # two tables in Markdown; takes a quarter of an hour
    python benchmarks/latency.py --quick                  # rough figures in about a minute
    python benchmarks/latency.py --cases 'latency.u*' --loops uvloop asyncloop
    python benchmarks/latency.py --json FILE              # store all figures, too

The echo has 8 connections. On each a message of 64 bytes is sent and comes back, and the next follows 0 to 2 ms later.
A generator in C on a core of its own, which never sleeps, sends the messages and the other load (net/beside.c). The
callbacks and timers are in the server. The table has the 50th and the 99.9th percentile; the second needs at least
1,000 messages. Every case runs on every loop in a new process, and each loop is first in turn. A figure is the median
of the rounds. The last column is asyncloop's figure divided by the lowest of all.

The timers are armed one after the other, with delays of 50 us to 1 s, on a loop that does nothing else. Each time that
the thread sleeps counts as a wake-up. strace (Debian: apt install strace) counts the system calls in runs of its own.

On a machine that does other work, the figures show that work: a process may have to wait for some milliseconds.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import traceback

import loops
import table
from case import Missing
from run import DEBUG_SWITCHES, chosen, cores, default_cores

from net import beside

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # asyncloop built in place; an installed one comes first

TIMERS = "latency.timers"
SUBJECT = table.SUBJECT
STRACED = 0.4  # seconds of timers for the shorter run under strace


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB")
    parser.add_argument("--loops", nargs="+", metavar="LOOP", help="names, or MODULE:CALLABLE; default: all installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each run; default 2, for timers four times that")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s, unless others are given")
    parser.add_argument("--pin", type=cores, default=default_cores(), metavar="CORE,CORE|none",
                        help="cores of the server and of the load generator; default: the first two")  # fmt: skip
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "LOOP"), help="run one case in this process")
    if "--quick" in arguments:
        parser.set_defaults(rounds=1, seconds=0.3)
    return parser.parse_args(arguments)


# --- one case in this process ----------------------------------------------------------------------------------------


def run_here(name, loop, options):
    """Run a case in this process, and print its figures (in nanoseconds) or its exception as JSON."""
    new_loop = loops.factory(loop)
    if options.pin:
        os.sched_setaffinity(0, {options.pin[0]})
    try:
        figures = (here_timers if name == TIMERS else here_beside)(name, new_loop, options)
    except Exception as error:
        traceback.print_exc()
        figures = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(figures))
    return 1 if "error" in figures else 0


def here_beside(name, new_loop, options):
    result = beside.measure(name, new_loop, options.seconds, options.pin and options.pin[1])
    return {"echoes": result.operations, **dict(zip(("p50", "p99", "p99.9"), result.latency, strict=True))}


def here_timers(name, new_loop, options):
    lateness = beside.measure_timers(new_loop, beside.delays(4 * options.seconds))
    late = {f"{delay:g}": [round(second * 1e9) for second in times] for delay, times in lateness.late.items()}
    return {"late": late, "wakeups": lateness.wakeups}


# --- all of them, each in a process of its own ------------------------------------------------------------------------


def command(name, loop, options, seconds=None):
    pin = ",".join(map(str, options.pin)) if options.pin else "none"
    return [sys.executable, __file__, "--one", name, loop, "--seconds", str(seconds or options.seconds), "--pin", pin]


def environment():
    return {key: value for key, value in os.environ.items() if key not in DEBUG_SWITCHES}


def run_apart(name, loop, options):
    """Run a case in a new process and return what run_here() printed, or a string that says why it failed."""
    limit = 60 + 20 * options.seconds
    try:
        done = subprocess.run(
            command(name, loop, options), env=environment(), capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return f"no end within {limit:.0f} s"
    if done.returncode and not done.stdout:
        return f"exit status {done.returncode} {done.stderr.strip()[-200:]}".strip()
    figures = json.loads(done.stdout)
    return figures.get("error", figures)


def measure(names, options):
    """Return {name: {loop: [result of each round]}} and {(name, loop): why it failed}."""
    runs = {name: {loop: [] for loop in options.loops} for name in names}
    failed = {}
    for turn in range(options.rounds):
        # The first loop may find the machine in another state than the others: each is first in turn.
        in_turn = options.loops[turn % len(options.loops) :] + options.loops[: turn % len(options.loops)]
        for name in names:
            for loop in in_turn:
                print(f"\r\033[Kround {turn + 1} of {options.rounds}: {name}", end="", file=sys.stderr, flush=True)
                if (name, loop) not in failed:
                    got = run_apart(name, loop, options)
                    if isinstance(got, str):
                        failed[name, loop] = got
                    else:
                        runs[name][loop].append(got)
    print("\r\033[K", end="", file=sys.stderr)
    return runs, failed


def count_calls(loop, options):
    """Return how many system calls a timer takes, or None if strace fails: it may not be permitted."""
    calls, timers = [], []
    for seconds in (STRACED, 2 * STRACED):
        with tempfile.NamedTemporaryFile("r", prefix="latency-") as report:
            traced = ["strace", "-c", "-U", "calls,name", "-o", report.name]
            done = subprocess.run(
                [*traced, *command(TIMERS, loop, options, seconds / 4)],
                env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
            )
            rows = re.findall(r"^\s*(\d+)\s+(\w+)\s*$", report.read(), re.MULTILINE)
        if done.returncode or not rows:
            return None
        calls.append(sum(int(count) for count, name in rows if name != "total"))
        timers.append(sum(map(len, json.loads(done.stdout)["late"].values())))
    return (calls[1] - calls[0]) / (timers[1] - timers[0])


# --- tables ----------------------------------------------------------------------------------------------------------


def summary(rounds):
    return {key: statistics.median(run[key] for run in rounds) for key in ("echoes", "p50", "p99", "p99.9")}


def against_lowest(figures, key):
    """Return asyncloop's figure divided by the lowest of all, as text."""
    return f"{figures[SUBJECT][key] / min(figure[key] for figure in figures.values()):.2f}x"


def beside_table(report, options):
    names = [name for name in report["cases"] if name != TIMERS]
    if not names:
        return []
    head = ["echo beside ..., p50 / p99.9", *options.loops, f"{SUBJECT} by the lowest"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in names:
        figures = report["cases"][name]
        cells = [
            " / ".join(table.figure(figures[loop][key], "ns") for key in ("p50", "p99.9")) if loop in figures else "-"
            for loop in options.loops
        ]
        last = "-"
        if SUBJECT in figures:
            last = " / ".join(against_lowest(figures, key) for key in ("p50", "p99.9"))
        rows.append([beside.CASES[name].title, *cells, last])
    return table.markdown_lines(rows)


def timers_summary(rounds):
    """Return the figures of a loop: nanoseconds, and counts per timer."""
    late = sorted(ns for run in rounds for times in run["late"].values() for ns in times)
    return {
        "timers": len(late),
        "p50": late[len(late) // 2],
        "p99": late[int(0.99 * len(late))],
        "most": late[-1],
        "early": sum(ns < 0 for ns in late),
        "wakeups": sum(run["wakeups"] for run in rounds) / len(late),
        "by delay": {
            delay: statistics.median(ns for run in rounds for ns in run["late"][delay]) for delay in rounds[0]["late"]
        },
    }


def timers_table(report, options):
    figures = report["cases"].get(TIMERS, {})
    rows = [
        ["timers of 50 us to 1 s", "late, p50", "p99", "most", "early", "wake-ups a timer", "system calls a timer"],
        ["---", *["---:"] * 6],
    ]
    for loop in options.loops:
        if loop in figures:
            one = figures[loop]
            times = [table.figure(max(one[key], 0), "ns") for key in ("p50", "p99", "most")]
            calls = "-" if one["calls"] is None else f"{one['calls']:.1f}"
            rows.append([loop, *times, f"{one['early']} of {one['timers']}", f"{one['wakeups']:.1f}", calls])
    return table.markdown_lines(rows) if figures else []


def main():
    options = parse(sys.argv[1:])
    if options.one:
        return run_here(*options.one, options)
    options.loops = options.loops or loops.installed()
    for loop in options.loops:
        try:
            loops.factory(loop)
        except ImportError as error:
            raise SystemExit(f"{loop}: {error}") from None
    names = chosen([*beside.CASES, TIMERS], options.cases)
    try:
        beside.build()
    except Missing as what:
        raise SystemExit(what) from None
    runs, failed = measure(names, options)
    report = {
        "python": sys.version.split()[0],
        "loops": {loop: loops.version(loop) for loop in options.loops},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "cases": {
            name: {loop: summary(rounds) for loop, rounds in by_loop.items() if rounds and (name, loop) not in failed}
            for name, by_loop in runs.items()
            if name != TIMERS
        },
        "failed": [{"case": name, "loop": loop, "why": why} for (name, loop), why in failed.items()],
    }
    if TIMERS in runs:
        has_strace = shutil.which("strace") is not None
        report["cases"][TIMERS] = {
            loop: timers_summary(rounds) | {"calls": count_calls(loop, options) if has_strace else None}
            for loop, rounds in runs[TIMERS].items()
            if rounds and (TIMERS, loop) not in failed
        }
    print(f"Python {report['python']}; median of {options.rounds} x {options.seconds:g} s", "", sep="\n")
    for lines in beside_table(report, options), timers_table(report, options):
        if lines:
            print(*lines, "", sep="\n")
    for one in report["failed"]:
        print(f"{one['loop']} failed at {one['case']}: `{one['why']}`")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
