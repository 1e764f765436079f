"""run_workers(): a loop for each core, in threads, interpreters or processes.

    run_workers() <--- socket pair ---> worker 0: thread, interpreter or process, with a loop that runs main(worker)
         |        <--- socket pair ---> worker 1: ...
         `--- SIGINT, SIGTERM

Each worker has a socket, whichever way it runs. The parent sends it commands, one byte each, which a reader of the
worker's loop carries out. The worker sends back _STOP to have all workers stopped. The end of the stream tells the
parent that the worker has ended, even if its process was killed, and tells the worker that the parent has gone.
"""

import asyncio
import contextlib
import contextvars
import functools
import importlib.util
import inspect
import operator
import os
import pickle
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._loop import Loop

if TYPE_CHECKING:
    # Imported where it is needed: it takes longer than all of asyncloop.
    from multiprocessing.connection import Connection

_T = TypeVar("_T")

# Commands.
_STOP = b"s"  # set worker.stopping
_CANCEL = b"c"  # set worker.stopping, cancel main
_INTERRUPT = b"k"  # raise KeyboardInterrupt in the loop


class Worker:
    """What main() is told of the worker that runs it.

    number: from 0 to workers - 1.
    workers: how many there are.
    how: "threads", "interpreters" or "processes".
    stopping: is set when the workers shall stop: stop() was called, or main is being cancelled.
    """

    def __init__(self, number: int, workers: int, how: str, control: socket.socket) -> None:
        self.number = number
        self.workers = workers
        self.how = how
        self.stopping = asyncio.Event()
        self._control = control

    def __repr__(self) -> str:
        return f"<Worker {self.number} of {self.workers}, {self.how}>"

    def stop(self) -> None:
        """Ask all workers to stop: set the event `stopping` of each, in its own loop. Any thread may call this.

        Whoever does not wait for that event goes on.
        """
        with contextlib.suppress(OSError):  # it has ended
            self._control.send(_STOP)


