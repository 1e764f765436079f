"""The test suite of asyncio that comes with this interpreter, module by module, on another event loop.

    modules() ---> Module.run() ---> worker.py, in a process and a network of its own ---> Module.results

Every module runs in a process of its own. A crash or a hang is the failure of the test that was running; the rest
of the module goes on in a new process. run.py and test_stdlib.py are the two ways in.
"""

import collections
import dataclasses
import fnmatch
import functools
import importlib.util
import json
import operator
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
STDLIB = pathlib.Path(sysconfig.get_path("stdlib"))
ELSEWHERE = [
    "test.test_asyncgen",
    "test.test_coroutines",
    "test.test_contextlib_async",
    "test.test_sys_settrace",
    "test.test_unittest.test_async_case",
    "test.test_unittest.testmock.testasync",
    "unittest.test.test_async_case",
    "unittest.test.testmock.testasync",
]
FAILURES = ["failed", "error", "crash", "hang"]
NOT_APPLICABLE = [HERE / "not-applicable.txt", HERE / "not-applicable-own.txt"]
FOREIGN = HERE / "foreign.txt"
COMPARE = {"<": operator.lt, ">=": operator.ge, "==": operator.eq}

sys.path.append(str(HERE.parents[1]))  # for an asyncloop that is built in place and not installed


def modules():
    """Short name -> full name of the modules with tests, the largest first; empty where they are not installed."""
    names = [f"test.test_asyncio.{path.stem}" for path in STDLIB.glob("test/test_asyncio/test_*.py")]
    if names:
        names += [name for name in ELSEWHERE if source(name).exists()]
    names.sort(key=lambda name: source(name).stat().st_size, reverse=True)
    return {name.rpartition(".")[2]: name for name in names}


def why_not_installed():
    """What to do where the interpreter came without its tests; None where they are there."""
    if modules():
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{sys.executable} came without test.test_asyncio: install libpython{version}-testsuite (Debian, Ubuntu)"
        f" or python{version}-test (Fedora); a Python of pyenv, uv or python.org has it"
    )


def source(full_name):
    return STDLIB / (full_name.replace(".", "/") + ".py")


