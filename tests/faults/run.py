"""Lets every system call of the scenarios in tests/leaks fail, one at a time, and looks what comes of it.

    python tests/faults/run.py [--only SCENARIO] [--call NAME] [--errno NAME] [--nth N] [--depth N] ...

See README.md in this folder. The exit status is 1 if there is a finding.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import errno
import faulthandler
import functools
import gc
import importlib.util
import inspect
import json
import logging
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import weakref

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "shared"), str(HERE)]

import failing  # noqa: E402
from errors import ERRORS, SAME_ON_STOCK, TRANSIENT  # noqa: E402

LEAKS = HERE.parent / "leaks"
NOT_SCENARIOS = {"run.py", "conftest.py"}
WHOSE = {"ours": failing.OURS, "others": failing.OTHERS}
# Of these the interpreter makes so many for itself (files, memory, clocks) that failing them tests nothing of a loop.
NOT_OF_OTHERS = {"read", "write", "readv", "writev", "fstat", "close", "poll", "dup", "dup2"}

LIMIT = 1.0  # seconds for a scenario, which takes some milliseconds
PATIENCE = 5  # times as long for one that has hung, before that is a finding
HARD_LIMIT = 5  # times as long again: the loop does not even turn


# --- one run, in a process of its own ---------------------------------------------------------------------------------


def exceptions_of(exc):
    """The exception, those that led to it and those in its groups."""
    seen, todo = [], [exc]
    while todo:
        exc = todo.pop()
        if exc is None or exc in seen:
            continue
        seen.append(exc)
        todo += [exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())]
    return seen


def tells(exc, number):
    """Whether an exception tells of the failure of the system call."""
    if number in TRANSIENT:
        return False  # nobody needs to know
    return any(isinstance(e, OSError) and (e.errno == number or e.errno is None) for e in exceptions_of(exc))


def name_of(exc):
    number = getattr(exc, "errno", None)
    return type(exc).__name__ + (f" {errno.errorcode.get(number, number)}" if number else "")


async def echo():
    """A small use of the loop: a connection, a byte there and back, a timer."""

    async def answer(reader, writer):
        writer.write(await reader.readexactly(1))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    assert await reader.read() == b"x"
    writer.close()
    await writer.wait_closed()
    server.close()
    loop = asyncio.get_running_loop()
    fired = loop.create_future()
    loop.call_later(0.001, fired.set_result, None)
    await fired


def usable(loop, limit):
    """None, or what is wrong with a loop that does not run."""
    try:
        loop.run_until_complete(asyncio.wait_for(echo(), 2 * limit))
    except Exception as exc:
        return name_of(exc)
    return None


def count_fds():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class Run:
    """A scenario on loops of one kind, with a fault or none."""

    def __init__(self, function, make_loop, fault, limit):
        self.function, self.make_loop, self.fault, self.limit = function, make_loop, fault, limit
        self.loops = weakref.WeakSet()
        self.contexts = []
        self.result = {"failed": 0, "outcome": "ok", "told": False, "unusable": None, "fds": 0}

    def new_event_loop(self):
        loop = self.make_loop()
        loop.set_exception_handler(lambda loop, context: self.contexts.append(context))
        self.loops.add(loop)
        return loop

    def scenario(self, loop):
        if loop is None:
            self.function(self.new_event_loop)
        else:
            loop.run_until_complete(asyncio.wait_for(self.function(), self.limit))

    def with_fault(self, loop):
        """The exception of the scenario, or None."""
        begin = time.monotonic()
        failing.begin(
            *self.fault.get("calls", ()),
            error=self.fault.get("errno", 0),
            nth=self.fault.get("nth", 0),
            whose=self.fault["whose"],
        )
        try:
            self.scenario(loop)
            return None
        except BaseException as exc:
            if isinstance(exc, TimeoutError) and time.monotonic() - begin >= self.limit:
                self.result["outcome"] = "hung"
            else:
                self.result["outcome"] = name_of(exc)
            return exc
        finally:
            self.result["failed"] = failing.end()
            self.result["made"] = failing.made()

    def __call__(self):
        is_coroutine = inspect.iscoroutinefunction(self.function)
        fds = count_fds()
        loop = self.new_event_loop() if is_coroutine else None
        if is_coroutine:
            loop.run_until_complete(asyncio.sleep(0.001))
        exc = self.with_fault(loop)
        number = self.fault.get("errno")
        reports = [context["exception"] for context in self.contexts if context.get("exception")]
        told = [e for e in [exc, *reports] if e is not None and tells(e, number)]
        self.result["told"] = bool(told)
        self.result["reports"] = [name_of(e) for e in reports][:5]
        if exc is not None and self.result["outcome"] != "hung":
            self.result["traceback"] = "".join(traceback.format_exception(exc))[-2000:]
        del exc, reports, told
        self.contexts.clear()
        self.finish(loop)
        self.result["fds"] = max(count_fds() - fds, 0)
        return self.result

    def finish(self, loop):
        """Use and close what is open."""
        del loop
        gc.collect()
        for loop in [*self.loops, self.new_event_loop()]:
            if loop.is_closed():
                continue
            wrong = "it runs" if loop.is_running() else usable(loop, self.limit)
            self.result["unusable"] = self.result["unusable"] or wrong
            with contextlib.suppress(Exception):
                loop.run_until_complete(self.clean_up())
            with contextlib.suppress(Exception):
                loop.close()

    async def clean_up(self):
        loop = asyncio.get_running_loop()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(2):
            await asyncio.gather(*tasks, return_exceptions=True)
            await loop.shutdown_default_executor()
            await asyncio.sleep(0.001)


def in_a_child(run, limit):
    """What run() returns, called in a forked child; or how that ended."""
    r, w = os.pipe()
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            os.close(r)
            os.dup2(said.fileno(), 2)
            faulthandler.enable(said)
            faulthandler.dump_traceback_later(limit * HARD_LIMIT, exit=True, file=said)
            status = 0
            try:
                os.write(w, json.dumps(run()).encode())
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
                sys.__stderr__.flush()
                status = 3
            finally:
                os._exit(status)
        os.close(w)
        text = b""
        deadline = time.monotonic() + limit * HARD_LIMIT + 2
        while select.select([r], [], [], max(deadline - time.monotonic(), 0))[0] and (piece := os.read(r, 65536)):
            text += piece
        os.close(r)
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if status == 0 and text:
            return json.loads(text)
        said.seek(0)
        output = said.read().decode(errors="replace")[-3000:]
    code = os.waitstatus_to_exitcode(status)
    outcome = f"crash {signal.Signals(-code).name}" if code < 0 else "stuck" if "Timeout (" in output else "broke"
    return {
        "failed": 1, "outcome": outcome, "told": False, "unusable": None, "fds": 0, "traceback": output, "reports": [],
        "made": {},
    }  # fmt: skip


# --- all runs of one file ---------------------------------------------------------------------------------------------


def load_harness():
    spec = importlib.util.spec_from_file_location("leaks_run", LEAKS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verdict(result, number):
    """What is wrong, without asking asyncio: a set of words, empty if nothing is."""
    wrong = set()
    outcome = result["outcome"]
    if outcome.startswith(("crash", "stuck", "broke")):
        return {outcome}
    if outcome == "hung":
        wrong.add("hung")
    elif outcome != "ok" and not result["told"]:
        wrong.add(outcome)
    if result["unusable"]:
        wrong.add(f"unusable: {result['unusable']}")
    if result["fds"]:
        wrong.add("descriptors leaked")
    return wrong


class File:
    """The scenarios of a file, and what failures do to them."""

    def __init__(self, path, args):
        self.path, self.args = path, args
        self.harness = load_harness()
        self.makers = {kind: self.harness.loop_maker(kind) for kind in ("asyncio", "asyncloop")}
        self.scenarios = self.harness.scenarios(self.harness.load(path))
        self.stock = {}  # what asyncio does: {(scenario, call, errno, nth): words of verdict()}
        self.stock_counts = {}  # {scenario: {call: how many}}

    def warm_up(self):
        """Run all once, so that the children find what is imported, made at the first use and kept."""
        for _, function in self.scenarios:
            for make_loop in self.makers.values():
                with contextlib.suppress(Exception):
                    Run(function, make_loop, {"whose": failing.OURS | failing.OTHERS}, 5)()
        gc.collect()
        gc.freeze()

    def run(self, function, kind, fault, patience=1):
        limit = self.args.limit * patience
        return in_a_child(Run(function, self.makers[kind], fault, limit), limit)

    def stock_count(self, name, function):
        """How many calls of each kind there are on asyncio."""
        if name not in self.stock_counts:
            fault = {"whose": failing.OURS | failing.OTHERS}
            self.stock_counts[name] = self.run(function, "asyncio", fault, PATIENCE)["made"]
        return self.stock_counts[name]

    def on_stock(self, name, function, call, number, nth):
        """What goes wrong on asyncio when a call like this one fails: the first ones, those about the nth, the last."""
        calls = SAME_ON_STOCK.get(call, [call])
        counts = self.stock_count(name, function)
        last = max([counts.get(call, 0) for call in calls]) - 1
        words = set()
        for n in {*range(self.args.stock_depth), nth - 1, nth, nth + 1, last - 1, last}:
            if n < 0 or n > last:
                continue
            key = (name, call, number, n)
            if key not in self.stock:
                fault = {"calls": calls, "errno": number, "nth": n, "whose": failing.OURS | failing.OTHERS}
                result = self.run(function, "asyncio", fault)
                self.stock[key] = verdict(result, number) if result["failed"] else set()
            words |= self.stock[key]
        return words

    def faults(self, function):
        """The faults to try on a scenario: (whose, call, errno, nth)."""
        for whose, mask in WHOSE.items():
            if self.args.whose and whose != self.args.whose:
                continue
            made = self.run(function, self.args.loop, {"whose": mask}, PATIENCE)["made"]
            for call, count in made.items():
                if (whose == "others" and call in NOT_OF_OTHERS) or (self.args.call and call not in self.args.call):
                    continue
                for number in ERRORS[call]:
                    if self.args.errno and number not in self.args.errno:
                        continue
                    some = [*range(min(count, self.args.depth)), count - 1]
                    for nth in sorted(set(some)) if self.args.nth is None else self.args.nth:
                        yield whose, call, number, nth

    def __iter__(self):
        """The results of all faults."""
        self.warm_up()
        for name, function in self.scenarios:
            full = f"{self.path.stem}.{name}"
            if self.args.only and not any(only in (full, self.path.stem) for only in self.args.only):
                continue
            for whose, call, number, nth in self.faults(function):
                yield self.one(full, function, whose, call, number, nth)

    def one(self, name, function, whose, call, number, nth):
        fault = {"calls": [call], "errno": number, "nth": nth, "whose": WHOSE[whose]}
        result = self.run(function, self.args.loop, fault)
        wrong = verdict(result, number) if result["failed"] else set()
        known = set()
        if wrong and self.args.loop != "asyncio":
            known = wrong & self.on_stock(name, function, call, number, nth)
            wrong -= known
        if "hung" in wrong or "stuck" in wrong or any(word.startswith("unusable") for word in wrong):
            again = self.run(function, self.args.loop, fault, PATIENCE)  # the machine may be busy
            wrong &= verdict(again, number)
        return {
            "scenario": name, "whose": whose, "call": call, "errno": errno.errorcode[number], "nth": nth,
            "failed": result["failed"], "outcome": result["outcome"], "told": result["told"],
            "reports": result["reports"], "wrong": sorted(wrong), "as asyncio": sorted(known),
            "traceback": result.get("traceback") if wrong else None,
        }  # fmt: skip


# --- the campaign -----------------------------------------------------------------------------------------------------


def run_apart(path, args, shim):
    """The results of a file, whose runs are children of a process of its own."""
    command = [sys.executable, __file__, "--json", *args.arguments, str(path)]
    environment = failing.environment(shim)
    environment.setdefault("PYTHONMALLOC", "debug")  # overwrites what is freed, so that using it crashes
    results = []
    with (
        open(args.save or os.devnull, "a") as save,
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process,
    ):
        for line in process.stdout:
            if line.startswith("{"):
                results.append(json.loads(line))
                save.write(line)
                save.flush()
    if process.returncode:
        results.append({"scenario": path.stem, "error": f"ended with status {process.returncode}"})
    return results


def category(result):
    if result["wrong"]:
        return "finding"
    if result["as asyncio"]:
        return "as asyncio"
    if not result["failed"]:
        return "not made"
    if result["outcome"] != "ok":
        return "raised"
    return "reported" if result["told"] else "no matter"


CATEGORIES = ["no matter", "reported", "raised", "as asyncio", "finding", "not made"]


def table(results):
    """A line for each call: how many failed, and what came of it."""
    counts = collections.defaultdict(collections.Counter)
    for result in results:
        counts[result["call"], result["whose"]][category(result)] += 1
    rows = [["call", "made by", "failed", *CATEGORIES]]
    for (call, whose), counter in sorted(counts.items()):
        failed = sum(counter.values()) - counter["not made"]
        rows.append([call, whose, failed, *[counter[name] or "" for name in CATEGORIES]])
    total = collections.Counter(category(result) for result in results)
    rows.append(["all", "", sum(total.values()) - total["not made"], *[total[name] or "" for name in CATEGORIES]])
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def tell(findings, verbose):
    """A line for the findings of one call in one scenario that went wrong in the same way."""
    first = findings[0]
    if "error" in first:
        return f"{first['scenario']}: {first['error']}"
    options = ["only " + first["scenario"], "whose " + first["whose"], "call " + first["call"]]
    options += [f"errno {name}" for name in dict.fromkeys(finding["errno"] for finding in findings)]
    options += [f"nth {nth}" for nth in dict.fromkeys(finding["nth"] for finding in findings)]
    line = f"{', '.join(first['wrong'])}: {' '.join('--' + option for option in options)}"
    if first["reports"]:
        line += f"  (reported: {', '.join(first['reports'])})"
    if verbose and first["traceback"]:
        line += "\n    " + first["traceback"].rstrip().replace("\n", "\n    ")
    return line


def grouped(bad):
    """The findings by what is wrong where."""
    groups = collections.defaultdict(list)
    for finding in bad:
        key = tuple(str(finding.get(name)) for name in ("wrong", "scenario", "whose", "call"))
        groups[key].append(finding)
    return groups.values()


def number_of(name):
    return getattr(errno, name)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=["asyncloop", "asyncio"], default="asyncloop", help="whose loop to run on")
    parser.add_argument("--only", action="append", help="a scenario (file.function) or a file of them")
    parser.add_argument("--call", action="append", help="a system call")
    parser.add_argument("--errno", action="append", type=number_of, help="an error, by its name")
    parser.add_argument("--nth", action="append", type=int, help="which call of its kind fails, from 0 on")
    parser.add_argument("--whose", choices=list(WHOSE), help="calls of asyncloop and libev, or of the interpreter")
    parser.add_argument("--depth", type=int, default=3, help="how many calls of a kind fail, besides the last one")
    parser.add_argument("--stock-depth", type=int, default=3, help="how many of them asyncio is asked about")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds after which a scenario hangs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="files at a time")
    parser.add_argument("--save", help="a file to write the raw results to, as they come")
    parser.add_argument("--verbose", action="store_true", help="show where findings happened, and all outcomes")
    parser.add_argument("--json", action="store_true", help="run the files in this process and print the raw results")
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="files of scenarios; those of tests/leaks if none")
    args = parser.parse_args(arguments)
    args.arguments = [argument for argument in arguments if not argument.endswith(".py")]
    return args


def main(arguments):
    args = parse(arguments)
    if args.json:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        for path in args.files:
            for result in File(path, args):
                print(json.dumps(result), flush=True)
        return 0
    if not failing.is_possible:
        print("needs Linux and a C compiler (cc)")
        return 2
    files = args.files or sorted(
        path for path in LEAKS.glob("*.py") if path.name not in NOT_SCENARIOS and not path.name.startswith("test_")
    )
    if args.only and not args.files:
        files = [path for path in files if any(only.split(".")[0] == path.stem for only in args.only)]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        shim = failing.compile_shim(folder)
        found = list(pool.map(functools.partial(run_apart, args=args, shim=shim), files))
    results = [result for file in found for result in file]
    bad = [result for result in results if "error" in result or result["wrong"]]
    results = [result for result in results if "error" not in result]
    if args.verbose and len(results) < 100:
        for result in results:
            print(result)
    print(table(results))
    for findings in grouped(bad):
        print(tell(findings, args.verbose))
    failures = sum(1 for result in results if result["failed"])
    scenarios = len({result["scenario"] for result in results})
    print(
        f"{failures} failures of {len({result['call'] for result in results})} calls in {scenarios} scenarios on "
        f"{args.loop}, {len(bad)} findings, {time.monotonic() - begin:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