class _Outcome:
    """How a worker ended: `error`, or if that is None, `result`."""

    def __init__(self, result: Any = None, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error

    def dump(self) -> bytes:
        """Return it as bytes for another interpreter; what cannot be pickled becomes an error that says so."""
        error = self.error
        if error is not None:
            # A traceback cannot be pickled.
            error.add_note("".join(traceback.format_exception(error)).rstrip())
        try:
            dumped = pickle.dumps((self.result, error))
            pickle.loads(dumped)  # that of an exception may fail
        except Exception as exc:
            what = f"the result {self.result!r}" if error is None else f"{type(error).__qualname__}: {error}"
            unfit = RuntimeError(f"{what} cannot be handed over: {exc}")
            for note in getattr(error, "__notes__", ()):
                unfit.add_note(note)
            dumped = pickle.dumps((None, unfit))
        return dumped

    @classmethod
    def load(cls, dumped: bytes) -> "_Outcome":
        return cls(*pickle.loads(dumped))


def _work(main: Callable[[Worker], Coroutine[Any, Any, Any]], worker: Worker) -> _Outcome:
    """Run main(worker) in a new loop of this thread. -> how it ended."""
    task: asyncio.Task[Any] | None = None
    control = worker._control

    async def run_main() -> Any:
        nonlocal task
        task = asyncio.current_task()
        return await main(worker)

    def obey() -> None:
        try:
            commands = control.recv(100, socket.MSG_DONTWAIT)
        except BlockingIOError:  # the handler of SIGINT has read them
            return
        if not commands:  # the parent has gone
            loop.remove_reader(control)
            commands = _CANCEL
        worker.stopping.set()
        if _CANCEL in commands and task is not None:  # it begins before the loop polls
            task.cancel()
        if _INTERRUPT in commands:
            raise KeyboardInterrupt

    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            loop = runner.get_loop()
            # It stays until the loop is closed, so that what outlives main can be interrupted, too.
            loop.add_reader(control, obey)
            return _Outcome(runner.run(run_main()))
    except BaseException as exc:
        return _Outcome(error=exc)


def _work_in_interpreter(preparation: bytes, number: int, workers: int, fd: int) -> bytes:
    """What a subinterpreter runs. -> a dumped _Outcome."""
    from multiprocessing import spawn

    with socket.socket(fileno=os.dup(fd)) as control:
        try:
            data, pickled_main = pickle.loads(preparation)
            spawn.prepare(data)
            worker = Worker(number, workers, "interpreters", control)
            outcome = _work(pickle.loads(pickled_main), worker)
        except BaseException as exc:
            outcome = _Outcome(error=exc)
        return outcome.dump()


def _work_in_process(
    pickled_main: bytes, number: int, workers: int, control: socket.socket, outcomes: "Connection"
) -> None:
    """What a child process runs; it sends a dumped _Outcome."""

    def interrupt(sig: int, frame: FrameType | None) -> None:
        # A terminal sends SIGINT to this process, too; only what the parent has asked for counts. Nothing does when
        # main has ended and the socket is closed.
        with contextlib.suppress(OSError):
            if _INTERRUPT in control.recv(100, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                control.recv(100)
                raise KeyboardInterrupt

    def ignore(sig: int, frame: FrameType | None) -> None:
        pass

    # Not SIG_IGN, which programs that main starts would inherit.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, ignore)
    with control:
        try:
            worker = Worker(number, workers, "processes", control)
            outcome = _work(pickle.loads(pickled_main), worker)
        except BaseException as exc:
            outcome = _Outcome(error=exc)
    # The parent reads the outcome when the control socket has been closed.
    with outcomes, contextlib.suppress(BrokenPipeError):  # the parent has gone
        outcomes.send_bytes(outcome.dump())


class _InThread:
    """A worker that is a thread of this process; run() returns its outcome."""

    def __init__(self, run: Callable[[], _Outcome], number: int, control: socket.socket) -> None:
        self._run = run
        self._control = control
        self._outcome = _Outcome()
        # A daemon, so that a thread that blocks does not keep the program from ending after a third Ctrl-C.
        self._thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            control.close()
            raise

    def _work(self) -> None:
        with self._control:
            try:
                self._outcome = self._run()
            except BaseException as exc:
                self._outcome = _Outcome(error=exc)

    def interrupt(self) -> None:
        pass  # the loop does that

    def kill(self) -> None:
        pass  # there is no way to

    def join(self) -> _Outcome:
        self._thread.join()
        return self._outcome


class _InProcess:
    """A worker that is a child process."""

    def __init__(self, pickled_main: bytes, number: int, workers: int, control: socket.socket) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._outcomes, theirs = context.Pipe(duplex=False)
        with theirs, control:
            self._process = context.Process(
                target=_work_in_process,
                args=(pickled_main, number, workers, control, theirs),
                name=f"worker-{number}",
            )
            try:
                self._process.start()
            except BaseException:
                self._outcomes.close()
                raise

    def interrupt(self) -> None:
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> _Outcome:
        with self._outcomes:
            try:
                outcome = _Outcome.load(self._outcomes.recv_bytes())
            except EOFError:
                outcome = None
            except Exception as exc:
                outcome = _Outcome(error=exc)
        self._process.join()
        if outcome is None:
            code = self._process.exitcode
            how = f"with exit code {code}" if code is None or code >= 0 else f"by signal {-code}"
            outcome = _Outcome(error=RuntimeError(f"the process has ended {how}, without a result"))
        return outcome


def _call_in_interpreter(preparation: bytes, path: list[str], number: int, workers: int, fd: int) -> _Outcome:
    """Run a worker in a new interpreter, with this thread."""
    from concurrent import interpreters  # type: ignore[attr-defined,unused-ignore]

    try:
        interpreter = interpreters.create()
        try:
            interpreter.exec(f"import sys; sys.path[:] = {path!r}")
            return _Outcome.load(interpreter.call(_work_in_interpreter, preparation, number, workers, fd))
        finally:
            interpreter.close()
    except BaseException as exc:
        return _Outcome(error=exc)


class _Crew:
    """All workers of one run_workers().

    It is used by one thread. A handler of signal.signal() runs in that thread, too, between any two lines of it.
    """

    def __init__(self, start: Callable[[int, socket.socket], _InThread | _InProcess], workers: int) -> None:
        self._start = start
        self._workers = workers
        self._controls: dict[int, socket.socket] = {}  # of those that have not ended
        self._running: dict[int, _InThread | _InProcess] = {}
        self._results: dict[int, Any] = {}
        self._failures: dict[int, BaseException] = {}
        self._is_cancelled = False
        self._signal = 0  # the first that came
        self._signals = 0

    def run(self, woken: socket.socket | None) -> list[Any]:
        """Start all workers and wait for them. `woken` can be read when a signal has come. -> their results."""
        try:
            with selectors.DefaultSelector() as selector:
                if woken is not None:
                    selector.register(woken, selectors.EVENT_READ)
                self._start_all(selector)
                while self._running:
                    for key, _ in selector.select():
                        if key.fileobj is woken:  # the handler has run by now
                            woken.recv(100)
                        else:
                            self._listen(key.data, selector)
        finally:
            # Only after an exception: a third signal, or that of another handler.
            for control in self._controls.values():
                control.close()  # which cancels main
            for worker in self._running.values():
                worker.kill()
        return self._finish()

    def _start_all(self, selector: selectors.BaseSelector) -> None:
        for number in range(self._workers):
            if self._is_cancelled:
                return
            ours, theirs = socket.socketpair()
            try:
                self._running[number] = self._start(number, theirs)
            except Exception as exc:
                ours.close()
                self._end(number, _Outcome(error=exc))
                continue
            ours.setblocking(False)
            self._controls[number] = ours
            selector.register(ours, selectors.EVENT_READ, number)
            if self._is_cancelled:  # meanwhile
                self._send(number, _CANCEL)

    def _listen(self, number: int, selector: selectors.BaseSelector) -> None:
        """Read what a worker has sent: it asks to stop all, or has ended."""
        control = self._controls[number]
        try:
            data = control.recv(100)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            for other in list(self._controls):
                self._send(other, _STOP)
            return
        selector.unregister(control)
        outcome = self._running[number].join()
        del self._controls[number], self._running[number]
        control.close()
        self._end(number, outcome)

    def _end(self, number: int, outcome: _Outcome) -> None:
        error = outcome.error
        if error is None:
            self._results[number] = outcome.result
            return
        is_ours = (self._is_cancelled and isinstance(error, asyncio.CancelledError)) or (
            self._signals > 1 and isinstance(error, KeyboardInterrupt)
        )
        if not is_ours:
            error.add_note(f"(worker {number})")
            self._failures[number] = error
        self._cancel()

    def _send(self, number: int, command: bytes) -> None:
        # A worker that has 100,000 commands to read does not need another one.
        with contextlib.suppress(OSError, KeyError):
            self._controls[number].send(command)

    def _cancel(self) -> None:
        """Cancel main in all workers, once."""
        if not self._is_cancelled:
            self._is_cancelled = True
            for number in list(self._controls):
                self._send(number, _CANCEL)

    def _on_signal(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._signal = sig
            self._cancel()
        elif self._signals == 2:
            for number, worker in list(self._running.items()):
                self._send(number, _INTERRUPT)
                worker.interrupt()
        else:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def signals(self) -> Iterator[socket.socket | None]:
        """Handle SIGINT and SIGTERM for the workers, where the program does not. -> a socket that is told of signals.

        A signal may come while select() gives the GIL away, before it waits. Python would run the handler behind the
        wait, so the signal also has to end the wait: by a wakeup descriptor, unless the program has one.
        """
        if threading.current_thread() is not threading.main_thread():
            yield None
            return
        ours: list[tuple[signal.Signals, Any]] = []
        woken, wakes = socket.socketpair()
        with woken, wakes:
            woken.setblocking(False)
            wakes.setblocking(False)
            before = 0
            with contextlib.suppress(ValueError):  # not the thread that Python handles signals in
                for sig, default in (
                    (signal.SIGINT, signal.default_int_handler),
                    (signal.SIGTERM, signal.SIG_DFL),
                ):
                    if signal.getsignal(sig) is default:
                        signal.signal(sig, self._on_signal)
                        ours.append((sig, default))
                before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
                if before != -1:
                    signal.set_wakeup_fd(before)
            try:
                yield woken
            finally:
                if before == -1:
                    signal.set_wakeup_fd(-1)
                for sig, default in ours:
                    if signal.getsignal(sig) == self._on_signal:
                        signal.signal(sig, default)

    def _finish(self) -> list[Any]:
        """All have ended: return the results, or raise."""
        failures = [error for _, error in sorted(self._failures.items(), key=operator.itemgetter(0))]
        for error in failures:
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise error
        if failures:
            raise BaseExceptionGroup(f"{len(failures)} of {self._workers} workers failed", failures)
        if len(self._results) < self._workers:
            # What we have done to a worker is no failure, so it was a signal.
            if self._signal == signal.SIGTERM:
                raise SystemExit(128 + self._signal)
            raise KeyboardInterrupt
        return [result for _, result in sorted(self._results.items(), key=operator.itemgetter(0))]


def _available() -> list[str]:
    """Return the ways that this Python has. The first is for "auto"."""
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    ways = ["processes", "threads"] if has_gil else ["threads", "processes"]
    if sys.version_info >= (3, 14) and importlib.util.find_spec("concurrent.interpreters") is not None:
        ways.append("interpreters")
    return ways


def _count_cores() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(main: object, workers: int | None, how: str) -> tuple[int, str]:
    """Check the arguments of run_workers(). -> how many workers, and which way."""
    function = functools.partial(main).func if callable(main) else main  # of partials of partials, too
    # As a class that defines __call__ has it.
    call = getattr(type(function), "__call__", None)  # noqa: B004
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)):
        raise TypeError(f"main must be a coroutine function, not {main!r}")
    count = _count_cores() if workers is None else operator.index(workers)
    if count < 1:
        raise ValueError(f"workers must be at least 1, not {count}")
    ways = _available()
    if how == "auto":
        how = ways[0]
    if how not in ways:
        known = ", ".join(repr(way) for way in ["auto", *ways])
        raise ValueError(f"how={how!r} is not available on this Python, which has {known}")
    return count, how


def _pickle(main: object, how: str) -> bytes:
    try:
        return pickle.dumps(main)
    except Exception as exc:
        raise TypeError(f"with how={how!r} main must be found by its name in a module, which {main!r} is not") from exc


def _starter(main: Callable[[Worker], Coroutine[Any, Any, Any]], workers: int, how: str) -> Any:
    """Return what starts a worker, from its number and its socket, which it takes over."""
    if how == "processes":
        pickled_main = _pickle(main, how)
        return lambda number, control: _InProcess(pickled_main, number, workers, control)

    if how == "interpreters":
        from multiprocessing import spawn

        # What multiprocessing tells a child process of sys.argv and of the file that is __main__.
        data = {
            key: value
            for key, value in spawn.get_preparation_data("worker").items()
            if key in ("sys_path", "sys_argv", "init_main_from_name", "init_main_from_path")
        }
        preparation = pickle.dumps((data, _pickle(main, how)))
        path = list(sys.path)

        def start_interpreter(number: int, control: socket.socket) -> _InThread:
            call = functools.partial(_call_in_interpreter, preparation, path, number, workers, control.fileno())
            return _InThread(call, number, control)

        return start_interpreter

    def start_thread(number: int, control: socket.socket) -> _InThread:
        worker = Worker(number, workers, how, control)
        context = contextvars.copy_context()
        return _InThread(functools.partial(context.run, _work, main, worker), number, control)

    return start_thread


def run_workers(
    main: Callable[[Worker], Coroutine[Any, Any, _T]], *, workers: int | None = None, how: str = "auto"
) -> list[_T]:
    """Run main(worker) in several workers at once, each with an asyncloop.Loop of its own, and wait for all.

    main: a coroutine function. It is called in each worker, with a Worker that tells its number.
    workers: how many; None is one for each core that this process may use.
    how: "threads", which only a free-threaded Python runs at once; "interpreters", each with a GIL of its own (from
        Python 3.14 on); "processes", which multiprocessing spawns; "auto" is threads on a free-threaded Python and
        processes otherwise. Interpreters and processes import main by its name, and results are pickled.

    Returns the list of what main returned, in the order of numbers.

    If main raises in one worker, it is cancelled in the others, and an ExceptionGroup of all failures is raised;
    SystemExit and KeyboardInterrupt are raised themselves.

    SIGINT and SIGTERM cancel main in all workers, if this is the main thread and the program has no handlers of its own
    for them. Then run_workers() raises KeyboardInterrupt after SIGINT and SystemExit(143) after SIGTERM; if each main
    catches the CancelledError and returns, it returns the results. A second signal raises KeyboardInterrupt in all
    loops. A third one raises it here, and does not wait for threads that block.

    Raises TypeError if main is no coroutine function, or if it cannot be imported by name where it has to be;
    ValueError for less than one worker and for a way that is unknown or that this Python does not have; RuntimeError
    when called from a running event loop.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("run_workers() cannot be called from a running event loop")
    count, how = _check(main, workers, how)
    crew = _Crew(_starter(main, count, how), count)
    with crew.signals() as woken:
        return cast("list[_T]", crew.run(woken))
