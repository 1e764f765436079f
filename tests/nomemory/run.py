"""Lets every allocation of the scenarios in tests/leaks fail, each once, and looks what comes of it.

    python tests/nomemory/run.py                    # all of them
    python tests/nomemory/run.py --only 'tasks.*'
    python tests/nomemory/run.py --only tasks.groups --point 42      # that one, with all that is known about it
    python tests/nomemory/run.py --in-a-row 20      # and so many after it
    python tests/nomemory/run.py --loop asyncio     # what the interpreter and asyncio make of it

Each file of scenarios has a process. It runs a scenario a few times and then forks a child for each allocation (a
point) that the scenario makes in its thread. The child runs the scenario with that allocation failing, and then has to
be of use: on the same loop an answer comes and a timer fires, the loop closes, garbage is collected. Right is
a MemoryError out of the scenario, to the exception handler or to sys.unraisablehook, or any other outcome but these:

    crash       a signal has ended the child
    hang        it does not even let signal handlers run
    failed      an exception came out of nowhere
    error       somebody was told of a SystemError: a function has failed without an exception, or the reverse
    lost        the scenario does not go on, and no MemoryError was seen by anybody, not even by code in Python
    unusable    the loop does not work afterwards

"error" and "lost" are not looked for where several fail in a row: there may be no memory to tell anybody.

Where asyncloop's code has asked for the allocation, or for what has asked for it, the exit status is 1. A fault that is
far from it is one of what that code has called: the interpreter and its library have some of their own.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import faulthandler
import fnmatch
import functools
import gc
import importlib.util
import inspect
import json
import logging
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
LEAKS = HERE.parent / "leaks"
WARM_UP = 3
PATIENCE = (0.5, 4.0)  # seconds; a scenario that does not go on is told from a slow machine by a second try
USE = 10  # seconds for what comes after a scenario
DEADLINE = 30  # seconds for a child
SETTLED = 3  # points in a row that no allocation was: there are no more
# Between an allocation and the code that asks for it, none of these: where an error is made from there on, or a crash
# comes, it is in what they have called.
CALLS = {
    "_PyEval_EvalFrameDefault",
    "PyEval_EvalCode",
    "PyIter_Send",
    "PyObject_Call",
    "PyObject_CallMethodObjArgs",
    "PyObject_CallNoArgs",
    "PyObject_CallObject",
    "PyObject_CallOneArg",
    "PyObject_Vectorcall",
    "PyObject_VectorcallMethod",
    "_PyObject_Call_Prepend",
    "_PyObject_FastCallDictTstate",
    "_PyObject_MakeTpCall",
}
FEW_FRAMES = 8
RESULT = "result: "


class Stuck(KeyboardInterrupt):
    """Ends a scenario that does not go on."""


def compile_hook(directory):
    """The path of the module made of hook.c; RuntimeError where that cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    path = pathlib.Path(directory) / "hook.so"
    include = sysconfig.get_path("include")
    command = [compiler, "-O1", "-g", "-shared", "-fPIC", f"-I{include}", HERE / "hook.c", "-o", path, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"hook.c cannot be compiled: {done.stderr.strip()[-300:]}")
    return path


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files():
    return sorted(path for path in LEAKS.glob("*.py") if path.name != "run.py" and not path.name.startswith("test_"))


def scenarios(path, only=("*",)):
    """{name: function} of those of a file that one of the patterns fits."""
    found = load("leaks_run", LEAKS / "run.py").scenarios(load(path.stem, path))
    names = {f"{path.stem}.{name}": function for name, function in found}
    return {name: names[name] for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in only)}


# --- in the child ---------------------------------------------------------------------------------------------------


def loop_maker(kind):
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    import asyncloop

    return asyncloop.new_event_loop


class Attempt:
    """A scenario, run once."""

    def __init__(self, function, kind):
        self.function = function
        self.make_loop = loop_maker(kind)
        self.told = []  # names of exceptions, each once

    def new_loop(self):
        loop = self.make_loop()
        loop.set_exception_handler(lambda loop, context: self.tell(context.get("exception")))
        loop.set_exception_handler = lambda handler: None  # that of a scenario would tell nobody
        return loop

    def tell(self, exc):
        name = type(exc).__name__
        if exc is not None and name not in self.told:
            self.told.append(name)

    def run(self, loop):
        if inspect.iscoroutinefunction(self.function):
            loop.run_until_complete(self.function())
        else:
            self.function(self.new_loop)

    def fail(self, hook, point, traced, patience):
        """Run with the nth allocation failing. -> how many were seen, how many have failed, what is wrong or None"""
        loop = self.new_loop()
        gc.collect()  # which empties the free lists, too: what is allocated does not depend on what was before
        is_stuck = False
        limit(patience)
        hook.arm(point, hook.in_a_row, traced)
        try:
            self.run(loop)
        except Stuck:
            is_stuck = True
        except BaseException as exc:
            self.tell(exc)
        seen, failed, raised = hook.disarm()
        limit(0)
        if hook.in_a_row > 1:  # there may have been no memory to tell anybody
            return seen, failed, self.use(loop)
        if is_stuck:
            self.ask_futures()
        if "SystemError" in self.told:
            return seen, failed, "error"
        if is_stuck and "MemoryError" not in self.told and not raised:
            return seen, failed, "lost"
        return seen, failed, self.use(loop)

    def ask_futures(self):
        """Those that are done keep their exception for somebody who would ask if the scenario went on."""
        for future in gc.get_objects():
            if isinstance(future, asyncio.Future) and future.done() and not future.cancelled():
                self.tell(future.exception())

    def use(self, loop):
        """What is wrong with the loop after all that, or None."""
        limit(USE)
        # The interpreter's own function that forgets the running loop may be what has failed.
        asyncio._set_running_loop(None)
        try:
            assert loop.run_until_complete(talk(loop)) == b"an answer."
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            gc.collect()
        except BaseException as exc:
            return f"unusable: {exc!r}\n{traceback.format_exc()}"
        finally:
            limit(0)
        return None


