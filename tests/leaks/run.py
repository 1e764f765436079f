"""Runs the scenarios of this folder again and again and looks whether anything grows.

    python tests/leaks/run.py [--loop asyncio] [scenario file ...]

Each file runs in a process of its own.  There every scenario is warmed up for three rounds and then measured for
three, as CPython's `-R 3:3` does; a round is the scenario many times over and a full collection.  It leaks if one
count is higher after every measured round than before it.  Free lists look the same until they are full: suspects
are measured again, twice as long and many times, and only who never stops growing is called a leak.

    refs     sys.gettotalrefcount(), where the interpreter is a debug build
    blocks   sys.getallocatedblocks()
    fds      open descriptors
    heap     bytes handed out by the C library's malloc, where it tells
    rss      resident memory in KiB; counts as growth from 64 KiB a round, as it comes in large steps

A scenario is a public function of a file: either `async def name()`, run on a loop that lives as long as the process,
or `def name(new_event_loop)`, which makes loops of its own.  The exit status is 1 if anything grew or failed.
"""

import argparse
import array
import asyncio
import ctypes
import gc
import importlib.util
import inspect
import json
import os
import pathlib
import subprocess
import sys
import traceback

HERE = pathlib.Path(__file__).resolve().parent
NOT_SCENARIOS = {"run.py", "conftest.py"}
WARM_UP = 3
MEASURED = 3
RUNS_PER_ROUND = 10
PATIENCE = 12  # times that a suspect is measured again: free lists hold some hundred objects, and count as growth
LEAST_GROWTH = {"refs": 1, "blocks": 1, "fds": 1, "heap": 1, "rss": 64}


class MallInfo(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def heap_counter():
    """A function telling malloc's bytes in use, or None where the C library does not know."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo.restype = MallInfo

    def heap():
        info = mallinfo()
        return info.uordblks + info.hblkhd

    return heap


def count_fds():
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def rss_counter():
    """A function telling the resident memory in KiB, or None where there is no /proc."""
    try:
        statm = os.open("/proc/self/statm", os.O_RDONLY)  # once: every open() keeps a block for a while
    except OSError:
        return None
    kib = os.sysconf("SC_PAGESIZE") // 1024
    return lambda: int(os.pread(statm, 100, 0).split()[1]) * kib


def counters():
    """name -> function, for everything that can be counted here."""
    found = {
        "refs": getattr(sys, "gettotalrefcount", None),
        "blocks": sys.getallocatedblocks,
        "fds": count_fds,
        "heap": heap_counter(),
        "rss": rss_counter(),
    }
    return {name: counter for name, counter in found.items() if counter}


def measure(run_once, functions, rounds):
    """-> {counter name: growth in each measured round}."""
    # Arrays made beforehand: a list would keep an int object for every count, which is growth too.
    counts = {name: array.array("q", [0] * (rounds + 1)) for name in functions}
    for i in range(-WARM_UP, rounds + 1):
        for _ in range(RUNS_PER_ROUND):
            run_once()
        gc.collect()
        for name, counter in functions.items():
            counts[name][max(i, 0)] = counter()
    return {name: [b - a for a, b in zip(seen, seen[1:], strict=False)] for name, seen in counts.items()}


def grown(growth):
    """The names of the counters that went up in every round."""
    return [name for name, rounds in growth.items() if min(rounds) >= LEAST_GROWTH[name]]


def load(path):
    """The module in the file `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenarios(module):
    """[(name, function)] in the order in which they stand in the file."""
    return [
        (name, function)
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    ]


def loop_maker(kind):
    """The function that makes loops of this kind."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    sys.path.append(str(HERE.parents[1]))  # a debug build of Python rarely has the package installed
    import asyncloop

    return asyncloop.new_event_loop


def runner(function, loop, new_event_loop):
    """A function without arguments that runs the scenario once."""
    if inspect.iscoroutinefunction(function):
        return lambda: loop.run_until_complete(function())
    return lambda: function(new_event_loop)


def run_file(path, kind, patience):
    """-> [{"name", "growth", "grown", "error"}] for the scenarios of one file, run in this process."""

    def new_event_loop():
        loop = make()
        loop.set_exception_handler(lambda loop, context: None)  # many scenarios fail on purpose
        return loop

    make = loop_maker(kind)
    loop = new_event_loop()
    functions = counters()
    results = []
    for name, function in scenarios(load(path)):
        run_once = runner(function, loop, new_event_loop)
        result = {"name": f"{path.stem}.{name}", "growth": {}, "grown": [], "error": None}
        try:
            result["growth"] = measure(run_once, functions, MEASURED)
            for _ in range(patience):
                if not grown(result["growth"]):
                    break
                result["growth"] = measure(run_once, functions, 2 * MEASURED)
            result["grown"] = grown(result["growth"])
        except Exception:
            result["error"] = traceback.format_exc()
        results.append(result)
    loop.close()
    return results


def run_apart(path, kind, patience):
    """run_file() in a process of its own, so that a crash is a result like any other."""
    command = [sys.executable, __file__, "--loop", kind, "--patience", str(patience), "--json", str(path)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return [{"name": path.stem, "growth": {}, "grown": [], "error": "did not end within 600 seconds"}]
    if done.returncode != 0:
        return [{"name": path.stem, "growth": {}, "grown": [], "error": f"ended with status {done.returncode}"}]
    return json.loads(done.stdout)


def table(results):
    """A line for each scenario, saying how much each counter grew in each round."""
    names = list(LEAST_GROWTH)
    rows = [["", *names]]
    for result in results:
        cells = [
            " ".join(f"{n:+}" for n in result["growth"].get(name, [])) + (" LEAK" if name in result["grown"] else "")
            for name in names
        ]
        rows.append([result["name"], *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=["asyncloop", "asyncio"], default="asyncloop", help="whose loop to run on")
    parser.add_argument("--patience", type=int, default=PATIENCE, help="how often a suspect is measured again")
    parser.add_argument("--verbose", action="store_true", help="show the counts of all scenarios")
    parser.add_argument("--json", action="store_true", help="run the files in this process and print the raw results")
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="files of scenarios; all of this folder if none")
    args = parser.parse_args()
    files = args.files or sorted(
        path for path in HERE.glob("*.py") if path.name not in NOT_SCENARIOS and not path.name.startswith("test_")
    )

    if args.json:
        print(json.dumps([result for path in files for result in run_file(path, args.loop, args.patience)]))
        return 0

    results = [result for path in files for result in run_apart(path, args.loop, args.patience)]
    bad = [result for result in results if result["grown"]]
    failed = [result for result in results if result["error"]]
    if bad or args.verbose:
        print(table(results if args.verbose else bad))
    for result in failed:
        print(f"{result['name']} failed: {result['error']}")
    print(
        f"{len(results)} scenarios on {args.loop}, {len(bad)} leak, {len(failed)} failed; "
        f"counted: {', '.join(counters())}"
    )
    return 1 if bad or failed else 0


if __name__ == "__main__":
    sys.exit(main())
