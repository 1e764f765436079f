#!/usr/bin/env python3
"""Makes docs/compatibility.md: runs tests/api on each loop that each given Python has, and renders the outcomes.

python tools/compatibility.py                                  # only render docs/compatibility.json anew
python tools/compatibility.py .venv/bin/python python3.13      # run tests/api with these Pythons first
python tools/compatibility.py --conformance .venv/bin/python   # and CPython's own tests of asyncio too
python tools/compatibility.py --take asyncloop result.json     # take a result of tests/stdlib/run.py --json
python tools/compatibility.py --take "asyncloop, debug mode" debug.json

Each Python needs pytest, pytest-timeout, an asyncloop built in place, and the peers that shall be compared: those that
are missing are left out. What is not run anew stays as docs/compatibility.json has it.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT / "docs/compatibility.json"
PAGE = ROOT / "docs/compatibility.md"
LOOPS = {
    "asyncloop": "asyncloop:new_event_loop",
    "asyncio": "asyncio",
    "uvloop": "uvloop:new_event_loop",
    "zuvloop": "zuvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
}
STDLIB = {
    "asyncio": ["--loop", "asyncio:SelectorEventLoop"],
    "asyncloop": ["--loop", "asyncloop:Loop", "--task", "asyncloop:Task", "--future", "asyncloop:Future"],
    "uvloop": ["--loop", "uvloop:Loop"],
}
DEBUG = ", debug mode"
ABOUT = """
import importlib, importlib.metadata, json, sys
sys.path[:0] = ["tests/api", "."]
import interface
loops = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        own = name in ("asyncio", "asyncloop")
        loops[name] = getattr(module, "__version__", "") if own else importlib.metadata.version(name)
    except ImportError:
        pass
