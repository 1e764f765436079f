"""run_workers(): how workers start, stop, fail and are interrupted. asyncio has no such function."""

import asyncio
import contextvars
import functools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import asyncloop
from asyncloop import _workers

WAYS = _workers._available()
SEPARATE = [how for how in WAYS if how != "threads"]
variable = contextvars.ContextVar("variable", default="default")

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(params=WAYS)
def how(request):
    return request.param


async def describe(worker):
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    return worker.number, worker.workers, worker.how, type(loop) is asyncloop.Loop, worker.stopping.is_set()


async def give(value, worker):
    return value


async def fail(worker):
    if worker.number == 1:
        raise ValueError("one")
    await asyncio.sleep(100)


async def fail_all(worker):
    raise ValueError(worker.number)


async def leave(worker):
    if worker.number == 1:
        sys.exit(5)
    await asyncio.sleep(100)


async def cancel_itself(worker):
    if worker.number == 1:
        asyncio.current_task().cancel()
    await asyncio.sleep(100)


async def survive(worker):
    if worker.number == 1:
        raise ValueError("one")
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        assert worker.stopping.is_set()
        raise KeyError("cleanup") from None


async def stop(worker):
    if worker.number == 1:
        worker.stop()
    await worker.stopping.wait()
    return worker.number


async def stop_late(worker):
    if worker.number == 0:
        return worker
    worker.stop()
    await worker.stopping.wait()
    return None


async def give_lock(worker):
    return threading.Lock()


class UnfitError(Exception):
    def __init__(self, one, two):
        super().__init__(one)


async def fail_unfit(worker):
    raise UnfitError(1, 2)


async def die(worker):
    if worker.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(100)


def test_each_worker_has_a_number_and_a_loop(how):
    assert asyncloop.run_workers(describe, workers=3, how=how) == [(n, 3, how, True, False) for n in range(3)]


def test_results_are_in_order_and_may_be_large(how):
    big = "x" * 1_000_000
    assert asyncloop.run_workers(functools.partial(give, big), workers=2, how=how) == [big] * 2


def test_a_failure_cancels_the_others(how):
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(fail, workers=3, how=how)
    (failure,) = caught.value.exceptions
    assert type(failure) is ValueError and failure.args == ("one",)
    assert failure.__notes__[-1] == "(worker 1)"
    assert caught.value.message == "1 of 3 workers failed"


def test_the_traceback_of_another_interpreter_is_in_the_notes():
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(fail, workers=2, how=SEPARATE[0])
    assert 'raise ValueError("one")' in caught.value.exceptions[0].__notes__[0]


def test_all_failures_are_raised_in_order(how):
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(survive, workers=2, how=how)
    assert list(map(type, caught.value.exceptions)) == [KeyError, ValueError]


def test_one_failure_of_many_is_enough(how):
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(fail_all, workers=3, how=how)
    assert {type(failure) for failure in caught.value.exceptions} == {ValueError}


def test_system_exit_is_raised_itself(how):
    with pytest.raises(SystemExit) as caught:
        asyncloop.run_workers(leave, workers=2, how=how)
    assert caught.value.code == 5


def test_a_main_that_cancels_itself_has_failed(how):
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncloop.run_workers(cancel_itself, workers=2, how=how)
    assert list(map(type, caught.value.exceptions)) == [asyncio.CancelledError]


def test_stop_sets_the_event_of_all(how):
    assert asyncloop.run_workers(stop, workers=3, how=how) == [0, 1, 2]


def test_stop_of_a_worker_that_has_ended_is_ignored():
    worker, _ = asyncloop.run_workers(stop_late, workers=2, how="threads")
    worker.stop()
    assert repr(worker) == "<Worker 0 of 2, threads>"


def test_threads_share_objects_and_see_the_context():
    value = object()
    seen = []

    async def main(worker):
        seen.append((value, variable.get()))
        variable.set("changed")

    token = variable.set("set")
    assert asyncloop.run_workers(main, workers=2, how="threads") == [None, None]
    assert seen == [(value, "set")] * 2 and variable.get() == "set"
    variable.reset(token)


@pytest.mark.parametrize("how", SEPARATE)
def test_a_result_that_cannot_be_pickled_is_a_failure(how):
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(give_lock, workers=1, how=how)
    assert "cannot be handed over" in str(caught.value.exceptions[0])


@pytest.mark.parametrize("how", SEPARATE)
def test_an_exception_that_cannot_be_pickled_is_told_about(how):
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(fail_unfit, workers=1, how=how)
    (failure,) = caught.value.exceptions
    assert "UnfitError: 1 cannot be handed over" in str(failure)
    assert "raise UnfitError(1, 2)" in failure.__notes__[0]


def test_a_process_that_dies_is_a_failure():
    with pytest.raises(ExceptionGroup) as caught:
        asyncloop.run_workers(die, workers=2, how="processes")
    assert "by signal 9" in str(caught.value.exceptions[0])