@functools.cache
def why_no_namespace():
    """Why the workers cannot have a network namespace of their own here; None where they can."""
    command = [sys.executable, str(HERE / "namespace.py"), "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


@dataclasses.dataclass(frozen=True)
class Omission:
    """Tests that do not run: those that a pattern matches, as what they are reported, and the reason."""

    pattern: str
    outcome: str
    reason: str

    def matches(self, test):
        return fnmatch.fnmatchcase(test, self.pattern)


def read_omissions(path, outcome, because=""):
    """The omissions that a file lists for this version of Python: 'PATTERN reason' a line, '#' starts a comment.

    A pattern may end in [OP VERSION], as in [<3.13]: then it holds for those versions only.
    """
    omissions = []
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, reason = line.split(None, 1)
            pattern, _, condition = pattern.partition("[")
            if holds(condition.rstrip("]")):
                omissions.append(Omission(pattern, outcome, because + reason.strip()))
    return omissions


def holds(condition):
    if not condition:
        return True
    compare, version = re.fullmatch(r"(<|>=|==)([\d.]+)", condition).groups()
    version = tuple(map(int, version.split(".")))
    return COMPARE[compare](sys.version_info[: len(version)], version)


def not_applicable():
    """The omissions of what cannot apply to another loop."""
    return [omission for path in NOT_APPLICABLE for omission in read_omissions(path, "not applicable")]


def foreign():
    """Without a network namespace, the omissions of what would reach, or be reached from, other machines."""
    why = why_no_namespace()
    return read_omissions(FOREIGN, "left out", f"{why}; ") if why else []


@dataclasses.dataclass
class Options:
    """What is under test ("MODULE:NAME" each), and how."""

    loop: str
    task: str | None = None
    future: str | None = None
    omissions: list = dataclasses.field(default_factory=list)
    tests: list = dataclasses.field(default_factory=list)  # modules or patterns; none: every test
    debug: bool = False  # asyncio's debug mode
    accelerate: bool = False  # asyncloop.accelerate() comes first
    timeout: float = 60  # seconds without a sign of life
    verbose: bool = False

    def search_path(self):
        """Where this process finds what is under test; the workers shall take no other that may be installed."""
        spec = importlib.util.find_spec(self.loop.partition(":")[0].partition(".")[0])
        if spec is None:
            return None
        return str(pathlib.Path(spec.origin).parents[1 if spec.submodule_search_locations else 0])


class Module:
    """The run of one module: as many worker processes as it takes."""

    def __init__(self, name, full_name, options):
        self.name = name
        self.full_name = full_name
        self.options = options
        self.results = {}
        self.tests = None
        self.fixtures = []
        self.log = ""
        self.worker = None
        self.stopped = False

    def omission(self, test):
        return next((omission for omission in self.options.omissions if omission.matches(test)), None)

    def record(self, test, outcome, detail="", seconds=0.0):
        self.results[test] = {"outcome": outcome, "detail": detail, "seconds": seconds}

    def run(self):
        """Run the module to its end, to be found in `results`; returns the module itself."""
        if omission := self.omission(f"{self.name}.*"):
            self.record(f"{self.name}.*", omission.outcome, omission.reason)
            return self
        self.collect()
        while self.tests is not None and not self.stopped and (left := self.left()):
            self.work()
            if self.left() == left:  # no progress: what is left cannot be run at all
                for test in left:
                    self.record(test, "error", "not run: " + self.why_not_run(test))
        return self

    def stop(self):
        """End a run() that another thread is in."""
        self.stopped = True
        if (worker := self.worker) is not None:
            kill(worker)

    def left(self):
        return [test for test in self.tests if test not in self.results]

    def failures(self):
        return {test: result for test, result in self.results.items() if result["outcome"] in FAILURES}

    def counts(self):
        """How many tests had each outcome, and how many were applicable."""
        count = collections.Counter(result["outcome"] for result in self.results.values())
        count["applicable"] = count["passed"] + len(self.failures())
        return count

    def summary(self):
        """One line a failed test: its outcome, its name and the line that says most."""
        lines = []
        for test, result in self.failures().items():
            detail = result["detail"].strip().splitlines() or [""]
            says_most = detail[0] if result["outcome"] in ("crash", "hang") else detail[-1]
            lines.append(f"{result['outcome']:7} {test}: {says_most}")
        return lines

    def why_not_run(self, test):
        test_class = test.rpartition(".")[0].rpartition(".")[2]
        return next((detail for holder, detail in self.fixtures if test_class in holder), self.log[-2000:])

    def collect(self):
        self.work(only_list=True)
        if self.tests is None:
            self.record(f"{self.name}.(import)", "error", self.log[-4000:])
            return
        patterns = self.options.tests
        if patterns and self.name not in patterns:
            self.tests = [t for t in self.tests if any(fnmatch.fnmatchcase(t, pattern) for pattern in patterns)]
        for test in self.tests:
            if omission := self.omission(test):
                self.record(test, omission.outcome, omission.reason)

    def work(self, only_list=False):
        """One worker process, to its end."""
        read_end, write_end = os.pipe()
        order = {
            "events": write_end,
            "module": self.full_name,
            "name": self.name,
            "path": self.options.search_path(),
            "loop": self.options.loop,
            "task": self.options.task,
            "future": self.options.future,
            "accelerate": self.options.accelerate,
            "run": [] if only_list else self.left(),
        }
        command = [sys.executable, "-X", "faulthandler", "-W", "default", "-bb", str(HERE / "worker.py")]
        if why_no_namespace() is None:
            command = [sys.executable, str(HERE / "namespace.py"), *command]
        environment = dict(os.environ, PYTHONASYNCIODEBUG="1" if self.options.debug else "")
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+b") as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                pass_fds=[write_end],
                start_new_session=True,
                env=environment,
            )
            self.worker = worker
            os.close(write_end)
            worker.stdin.write(json.dumps(order).encode())
            worker.stdin.close()
            running, hung, finished = self.follow(read_end, worker)
            os.close(read_end)
            kill(worker)
            self.worker = None
            worker.wait()
            log.seek(0)
            self.log = log.read().decode(errors="replace")
        if self.options.verbose:
            print(self.log)
        if running:
            detail = self.log.rpartition(f"--- {running}\n")[2][-6000:]
            self.record(running, "hang" if hung else "crash", f"exit status {worker.returncode}\n{detail}")
        elif finished and worker.returncode and not (hung and self.failures()):
            # Its tests are done, but the process could not end in good order;
            # where a failed test left a thread behind, that is no news.
            self.record(
                f"{self.name}.(exit)",
                "hang" if hung else "crash",
                f"exit status {worker.returncode}\n{self.log[-6000:]}",
            )

    def follow(self, events, worker):
        """Take in a worker's events: (the test it broke off in, if any; whether for time; whether it finished)."""
        running, finished, buffer = None, False, b""
        while True:
            ready, _, _ = select.select([events], [], [], self.options.timeout)
            if not ready:
                os.kill(worker.pid, signal.SIGABRT)  # faulthandler writes down where each thread is
                time.sleep(1)
                return running, True, finished
            data = os.read(events, 65536)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if "tests" in event:
                    self.tests = self.tests or event["tests"]
                elif "start" in event:
                    running = event["start"]
                elif "end" in event:
                    self.record(event["end"], event["outcome"], event["detail"], event["seconds"])
                    running = None
                elif "fixture" in event:
                    self.take_in_fixture(event)
                elif "finished" in event:
                    finished = True
        try:
            worker.wait(self.options.timeout)
        except subprocess.TimeoutExpired:
            os.kill(worker.pid, signal.SIGABRT)
            return running, True, finished
        return running, False, finished

    def take_in_fixture(self, event):
        """A class or a module that could not be set up (or skipped itself there) takes its tests along."""
        self.fixtures.append((event["fixture"], event["detail"]))
        owner = re.search(r"\((.*)\)", event["fixture"])[1].replace(self.full_name, self.name, 1)
        for test in self.left():
            if test.startswith(owner + "."):
                self.record(test, event["outcome"], event["detail"])


def kill(worker):
    """Kill a worker and whatever its tests started: they are a session of their own."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
