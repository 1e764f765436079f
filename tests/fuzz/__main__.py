"""Run random programs; see README.md."""

import argparse
import collections
import faulthandler
import gc
import os
import pathlib
import sys
import time

from . import child, operations, program, runner
from .shrink import shrink

KEPT = 3  # programs with the same fault


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first one's seed")
    parser.add_argument("--shrink", type=float, metavar="SECONDS", help="time to shorten each finding")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/fuzz"), help="where findings go")
    parser.add_argument("--seconds", type=float, help="start no program after so long")
    parser.add_argument("--replay", type=pathlib.Path, metavar="FILE", help="run this program alone, tell what it does")
    parser.add_argument("--threads", type=int, default=1, help="how many run each program at once")
    parser.add_argument("--limit", type=float, default=runner.LIMIT, help="seconds that a program may take")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def replay(args):
    replayed = program.parse(args.replay.read_text())
    outcome = runner.run(replayed, args.limit)
    print(outcome.output, end="")
    if (fault := outcome.fault()) and args.shrink:
        print(shrink(replayed, fault, args.shrink, args.limit).text(), end="")
    print(f"{args.replay}: {fault or 'nothing wrong'}")
    return 1 if fault else 0


def keep(folder, found, outcome, fault):
    """Write a finding to a file that --replay runs again; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sys.implementation.cache_tag}-{found.seed}.txt"
    report = "".join(f"# {line}\n" for line in outcome.output.splitlines()[:120])
    path.write_text(f"# {fault}\n{found.text()}\n{report}")
    return path


def search(args):
    """Run the programs; return how many findings there were."""
    seen = collections.Counter()
    began = time.monotonic()
    done = 0
    for seed in range(args.first, args.first + args.programs):
        if args.seconds and time.monotonic() - began > args.seconds:
            break
        made = program.generate(seed, operations.WEIGHTS, threads=args.threads)
        outcome = runner.run(made, args.limit)
        done += 1
        if (fault := outcome.fault()) is None:
            continue
        seen[fault] += 1
        if seen[fault] > KEPT:
            continue
        path = keep(args.folder, made, outcome, fault)
        print(f"seed {seed}: {fault}", flush=True)
        if args.shrink and seen[fault] == 1:
            made = shrink(made, fault, args.shrink, args.limit)
            path = keep(args.folder, made, outcome, fault)
        print(f"    {len(made.steps)} steps in {path}", flush=True)
    seconds = time.monotonic() - began
    print(f"{done} programs from seed {args.first} in {seconds:.0f} s: {sum(seen.values())} findings")
    for fault, times in seen.most_common():
        print(f"    {times} x {fault}")
    return sum(seen.values())


def main():
    args = arguments()
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which has its own handlers
        faulthandler.enable()
    child.prepare()
    if args.child:
        running = program.parse(sys.stdin.read())
        child.end(running, child.run(running, args.limit))
    gc.collect()
    gc.freeze()
    return replay(args) if args.replay else min(search(args), 1)


sys.exit(main())