version = "%d.%d.%d" % sys.version_info[:3]
print(json.dumps({"python": version, "loops": loops, "interface": interface.interface()}))
"""


def about(python):
    """The version of a Python, of the loops it has, and its asyncio's interface."""
    done = subprocess.run([python, "-c", ABOUT, *LOOPS], cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def read_outcomes(path):
    """{test's id: {"proves", "outcome"}}; the last line of a test holds."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line["id"]: line for line in map(json.loads, lines)}


def run_tests(python, factory):
    """The outcomes of tests/api on a loop. A crash or hang fails that test; the rest goes on."""
    merged = {}
    for file in sorted((ROOT / "tests/api").glob("test_*.py")):
        with tempfile.TemporaryDirectory() as folder:
            outcomes = pathlib.Path(folder, "outcomes")
            environment = dict(os.environ, ASYNCLOOP_TEST_OUTCOMES=str(outcomes))
            environment["ASYNCLOOP_TEST_FACTORY"] = factory
            done, before = {}, None
            while before != len(done):
                before = len(done)
                # What the file says is an error (a warning) is one for asyncloop in make test; a peer may warn here.
                command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "--timeout", "8"]
                command += ["--timeout-method", "thread", str(file)]
                command += [f"--deselect={test}" for test in done]
                try:
                    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=150)
                except subprocess.TimeoutExpired:
                    pass
                done = read_outcomes(outcomes)
                if "crashed" not in [outcome["outcome"] for outcome in list(done.values())[before:]]:
                    break
            merged |= done
    return [
        {"test": test.replace("tests/api/", "").replace(f"[{factory}]", "").replace(f"{factory}-", ""), **outcome}
        for test, outcome in merged.items()
    ]


def summarize(path):
    """Counts and failures of a result of tests/stdlib/run.py."""
    results = json.loads(path.read_text())
    count = collections.Counter(result["outcome"] for result in results["results"].values())
    bad = ("failed", "error", "crash", "hang")
    failed = sorted(test for test, result in results["results"].items() if result["outcome"] in bad)
    return results["python"].split()[0], {
        "applicable": count["passed"] + len(failed),
        "passed": count["passed"],
        "failed": len(failed),
        "not applicable": count["not applicable"],
        "failures": failed,
    }


def short(version):
    return ".".join(version.split(".")[:2])


def store(data, version, loop, summary):
    data["conformance"].setdefault(short(version), {})[loop] = {"python": version, **summary}


def refresh(data, python, conformance):
    found = about(python)
    version = short(found["python"])
    entry = {"python": found["python"], "loops": found["loops"], "interface": found["interface"], "outcomes": {}}
    for loop in found["loops"]:
        entry["outcomes"][loop] = [
            {key: outcome[key] for key in ("test", "proves", "outcome")} for outcome in run_tests(python, LOOPS[loop])
        ]
        print(f"{version} {loop}:", dict(collections.Counter(o["outcome"] for o in entry["outcomes"][loop])))
    data["api"][version] = entry
    if conformance:
        run_stdlib(data, python, [loop for loop in STDLIB if loop in found["loops"]])


def run_stdlib(data, python, loops):
    for loop in loops:
        for debug in ("", DEBUG) if loop == "asyncloop" else ("",):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "result.json")
                command = [python, "tests/stdlib/run.py", *STDLIB[loop], "--json", path]
                subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONASYNCIODEBUG": "1" if debug else ""})
                version, summary = summarize(path)
                store(data, version, loop + debug, summary)


def versions_of(data):
    return sorted(data["api"], key=lambda version: tuple(map(int, version.split("."))))


def cell(data, loop, method, argument):
    """What a loop did with an argument over the versions that have it: yes, no, or where not."""
    passed, failed = [], []
    for version in versions_of(data):
        entry = data["api"][version]
        if argument and argument not in entry["interface"].get(method, []):
            continue
        outcomes = [
            outcome["outcome"]
            for outcome in entry["outcomes"].get(loop, [])
            if any(m == method and (not argument or argument in names.split()) for m, names in outcome["proves"])
        ]
        outcomes = [outcome for outcome in outcomes if outcome != "skipped"]
        if outcomes:
            (passed if set(outcomes) == {"passed"} else failed).append(version)
    if not failed:
        return "yes" if passed else "-"
    return f"**no** ({', '.join(failed)})" if passed else "**no**"


def rows(data):
    """(method, argument, versions that have it, tests)."""
    order = {}
    for version in versions_of(data):
        for method, names in data["api"][version]["interface"].items():
            for argument in ["", *names]:
                order.setdefault(method, {}).setdefault(argument, []).append(version)
    tests = collections.defaultdict(dict)
    for entry in data["api"].values():
        for outcome in [outcome for outcomes in entry["outcomes"].values() for outcome in outcomes]:
            for method, names in outcome["proves"]:
                for argument in ["", *names.split()]:
                    tests[method, argument][outcome["test"]] = None
    for method, names in sorted(order.items()):
        for argument, versions in names.items():
            yield method, argument, versions, list(tests[method, argument])


def graded(data, loop):
    """Return {method: [what does not pass]} of a loop, as its cells say it; None for a method of which nothing does."""
    cells = {}
    for method, argument, _, _ in rows(data):
        cells.setdefault(method, []).append((argument, cell(data, loop, method, argument)))
    grades = {}
    for method, of_method in cells.items():
        of_method = [(argument, text) for argument, text in of_method if text != "-"]
        failing = [(argument, text) for argument, text in of_method if text != "yes"]
        if of_method and all(text == "**no**" for _, text in of_method):
            grades[method] = None
        elif of_method:
            by_argument = [pair for pair in failing if pair[0]] or failing
            grades[method] = [f"`{name}`" * bool(name) + text.removeprefix("**no**") for name, text in by_argument]
    return grades


def summary(data, loops):
    """Yield the lines of the summary: how much passes on each loop, and of what passes in part, what does not."""
    yield "## Summary\n"
    yield "Methods and functions of asyncio's interface, counted from the table below. Of a method that passes in part,"
    yield "some arguments or some Pythons pass.\n"
    yield "| loop | all passes | a part passes | nothing passes |\n|---|---:|---:|---:|"
    parts = []
    for loop in loops:
        grades = graded(data, loop)
        in_part = {method: failing for method, failing in grades.items() if failing}
        nothing = sum(failing is None for failing in grades.values())
        yield f"| {loop} | {len(grades) - len(in_part) - nothing} | {len(in_part)} | {nothing} |"
        parts += [f"| {loop} | `{method}` | {', '.join(failing)} |" for method, failing in in_part.items()]
    yield "\n| loop | passes in part | but for |\n|---|---|---|"
    yield from parts


def page(data):
    loops = list(LOOPS)
    yield "# Compatibility\n"
    yield "Made by `make compatibility` (tools/compatibility.py) from docs/compatibility.json; do not edit.\n"
    yield from summary(data, loops)
    yield "\n## Methods and arguments\n"
    yield "Every loop ran the same tests of tests/api. *yes*: each test that proves it passed on every Python it ran"
    yield "on; *no*: one failed, crashed or took over 8 seconds (on these Pythons, or on all), perhaps by another thing"
    yield "that the same test asserts; *-*: not run. A method's own row is of all its tests together. Ran with:\n"
    for version in versions_of(data):
        entry = data["api"][version]
        yield f"- Python {entry['python']}: " + ", ".join(f"{k} {v}".strip() for k, v in entry["loops"].items())
    yield "\n| method | argument | Python | " + " | ".join(loops) + " | proven by |"
    yield "|---" * (len(loops) + 4) + "|"
    everywhere = versions_of(data)
    for method, argument, versions, tests in rows(data):
        where = "all" if versions == everywhere else ", ".join(versions)
        proof = ", ".join(f"`{test}`" for test in tests[: 2 if argument else 1]) + (" ..." if len(tests) > 2 else "")
        cells = " | ".join(cell(data, loop, method, argument) for loop in loops)
        names = ("", f"`{argument}`") if argument else (f"`{method}`", "")
        yield f"| {' | '.join(names)} | {where} | {cells} | {proof} |"
    yield "\n## CPython's own tests of asyncio\n"
    yield "By tests/stdlib; *applicable* leaves out the tests of asyncio's private insides.\n"
    yield "| Python | loop | applicable | passed | failed | not applicable |\n|---|---|---|---|---|---|"
    for _, by_loop in sorted(data["conformance"].items(), key=lambda kv: tuple(map(int, kv[0].split(".")))):
        for loop, result in sorted(by_loop.items()):
            numbers = [result[key] for key in ("applicable", "passed", "failed", "not applicable")]
            yield f"| {result['python']} | {loop} | " + " | ".join(map(str, numbers)) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conformance", action="store_true", help="run CPython's own tests too")
    parser.add_argument("--take", nargs=2, action="append", default=[], metavar=("LOOP", "FILE"))
    parser.add_argument("pythons", nargs="*", metavar="PYTHON")
    arguments = parser.parse_args()
    data = json.loads(DATA.read_text()) if DATA.exists() else {"api": {}, "conformance": {}}
    for python in arguments.pythons:
        refresh(data, python, arguments.conformance)
    for loop, path in arguments.take:
        version, summary = summarize(pathlib.Path(path))
        store(data, version, loop, summary)
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text("\n".join(page(data)) + "\n")


if __name__ == "__main__":
    main()
