#!/usr/bin/env python3
"""Sets runs of run.py side by side, module by module.

python compare.py stock.json uvloop.json ours.json     passed/applicable of each
python compare.py --tests uvloop.json ours.json        each test whose outcome differs
"""

import argparse
import collections
import json
import pathlib

APPLICABLE = {"passed", "failed", "error", "crash", "hang"}


def load(path):
    return {test: result["outcome"] for test, result in json.loads(path.read_text())["results"].items()}


def table(names, runs):
    rows = collections.defaultdict(lambda: [[0, 0] for _ in runs])
    for column, run in enumerate(runs):
        for test, outcome in run.items():
            if outcome in APPLICABLE:
                for row in (test.partition(".")[0], "all"):
                    rows[row][column][0] += outcome == "passed"
                    rows[row][column][1] += 1
    print(f"{'module':24}" + "".join(f"{name:>20}" for name in names))
    for row, cells in sorted(rows.items(), key=lambda item: item[0] == "all"):
        print(f"{row:24}" + "".join(f"{f'{passed}/{applicable}':>20}" for passed, applicable in cells))


def differences(names, runs):
    for test in sorted(set().union(*runs)):
        outcomes = [run.get(test, "-") for run in runs]
        if len(set(outcomes)) > 1 and APPLICABLE & set(outcomes):
            print(f"{test}: " + ", ".join(f"{name} {outcome}" for name, outcome in zip(names, outcomes, strict=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", action="store_true", help="list the tests that differ instead")
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    show = differences if options.tests else table
    show([path.stem for path in options.runs], [load(path) for path in options.runs])


if __name__ == "__main__":
    main()
