"""Compares event loops: python benchmarks/run.py. README.md in this folder says what the numbers mean."""

import argparse
import datetime
import fnmatch
import functools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import traceback
from pathlib import Path

import chart
import loops
import table
from case import Missing, discover

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # asyncloop built in place; an installed one comes first

DEBUG_SWITCHES = {"PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONPROFILEIMPORTTIME"}


class Failed(Exception):
    """A case failed on a loop."""


class Lacking(Failed):
    """The loop does not have the method that the case is about: it raised NotImplementedError."""


def main():
    options = parse(sys.argv[1:])
    cases = discover()
    if options.one:
        return run_here(cases, options)
    names = chosen(cases, options.cases)
    if options.list:
        for name in names:
            missing = ", ".join(cases[name].missing_packages())
            print(f"{name:26}{cases[name].operation}" + (f" ({missing} missing)" if missing else ""))
        print("\nloops:", ", ".join(f"{name} {loops.version(name)}".strip() for name in loops.installed()))
        return 0

    report = stored(options, names) if options.stored else measure(cases, names, options)
    print((table.markdown if options.markdown else table.plain)(report))
    if options.latency:
        print("", table.latency(report), sep="\n")
    if options.json:
        path = options.json if options.json != DEFAULT else HERE / "results" / f"{report['python'][:4]}.json"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(report, indent=1) + "\n")
    if options.svg:
        Path(options.svg).write_text(chart.svg(report, options.title))
    return 1 if report["failed"] else 0


DEFAULT = object()


def parse(arguments):
    parser = argparse.ArgumentParser(description="Compare event loops by CPU time per operation.")
    parser.add_argument("--cases", nargs="+", metavar="GLOB", default=["*"], help="which cases (see --list)")
    parser.add_argument("--loops", nargs="+", metavar="LOOP", help="names, or MODULE:CALLABLE; default: all installed")
    parser.add_argument("--rounds", type=int, default=5, help="each runs every case on every loop; default 5")
    parser.add_argument("--seconds", type=float, default=0.3, help="to measure each time; default 0.3")
    parser.add_argument("--pin", type=cores, default=default_cores(), metavar="CORE,CORE|none",
                        help="cores of the server and of the load generator; default: the first two")  # fmt: skip
    parser.add_argument("--json", nargs="?", const=DEFAULT, metavar="FILE",
                        help="store the results; default benchmarks/results/<python>.json")  # fmt: skip
    parser.add_argument("--from", dest="stored", metavar="FILE", help="take stored results instead of measuring")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--latency", action="store_true", help="print percentiles of the network cases' latency, too")
    parser.add_argument("--svg", metavar="FILE", help="draw a bar chart")
    parser.add_argument("--title", default="", help="the first words of the chart's heading")
    parser.add_argument("--list", action="store_true", help="name the cases and the installed loops, and end")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "LOOP"), help="run one case in this process, for profilers")
    parser.add_argument("--operations", type=int, metavar="N", help="with --one: this many instead of --seconds")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or (options.operations or 1) < 1:
        parser.error("--rounds, --seconds and --operations must be positive")
    if options.operations and not options.one:
        parser.error("--operations goes with --one")
    return options


def default_cores():
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return tuple(usable[:2]) if len(usable) > 1 else None


def cores(text):
    """Return the argument of --pin as a pair of cores, or None."""
    if text == "none":
        return None
    server, load = map(int, text.split(","))
    return server, load


def chosen(names, globs):
    """Return the names that one of the globs selects, in their order.

    Raises:
        SystemExit: a glob selects no name.
    """
    for glob in globs:
        if not fnmatch.filter(names, glob):
            raise SystemExit(f"No case is called {glob!r}; --list names them.")
    return [name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in globs)]