def limit(seconds):
    """Let Stuck be raised after that time, and each second from then on; never if it is 0."""
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)


def on_alarm(number, frame):
    raise Stuck


async def talk(loop):
    """An echo between two streams, and a timer."""
    (reader, writer), (far_reader, far_writer) = [
        await asyncio.open_connection(sock=sock) for sock in socket.socketpair()
    ]
    done = loop.create_future()
    loop.call_later(0.0001, done.set_result, None)
    writer.write(b"an answer.")
    far_writer.write(await far_reader.readexactly(10))
    answer = await reader.readexactly(10)
    await done
    writer.close()
    far_writer.close()
    await asyncio.sleep(0)
    return answer


@functools.cache
def locate(path, symbol, offset):
    """What a frame is, as readable as can be."""
    if "_core." not in path:
        return symbol or f"{path}+{offset:#x}"
    if shutil.which("addr2line") is None:
        return f"_core+{offset:#x}"
    command = ["addr2line", "-sfe", path, hex(offset - 1)]
    return "_core: " + " ".join(subprocess.run(command, capture_output=True, text=True).stdout.split()[:2])


def is_near(frames):
    """Whether asyncloop's code is what asked for the allocation."""
    for path, symbol, _ in frames[:FEW_FRAMES]:
        if "_core." in path:
            return True
        if symbol in CALLS:
            return False
    return False


# If it fails, the interpreter (3.12.1) frees the code object of the function, which is in use. The crash comes later,
# where that memory is used again.
FREES_WHAT_IS_USED = "(PyFunction_NewWithQualName+"
HOW_IT_FAILED = "after the failure at"


def is_near_crash(lines):
    """Whether asyncloop's code has crashed, or what it has called with no code in Python between."""
    if HOW_IT_FAILED in lines:
        failure = lines.index(HOW_IT_FAILED)
        if any(FREES_WHAT_IS_USED in line for line in lines[failure : failure + FEW_FRAMES]):
            return False
    for line in lines[:FEW_FRAMES]:
        if "_core: " in line:
            return True
        if any(f"({name}+" in line for name in CALLS):
            return False
    return False


class Telling(logging.Handler):
    """Hears of exceptions what the exception handler of a loop that a scenario has made itself logs."""

    def __init__(self, attempt):
        super().__init__()
        self.attempt = attempt

    def emit(self, record):
        if record.exc_info:
            self.attempt.tell(record.exc_info[1])


def child(function, kind, hook, point, traced, patience, pipe):
    """Write to the pipe a line of JSON with {"seen", "failed", "fault", "told"}."""
    os.dup2(pipe, 2)
    faulthandler.enable(pipe)
    hook.tell_crashes(pipe)
    signal.signal(signal.SIGALRM, on_alarm)
    attempt = Attempt(function, kind)
    sys.unraisablehook = lambda unraisable: attempt.tell(unraisable.exc_value)
    logging.getLogger("asyncio").addHandler(Telling(attempt))
    try:
        seen, failed, fault = attempt.fail(hook, point, traced, patience)
    except BaseException:
        seen, failed, fault = point, 1, f"failed\n{traceback.format_exc()}"
    result = {"seen": seen, "failed": failed, "fault": fault, "told": attempt.told}
    if fault is not None:
        frames = hook.frames()
        result["near"] = is_near(frames)
        result["frames"] = [locate(*frame) for frame in frames]
    os.write(pipe, f"\n{RESULT}{json.dumps(result)}\n".encode())


# --- the process of a file ------------------------------------------------------------------------------------------


def read_all(fd, deadline):
    """What comes from the pipe until its end, or until the deadline; and whether that was the end."""
    parts = []
    while True:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        part = os.read(fd, 65536) if ready else b""
        if not part:
            return b"".join(parts).decode(errors="replace"), bool(ready)
        parts.append(part)


