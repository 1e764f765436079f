"""Counts the instructions per operation of the small cases, which do not depend on the speed or load of the machine.

    python benchmarks/instructions.py                    # count, and compare with results/instructions.json
    python benchmarks/instructions.py --cases 'task*'
    python benchmarks/instructions.py --loops asyncloop uvloop
    python benchmarks/instructions.py --store            # count, and store the figures of asyncloop as the new baseline

Each case runs twice under valgrind's cachegrind, the second time with twice the operations. The difference between the
two counts has neither the start of the interpreter nor the warm-up. The exit status is 1 if a case took over 5 % more
than its baseline. A baseline is for one build of the interpreter, and is not compared with others. Needs valgrind.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "results" / "instructions.json"
TOLERANCE = 0.05
OPERATIONS = 20_000

# Without the cases that make system calls or use threads: they take another path each time.
CASES = (
    "call_soon.chain",
    "call_soon.batch",
    "timers.arm_cancel",
    "timers.churn",
    "task_switch.sleep_0",
    "task_switch.sleep_0_100",
    "task_switch.create_await",
    "future.handover",
    "group.gather",
    "group.task_group",
    "primitives.queue",
    "primitives.lock",
    "primitives.event",
    "primitives.semaphore",
    "primitives.queue_ours",
    "primitives.queue_free_ours",
    "primitives.lock_ours",
    "primitives.lock_free_ours",
    "primitives.event_ours",
    "primitives.semaphore_ours",
    "timeouts.wait_for_ready",
    "timeouts.wait_for_pending",
    "timeouts.timeout",
    "timeouts.cancel",
)
BATCHES = {"call_soon.batch": 100_000, "timers.arm_cancel": 100_000}


def count(case, loop, operations):
    """Return the number of instructions of a process that runs the case."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, HERE / "run.py", "--one", case, loop, "--operations", str(operations)]
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{case} on {loop} did not run: {done.stderr.strip()[-500:]}")
    return int(found.group(1).replace(",", ""))


def per_operation(case, loop):
    operations = BATCHES.get(case, OPERATIONS)
    return round((count(case, loop, 2 * operations) - count(case, loop, operations)) / operations)


def build():
    """Return the key of a baseline: the interpreter and its compiler."""
    return f"{platform.python_version()} {platform.python_compiler()} {platform.machine()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB")
    parser.add_argument("--loops", nargs="+", default=["asyncloop"], metavar="LOOP")
    parser.add_argument("--store", action="store_true", help="make the figures of asyncloop the baseline")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("There is no valgrind here (Debian: apt install valgrind).")
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    baseline = baselines.setdefault(build(), {})
    grown = []
    for case in [case for case in CASES if any(fnmatch.fnmatchcase(case, glob) for glob in arguments.cases)]:
        for loop in arguments.loops:
            figure = per_operation(case, loop)
            before = baseline.get(case) if loop == "asyncloop" else None
            note = "" if before is None else f"{figure / before - 1:+7.1%} of {before:,}"
            print(f"{case:26} {loop:10} {figure:8,} {note}", flush=True)
            if arguments.store and loop == "asyncloop":
                baseline[case] = figure
            elif before is not None and figure > before * (1 + TOLERANCE):
                grown.append(case)
    if arguments.store:
        BASELINE.write_text(json.dumps(baselines, indent=1) + "\n")
    elif not baseline:
        print(f"no baseline for {build()}: nothing compared")
    if grown:
        raise SystemExit(f"more instructions than the baseline by over {TOLERANCE:.0%}: {', '.join(grown)}")


if __name__ == "__main__":
    main()