def run_here(cases, options):
    """Run one case in this process, and print its result or its exception as JSON."""
    name, loop = options.one
    case = cases[chosen(cases, [name])[0]]
    if options.pin:
        case.pin(*options.pin)
    if loop == loops.FLOOR and not case.has_floor:
        raise SystemExit(f"{case.name} has no floor")
    case.prepare_floor() if loop == loops.FLOOR else case.prepare()
    try:
        run = case.run_floor if loop == loops.FLOOR else functools.partial(case.run, loops.factory(loop))
    except ImportError as error:
        raise SystemExit(f"{loop}: {error}") from None
    try:
        result = run(options.seconds, options.operations)
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({"case": case.name, "loop": loop, "error": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps({"case": case.name, "loop": loop, **result._asdict(), "figure": case.figure(result)}))
    return 0


def run_apart(name, loop, options):
    """Run one case in a new process and return what run_here() printed.

    Raises:
        Failed: with the reason.
    """
    pin = ",".join(map(str, options.pin)) if options.pin else "none"
    command = [sys.executable, __file__, "--one", name, loop, "--seconds", str(options.seconds), "--pin", pin]
    environment = {key: value for key, value in os.environ.items() if key not in DEBUG_SWITCHES}
    limit = 60 + 20 * options.seconds
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end within {limit:.0f} s") from None
    if done.returncode < 0:
        raise Failed(f"{signal.Signals(-done.returncode).name} {done.stderr.strip()[-200:]}".strip())
    printed = json.loads(done.stdout) if done.stdout else {"error": done.stderr.strip()[-200:]}
    if done.returncode:
        if printed["error"].startswith("NotImplementedError"):
            raise Lacking(printed["error"])
        raise Failed(printed["error"] or f"exit status {done.returncode}")
    return printed


def measure(cases, names, options):
    """Run every case on every loop, once in each round, and return the report. Ctrl-C drops the current round."""
    names_of_loops = options.loops or [*loops.installed(), loops.FLOOR]
    for loop in names_of_loops:
        try:
            loop == loops.FLOOR or loops.factory(loop)
        except ImportError as error:
            raise SystemExit(f"{loop}: {error}") from None
    pairs = ready(cases, names, names_of_loops)
    possible = {name for name, _ in pairs}
    names = [name for name in names if name in possible]
    if not names:
        raise SystemExit("Nothing is left to measure.")

    rounds, failed = [], {}
    try:
        for turn in range(options.rounds):
            # The first loop may find the machine in another state than the others: each is first in turn.
            in_turn = names_of_loops[turn % len(names_of_loops) :] + names_of_loops[: turn % len(names_of_loops)]
            in_round = [(name, loop) for name in names for loop in in_turn if (name, loop) in pairs]
            rounds.append(one_round(f"{turn + 1} of {options.rounds}", in_round, failed, options))
    except KeyboardInterrupt:
        if not rounds:
            raise
    lacking = {pair for pair, why in failed.items() if isinstance(why, Lacking)}
    print("\r\033[K", end="", file=sys.stderr)
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
        "rounds": len(rounds),
        "seconds": options.seconds,
        "pinned": options.pin is not None,
        "loops": {loop: loops.version(loop) for loop in names_of_loops},
        "cases": {name: case_report(cases[name], names_of_loops, rounds, failed) for name in names},
        "lacking": {name: [loop for case, loop in lacking if case == name] for name, _ in lacking},
        "failed": [
            {"case": name, "loop": loop, "why": str(why)}
            for (name, loop), why in failed.items()
            if (name, loop) not in lacking
        ],
    }


def ready(cases, names, names_of_loops):
    """Prepare the cases, say which are left out and why, and return the set of (case, loop) that can be run."""
    pairs, left_out = set(), {}
    for name in names:
        try:
            cases[name].prepare()
            pairs |= {(name, loop) for loop in names_of_loops if loop != loops.FLOOR}
        except Missing as what:
            left_out.setdefault(str(what), []).append(name)
            continue  # the floor alone has nothing to be compared with
        if loops.FLOOR in names_of_loops and cases[name].has_floor:
            try:
                cases[name].prepare_floor()
                pairs.add((name, loops.FLOOR))
            except Missing as what:
                left_out.setdefault(str(what), []).append(f"the floor of {name}")
    for what, whose in left_out.items():
        print(f"left out: {', '.join(whose)}: {what}", file=sys.stderr)
    return pairs


def one_round(which, pairs, failed, options):
    """Run every (case, loop) that has not failed, and return {(case, loop): what run_here() printed}."""
    runs = {}
    for name, loop in pairs:
        print(f"\r\033[Kround {which}: {name}", end="", file=sys.stderr, flush=True)
        if (name, loop) not in failed:
            try:
                runs[name, loop] = run_apart(name, loop, options)
            except Failed as why:
                failed[name, loop] = why
    return runs


def case_report(case, names_of_loops, rounds, failed):
    whole = [loop for loop in names_of_loops if (case.name, loop) in rounds[-1] and (case.name, loop) not in failed]
    return {
        "title": case.title,
        "operation": case.operation,
        "unit": case.unit,
        "loops": {loop: summary([runs[case.name, loop] for runs in rounds]) for loop in whole},
    }


def summary(runs):
    figures = [run["figure"] for run in runs]
    median = statistics.median(figures)
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive") if len(figures) > 1 else [median] * 3
    summed = {
        "median": round(median, 1),
        "spread": round((high - low) / 2 / median, 4),  # half the distance between the quartiles, by the median
        "wall": round(statistics.median(run["wall"] / run["operations"] for run in runs) * 1e9, 1),  # ns per operation
        "rate": round(statistics.median(run["operations"] / run["wall"] for run in runs)),  # operations per second
        "samples": [round(figure, 1) for figure in figures],
    }
    if runs[0]["latency"]:
        percentiles = zip(("p50", "p99", "p99.9"), zip(*(run["latency"] for run in runs), strict=True), strict=True)
        summed["latency"] = {name: round(statistics.median(values)) for name, values in percentiles}  # ns
    return summed


def stored(options, names):
    """Return a stored report, reduced to the chosen cases and loops."""
    report = json.loads(Path(options.stored).read_text())
    keep = options.loops or list(report["loops"])
    report["loops"] = {loop: report["loops"][loop] for loop in keep if loop in report["loops"]}
    report["cases"] = {name: report["cases"][name] for name in names if name in report["cases"]}
    for case in report["cases"].values():
        case["loops"] = {loop: case["loops"][loop] for loop in report["loops"] if loop in case["loops"]}
    report["lacking"] = {
        name: [loop for loop in report["lacking"][name] if loop in report["loops"]]
        for name in names
        if name in report.get("lacking", {})
    }
    report["failed"] = [f for f in report["failed"] if f["case"] in report["cases"] and f["loop"] in report["loops"]]
    return report


if __name__ == "__main__":
    sys.exit(main())
