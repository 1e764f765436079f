"""Signal handlers, and what Ctrl-C does to an idle loop, a busy loop and a Runner."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading

import pytest


@pytest.fixture
def eventually(run):
    """Turns the loop until a condition holds."""

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.001)

    return lambda condition: run(until(condition))


@pytest.fixture(autouse=True)
def signals_as_before():
    """No test leaves a handler or a wakeup descriptor behind."""
    before = {sig: signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    yield
    after = {sig: signal.getsignal(sig) for sig in before}
    for sig, handler in before.items():
        signal.signal(sig, handler)
    assert after == before
    assert signal.set_wakeup_fd(-1) == -1


class TestHandlers:
    def test_run_in_the_loop(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, lambda: calls.append(asyncio.get_running_loop() is loop))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert calls == []
        eventually(lambda: calls)
        assert calls == [True]
        assert loop.remove_signal_handler(signal.SIGUSR1) is True

    def test_get_their_arguments(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, lambda *args: calls.append(args), 1, "two")
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: calls)
        assert calls == [(1, "two")]
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_wake_an_idle_loop(self, loop):
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        loop.add_signal_handler(signal.SIGUSR1, loop.stop)
        timer.start()
        loop.run_forever()
        timer.join()
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_run_at_every_signal(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        for i in range(5):
            os.kill(os.getpid(), signal.SIGUSR1)
            eventually(lambda i=i: len(calls) == i + 1)
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_run_in_the_order_of_the_signals(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        loop.add_signal_handler(signal.SIGUSR2, calls.append, 2)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        eventually(lambda: len(calls) == 3)
        assert calls == [2, 1, 2]
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR2)

    def test_that_come_while_the_loop_is_stopped_run_later(self, loop, run, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
        run(asyncio.sleep(0))
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: calls)
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_replace_each_other(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, calls.append, "first")
        loop.add_signal_handler(signal.SIGUSR1, calls.append, "second")
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: calls)
        assert calls == ["second"]
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop.remove_signal_handler(signal.SIGUSR1) is False

    def test_failing_are_reported(self, loop, eventually):
        def fail():
            raise ZeroDivisionError

        loop.add_signal_handler(signal.SIGUSR1, fail)
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: loop.unhandled)
        [report] = loop.unhandled
        loop.unhandled.clear()
        assert isinstance(report["exception"], ZeroDivisionError)
        assert report["message"].startswith("Exception in callback ")
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_may_remove_themselves(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGUSR1, lambda: calls.append(loop.remove_signal_handler(signal.SIGUSR1)))
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: calls)
        assert calls == [True]

    def test_are_set_by_number_too(self, loop, eventually):
        calls = []
        loop.add_signal_handler(int(signal.SIGUSR1), calls.append, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        eventually(lambda: calls)
        assert loop.remove_signal_handler(signal.SIGUSR1) is True

    def test_for_sigint_take_the_place_of_keyboard_interrupt(self, loop, eventually):
        calls = []
        loop.add_signal_handler(signal.SIGINT, calls.append, "interrupted")
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: calls)
        assert loop.remove_signal_handler(signal.SIGINT) is True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            eventually(lambda: False)

    def test_interrupting_leave_the_loop(self, loop, run):
        def interrupt():
            raise KeyboardInterrupt

        loop.add_signal_handler(signal.SIGUSR1, interrupt)
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.sleep(5))
        run(asyncio.sleep(0))
        loop.remove_signal_handler(signal.SIGUSR1)


class TestRemoving:
    def test_gives_back_the_default(self, loop):
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.remove_signal_handler(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

    def test_for_sigint_gives_back_keyboard_interrupt(self, loop):
        loop.add_signal_handler(signal.SIGINT, print)
        loop.remove_signal_handler(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_without_a_handler_returns_false(self, loop):
        assert loop.remove_signal_handler(signal.SIGUSR1) is False

    def test_happens_when_the_loop_is_closed(self, loop):
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.add_signal_handler(signal.SIGUSR2, print)
        loop.close()
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


class TestRefusals:
    def test_coroutine_functions(self, loop):
        async def handler():
            pass

        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, handler)

    def test_coroutines(self, loop):
        async def handler():
            pass

        coro = handler()
        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, coro)
        coro.close()

    @pytest.mark.parametrize("method", ["add_signal_handler", "remove_signal_handler"])
    @pytest.mark.parametrize("wrong", [-1, 0, 1000])
    def test_numbers_that_are_no_signal(self, loop, method, wrong):
        args = (print,) if method.startswith("add") else ()
        with pytest.raises(ValueError, match=f"invalid signal number {wrong}"):
            getattr(loop, method)(wrong, *args)

    @pytest.mark.parametrize("method", ["add_signal_handler", "remove_signal_handler"])
    @pytest.mark.parametrize("wrong", ["SIGINT", None, 1.5])
    def test_types_other_than_int(self, loop, method, wrong):
        args = (print,) if method.startswith("add") else ()
        with pytest.raises(TypeError, match=re.escape(f"sig must be an int, not {wrong!r}")):
            getattr(loop, method)(wrong, *args)

    @pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
    def test_signals_that_cannot_be_caught(self, loop, sig):
        with pytest.raises(RuntimeError, match=f"sig {sig} cannot be caught"):
            loop.add_signal_handler(sig, print)
        assert loop.remove_signal_handler(sig) is False

    def test_a_closed_loop(self, loop):
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.add_signal_handler(signal.SIGUSR1, print)

    def test_another_thread_than_the_main_one(self, loop):
        errors = []

        def add():
            try:
                loop.add_signal_handler(signal.SIGUSR1, print)
            except Exception as exc:
                errors.append(exc)

        thread = threading.Thread(target=add)
        thread.start()
        thread.join()
        assert [type(error) for error in errors] == [RuntimeError]
        assert "set_wakeup_fd only works in main thread" in str(errors[0])


def program(kind, source, **options):
    """Runs a program whose `new_event_loop` is of the kind under test, in a process of its own."""
    if kind == "asyncio":
        prelude = "from asyncio import SelectorEventLoop as new_event_loop\n"
    else:
        prelude = "from asyncloop import new_event_loop\n"
    prelude += "import asyncio, os, signal, sys, threading, time\n"
    prelude += textwrap.dedent("""
        def interrupt_after(seconds):
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
            timer.daemon = True
            timer.start()
    """)
    return subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **options,
    )


class TestKeyboardInterrupt:
    @pytest.mark.parametrize(
        "body",
        [
            "await asyncio.sleep(15)",
            "await asyncio.get_running_loop().create_future()",
            "while True: await asyncio.sleep(0)",
            "while True: pass",
            "time.sleep(15)",
        ],
        ids=["idle with a timer", "idle without", "busy turning", "busy in a callback", "blocked in a callback"],
    )
    def test_leaves_the_loop_which_goes_on_afterwards(self, kind, body):
        done = program(
            kind,
            f"""
            async def main():
                {body}

            loop = new_event_loop()
            interrupt_after(0.05)
            task = loop.create_task(main())
            try:
                loop.run_until_complete(task)
            except KeyboardInterrupt:
                print("interrupted")
            if task.done():
                task.exception()
            # Not awaited again: where stock is hit between two steps of the task, it never takes the next one.
            print(loop.run_until_complete(asyncio.sleep(0.001, "goes on")))
            loop.close()
            """,
        )
        assert done.stdout.split("\n") == ["interrupted", "goes on", ""]
        assert done.returncode == 0

    @pytest.mark.parametrize("what", ["functions", "methods", "partials", "timers", "tasks", "done callbacks"])
    def test_loses_no_callback_behind_a_function_in_c(self, kind, what):
        """Such a function handles no signal: it is pending when the next callback is due."""
        done = program(
            kind,
            f"""
            import ctypes, functools

            class Noting:
                def note(self, i):
                    seen.append(i)

            def note(i):
                seen.append(i)

            async def step(i):
                seen.append(i)

            seen = []
            loop = new_event_loop()
            hit = ctypes.CDLL(None)["raise"], signal.SIGINT
            if {what!r} == "timers":
                past = loop.time() - 1
                loop.call_at(past, *hit)
                for i in range(3):
                    loop.call_at(past + (i + 1) / 1000, note, i)
            elif {what!r} == "done callbacks":
                futures = [loop.create_future() for _ in range(3)]
                loop.call_soon(*hit)
                for future in futures:
                    future.add_done_callback(lambda future: seen.append(future.result()))
                    future.set_result(futures.index(future))
            else:
                loop.call_soon(*hit)
                for i in range(3):
                    if {what!r} == "tasks":
                        loop.create_task(step(i))
                    elif {what!r} == "partials":
                        loop.call_soon(functools.partial(note, i))
                    else:
                        loop.call_soon(Noting().note if {what!r} == "methods" else note, i)
            try:
                loop.run_forever()
            except KeyboardInterrupt:
                print("interrupted", seen)
            loop.call_soon(loop.stop)
            loop.run_forever()
            print(seen)
            loop.close()
            """,
        )
        assert done.stdout.splitlines() == ["interrupted []", "[0, 1, 2]"], done.stderr

    def test_leaves_run_forever(self, kind):
        done = program(
            kind,
            """
            loop = new_event_loop()
            interrupt_after(0.05)
            try:
                loop.run_forever()
            except KeyboardInterrupt:
                print("interrupted")
            print(loop.is_running())
            loop.close()
            """,
        )
        assert (done.stdout, done.stderr) == ("interrupted\nFalse\n", "")

    def test_ends_a_program_that_does_not_expect_it(self, kind):
        done = program(
            kind,
            """
            interrupt_after(0.05)
            loop = new_event_loop()
            loop.run_until_complete(asyncio.sleep(15))
            """,
        )
        assert done.returncode == -signal.SIGINT
        assert "KeyboardInterrupt" in done.stderr.splitlines()


class TestRunner:
    def test_cancels_the_main_task(self, kind):
        done = program(
            kind,
            """
            async def main():
                try:
                    await asyncio.sleep(15)
                except asyncio.CancelledError:
                    print("cancelled")
                    raise

            interrupt_after(0.05)
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(main())
            except KeyboardInterrupt:
                print("interrupted")
            """,
        )
        assert (done.stdout, done.stderr) == ("cancelled\ninterrupted\n", "")

    def test_lets_the_main_task_finish_all_the_same(self, kind):
        done = program(
            kind,
            """
            async def main():
                try:
                    await asyncio.sleep(15)
                except asyncio.CancelledError:
                    return "finished"

            interrupt_after(0.05)
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                print(runner.run(main()))
            """,
        )
        assert (done.stdout, done.stderr) == ("finished\n", "")

    def test_interrupts_at_once_the_second_time(self, kind):
        done = program(
            kind,
            """
            async def main():
                try:
                    await asyncio.sleep(15)
                except asyncio.CancelledError:
                    interrupt_after(0.05)
                    time.sleep(15)

            interrupt_after(0.05)
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(main())
            except KeyboardInterrupt:
                print("interrupted")
            """,
        )
        assert done.stdout == "interrupted\n"

    def test_interrupts_a_busy_main_task(self, kind):
        done = program(
            kind,
            """
            async def main():
                try:
                    while True:
                        await asyncio.sleep(0)
                finally:
                    print("cancelled")

            interrupt_after(0.05)
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(main())
            except KeyboardInterrupt:
                print("interrupted")
            """,
        )
        assert (done.stdout, done.stderr) == ("cancelled\ninterrupted\n", "")

    def test_gives_back_the_handler(self, kind):
        done = program(
            kind,
            """
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(asyncio.sleep(0))
                runner.run(asyncio.sleep(0))
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            """,
        )
        assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_child_forked_from_a_running_loop_keeps_its_signals_to_itself(kind):
    done = program(
        kind,
        """
        calls = []
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, calls.append, 1)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                os.kill(os.getpid(), signal.SIGUSR1)
                os._exit(0)
            os.waitpid(pid, 0)
            await asyncio.sleep(0.02)
            print(calls)
            loop.remove_signal_handler(signal.SIGUSR1)

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert done.stdout == "[]\n"
