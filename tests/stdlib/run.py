#!/usr/bin/env python3
"""Runs the test suite of asyncio that comes with this interpreter against another event loop.

python run.py --loop uvloop:Loop
python run.py --loop asyncloop:Loop --task asyncloop:Task --future asyncloop:Future test_tasks
python run.py --loop uvloop:Loop 'test_events.*create_server*'
python run.py --loop asyncio:SelectorEventLoop --debug --json out.json
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import sys

import suite


def print_table(done):
    columns = ["applicable", "passed", *suite.FAILURES, "skipped", "left out"]
    print(f"\n{'module':24}" + "".join(f"{column:>11}" for column in columns))
    total = collections.Counter()
    for module in [*done, None]:
        count = total if module is None else module.counts()
        if module is not None:
            total += count
            if not count["applicable"]:
                continue
        print(f"{module.name if module else 'all':24}" + "".join(f"{count[column]:11}" for column in columns))
    print(f"{total['unrelated']} unrelated (never touch what is under test), {total['not applicable']} not applicable")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, metavar="MODULE:CALLABLE", help="makes the loop under test")
    parser.add_argument("--task", metavar="MODULE:CLASS")
    parser.add_argument("--future", metavar="MODULE:CLASS")
    parser.add_argument(
        "--leave-out",
        type=pathlib.Path,
        action="append",
        default=[],
        metavar="FILE",
        help="leave out the tests that FILE lists as well",
    )
    parser.add_argument("--all", action="store_true", help="run the tests that cannot apply too")
    parser.add_argument("--debug", action="store_true", help="asyncio's debug mode")
    parser.add_argument("--accelerate", action="store_true", help="asyncloop.accelerate() comes first")
    parser.add_argument("--timeout", type=float, default=60, help="seconds without a sign of life (default: 60)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every test's outcome")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count(), help="modules at a time")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what the workers print")
    parser.add_argument("tests", nargs="*", help="modules, or patterns such as 'test_tasks.*cancel*'")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if why := suite.why_not_installed():
        sys.exit(why)
    omissions = ([] if arguments.all else suite.not_applicable()) + suite.foreign()
    for path in arguments.leave_out:
        omissions += suite.read_omissions(path, "left out")
    about = {key: getattr(arguments, key) for key in ("loop", "task", "future", "debug", "accelerate")}
    options = suite.Options(
        **about, omissions=omissions, tests=arguments.tests, timeout=arguments.timeout, verbose=arguments.verbose
    )
    wanted = {pattern.partition(".")[0] for pattern in arguments.tests}
    selected = [
        suite.Module(name, full_name, options)
        for name, full_name in suite.modules().items()
        if not wanted or name in wanted
    ]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        done = sorted(pool.map(suite.Module.run, selected), key=lambda module: module.name)
    for module in done:
        for line in module.summary():
            print(line)
    print_table(done)
    if why := suite.why_no_namespace():
        print(why)
    if arguments.json:
        results = {test: result for module in done for test, result in module.results.items()}
        arguments.json.write_text(json.dumps({"python": sys.version, **about, "results": results}, indent=1))
    return 1 if any(module.failures() for module in done) else 0


if __name__ == "__main__":
    sys.exit(main())