def try_once(function, kind, hook, point, traced, patience):
    """-> what child() writes, or what a crash has left."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.close(reading)
            child(function, kind, hook, point, traced, patience, writing)
            status = 0
        os._exit(status)
    os.close(writing)
    text, has_ended = read_all(reading, time.monotonic() + DEADLINE)
    if not has_ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGABRT)
        text += read_all(reading, time.monotonic() + 1)[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    if has_ended and status == 0:
        return json.loads(text.rpartition(RESULT)[2].splitlines()[0])
    what = "hang" if not has_ended else "crash"
    number = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit"
    text = re.sub(r"^(\S+_core\.\S+)\(\+(0x\w+)\).*", lambda m: locate(m[1], None, int(m[2], 16)), text, flags=re.M)
    near = is_near_crash(text.splitlines())
    return {"seen": point, "failed": 1, "fault": f"{what} {number}\n{text}", "told": [], "near": near}


def try_point(function, kind, hook, point, traced):
    for patience in PATIENCE if traced else PATIENCE[:1]:
        result = try_once(function, kind, hook, point, traced, patience)
        if result["fault"] != "lost":
            break
    return result


def walk(points, function, kind, hook, traced):
    """Let each of these allocations fail, until there are no more. Yields (point, result) of those that did."""
    unreached = 0
    for point in points:
        result = try_point(function, kind, hook, point, traced)
        if result["failed"]:
            unreached = 0
            yield point, result
        else:
            unreached += 1
            if unreached == SETTLED:
                return


def try_scenario(function, kind, hook, points):
    """-> {"failed": allocations that failed, "faults": [[point, text, near]]}

    If something seems to be lost, all is done once more with a trace function: what is allocated is different then, but
    it sees the MemoryErrors that go through code in Python.
    """
    failed = 0
    faults = []
    for traced in False, True:
        has_lost = False
        for point, result in walk(points, function, kind, hook, traced):
            failed += not traced
            fault = result["fault"]
            if fault == "lost" and not traced:
                has_lost = True
            elif fault is not None and (not traced or (fault == "lost" and result["near"])):
                told = ", ".join(result["told"]) or "nobody"
                lines = [f"{fault.splitlines()[0]}{', traced' * traced} (told: {told})", *fault.splitlines()[1:]]
                faults.append([point, "\n".join(lines + result.get("frames", [])), result["near"]])
        if not has_lost:
            break
    return {"failed": failed, "faults": faults}


def run_file(args):
    hook = load("hook", args.hook)
    hook.in_a_row = args.in_a_row
    points = [args.point] if args.point else range(1, sys.maxsize, args.step)
    for name, function in scenarios(args.file, args.only).items():
        begin = time.monotonic()
        for _ in range(WARM_UP):
            attempt = Attempt(function, args.loop)
            loop = attempt.new_loop()
            attempt.run(loop)
            loop.close()
        gc.collect()
        gc.freeze()  # the children have less to collect
        result = try_scenario(function, args.loop, hook, points)
        gc.unfreeze()
        print(json.dumps({"name": name, "seconds": time.monotonic() - begin} | result), flush=True)


# --- the whole ------------------------------------------------------------------------------------------------------


def run_apart(path, arguments, report):
    """run_file() in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--file", path]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            report(json.loads(line))
    if process.returncode != 0:
        what = f"the process ended with {process.returncode}"
        report({"name": path.stem, "seconds": 0, "failed": 0, "faults": [[0, what, True]]})


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=["asyncloop", "asyncio"], default="asyncloop", help="whose loop to run on")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="as 'tls.*'")
    parser.add_argument("--point", type=int, help="this one alone")
    parser.add_argument("--in-a-row", type=int, default=1, metavar="N", help="so many fail from a point on")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="every nth point only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="files at the same time")
    parser.add_argument("--verbose", action="store_true", help="all that is known about each fault")
    parser.add_argument("--hook", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=pathlib.Path, help="scenarios of this file instead of tests/leaks")
    return parser.parse_args(arguments)


def main():
    args = parse()
    sys.path.append(str(HERE.parents[1]))  # a Python that has not the package installed
    if args.hook:
        run_file(args)
        return 0
    totals = collections.Counter()

    def report(result):
        totals["scenarios"] += 1
        totals["failed"] += result["failed"]
        line = f"{result['name']:50} {result['failed']:5} allocations failed, {result['seconds']:5.1f} s"
        for point, what, near in result["faults"]:
            totals["near" if near else "far"] += 1
            lines = what.splitlines()
            where = "" if near else " (far from asyncloop's code)"
            line += f"\n    {point}: {lines[0]}{where}"
            if args.verbose or args.point:
                line += "".join(f"\n        {text}" for text in lines[1:])
        print(line, flush=True)

    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        arguments = [*sys.argv[1:], "--hook", str(compile_hook(directory))]
        chosen = [path for path in ([args.file] if args.file else files()) if scenarios(path, args.only)]
        for running in [pool.submit(run_apart, path, arguments, report) for path in chosen]:
            running.result()
    print(
        f"{totals['scenarios']} scenarios on {args.loop} of {sys.version.split()[0]}: {totals['failed']} allocations "
        f"failed, {totals['near'] + totals['far']} faults, {totals['near']} of them near asyncloop's code"
    )
    return 1 if totals["near"] else 0


if __name__ == "__main__":
    sys.exit(main())