def test_a_thread_that_does_not_start_is_a_failure(monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "worker-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def main(worker):
        await asyncio.sleep(100)

    with pytest.raises(ExceptionGroup, match="1 of 3 workers failed"):
        asyncloop.run_workers(main, workers=3, how="threads")


def test_the_number_of_workers_is_that_of_the_cores(monkeypatch):
    monkeypatch.setattr(_workers, "_count_cores", lambda: 3)
    assert len(asyncloop.run_workers(functools.partial(give, 1), how="threads")) == 3


def test_the_cores_are_those_that_the_process_may_use():
    assert _workers._count_cores() == len(os.sched_getaffinity(0))


def test_auto_takes_threads_only_without_a_gil():
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert _workers._check(describe, 1, "auto")[1] == ("processes" if has_gil else "threads")


@pytest.mark.parametrize("workers", [0, -1])
def test_less_than_one_worker_is_refused(workers):
    with pytest.raises(ValueError, match=f"at least 1, not {workers}"):
        asyncloop.run_workers(describe, workers=workers)


@pytest.mark.parametrize("main", [None, print, lambda worker: None, functools.partial(print)])
def test_main_must_be_a_coroutine_function(main):
    with pytest.raises(TypeError, match="must be a coroutine function"):
        asyncloop.run_workers(main)


def test_main_may_be_an_object_that_is_called_like_one():
    class Main:
        async def __call__(self, worker):
            return worker.number

    assert asyncloop.run_workers(Main(), workers=2, how="threads") == [0, 1]


def test_an_unknown_way_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="how='fibers' is not available on this Python, which has 'auto'") as caught:
        asyncloop.run_workers(describe, how="fibers")
    assert all(repr(how) in str(caught.value) for how in WAYS)
    assert ("interpreters" in WAYS) == (sys.version_info >= (3, 14))


@pytest.mark.parametrize("how", SEPARATE)
def test_a_main_without_a_name_is_refused_where_it_is_imported(how):
    async def main(worker):
        pass

    with pytest.raises(TypeError, match="must be found by its name"):
        asyncloop.run_workers(main, how=how)


def test_a_running_loop_is_refused():
    async def run():
        asyncloop.run_workers(describe)

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        asyncloop.run(run())


def test_handlers_of_the_program_stay():
    def handler(sig, frame):
        pass

    async def main(worker):
        return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    taken = asyncloop.run_workers(main, workers=1, how="threads")[0]
    assert taken[0] not in (signal.SIG_DFL, handler) and taken[1] is not before
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == (signal.SIG_DFL, before)
    signal.signal(signal.SIGTERM, handler)
    try:
        assert asyncloop.run_workers(main, workers=1, how="threads")[0][0] is handler
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_outside_of_the_main_thread_there_are_no_handlers():
    async def main(worker):
        return signal.getsignal(signal.SIGTERM)

    results = []
    thread = threading.Thread(target=lambda: results.extend(asyncloop.run_workers(main, workers=1, how="threads")))
    thread.start()
    thread.join(30)
    assert results == [signal.SIG_DFL]


PROGRAM = """
import asyncio, os, sys, time
import asyncloop

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def wait(worker):
    say("ready")
    try:
        await asyncio.sleep(100)
    finally:
        say("cancelled", worker.number, worker.stopping.is_set())

async def return_(worker):
    say("ready")
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        return worker.number

async def go_on(worker):
    say("ready")
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        pass
    try:
        say("going on")
        await asyncio.sleep(100)
    finally:
        say("left", worker.number)

async def block(worker):
    say("ready")
    time.sleep(100)

if __name__ == "__main__":
    say(asyncloop.run_workers(globals()[sys.argv[1]], workers=2, how=sys.argv[2]))
"""


class Program:
    """PROGRAM, as the leader of a process group: a terminal sends SIGINT to all of these."""

    def __init__(self, path, main, how):
        path.write_text(PROGRAM)
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, path, main, how],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
            start_new_session=True,
        )
        self.expect("ready", "ready")

    def expect(self, *lines):
        assert sorted(self.process.stdout.readline().strip() for _ in lines) == sorted(lines)

    def signal_group(self, sig):
        os.killpg(self.process.pid, sig)

    def end(self):
        """-> what it has printed, its exit status."""
        output = sorted(self.process.stdout.read().splitlines())
        return output, self.process.wait(60)

    def kill(self):
        self.process.stdout.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(60)


@pytest.fixture
def start(tmp_path):
    programs = []

    def start(main, how):
        programs.append(Program(tmp_path / "program.py", main, how))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_signal_cancels_main_in_all_workers(start, how, sig, status):
    program = start("wait", how)
    program.signal_group(sig)
    assert program.end() == (["cancelled 0 True", "cancelled 1 True"], status)


def test_a_signal_that_comes_while_nobody_runs_python_code_is_not_missed(script):
    """The main thread waits, and another one gets the signal, which interrupts no wait."""
    done = script(
        """
        import os, signal
        import asyncloop

        async def wait(worker):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)
            print("missed")

        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        try:
            asyncloop.run_workers(wait, workers=1, how="threads")
        except SystemExit as exc:
            print(exc.code, signal.set_wakeup_fd(-1))
        """,
        names=False,
    )
    assert done.stdout == "143 -1\n"


def test_a_signal_to_the_parent_alone_is_enough(start):
    program = start("wait", "processes")
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == (["cancelled 0 True", "cancelled 1 True"], 143)


def test_a_main_that_returns_after_a_signal_has_a_result(start, how):
    program = start("return_", how)
    program.signal_group(signal.SIGTERM)
    assert program.end() == (["[0, 1]"], 0)


def test_a_second_signal_interrupts_the_loops(start, how):
    program = start("go_on", how)
    program.signal_group(signal.SIGINT)
    program.expect("going on", "going on")
    program.signal_group(signal.SIGINT)
    assert program.end() == (["left 0", "left 1"], -signal.SIGINT)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_more_signals_end_workers_that_block(start, how):
    """One is enough for a loop, two interrupt a process, three leave a thread."""
    program = start("block", how)
    begun = time.monotonic()
    while program.process.poll() is None and time.monotonic() < begun + 50:
        try:
            program.signal_group(signal.SIGINT)
        except ProcessLookupError:
            pass
        time.sleep(0.1)
    assert program.end() == ([], -signal.SIGINT)


def test_processes_do_not_outlive_their_parent(start):
    program = start("wait", "processes")
    program.process.kill()
    assert program.end() == (["cancelled 0 True", "cancelled 1 True"], -signal.SIGKILL)
