"""Signal handlers of a loop that another thread than the main one removes, or whose loop it closes; and what is told of
them. Programs of their own, for what CPython writes the numbers to is one for the whole process."""

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import asyncio, os, signal, sys, tempfile, threading
if sys.argv[1] == "asyncio":
    loop = asyncio.SelectorEventLoop()
else:
    import asyncloop
    loop = asyncloop.new_event_loop()

def in_thread(call, *args):
    def run():
        try:
            call(*args)
        except ValueError as exc:
            print(type(exc).__name__)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
"""


@pytest.fixture
def output(kind):
    """output(program) -> what it prints; it is run on the kind of loop under test, which it finds as `loop`."""

    def output(program):
        command = [sys.executable, "-c", BEGIN + textwrap.dedent(program), kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return output


FILES = """
files = [tempfile.TemporaryFile(buffering=0) for _ in range(8)]
for file in files:
    file.write(b"data")
os.kill(os.getpid(), signal.SIGUSR1)
for file in files:
    file.seek(0)
    assert file.read() == b"data"
"""


def test_removing_one_in_a_thread_does_not_misdirect_the_next_signal(output):
    program = "loop.add_signal_handler(signal.SIGUSR1, print)\nin_thread(loop.remove_signal_handler, signal.SIGUSR1)\n"
    assert output(program + FILES + "\nloop.close()") == "ValueError\n"


@pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio misdirects the signal
def test_closing_the_loop_in_a_thread_does_not_misdirect_the_next_signal(output):
    program = "loop.add_signal_handler(signal.SIGUSR1, print)\nin_thread(loop.close)\nassert loop.is_closed()\n"
    assert output(program + FILES) == "ValueError\n"


def test_closing_the_loop_in_a_thread_drops_its_timers(output):
    lines = output("""
        class Noisy:
            def __del__(self):
                print("dropped")

        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.call_later(1000, print, Noisy())
        in_thread(loop.close)
        print(loop.is_closed())
        signal.set_wakeup_fd(-1)
    """)
    # Without a GIL an object may be freed by the thread that made it, a little later.
    assert sorted(lines.split()) == ["True", "ValueError", "dropped"]


@pytest.mark.parametrize("kind", ["asyncloop"])
def test_another_loop_may_handle_signals_afterwards(output):
    assert (
        output("""
        loop.add_signal_handler(signal.SIGUSR1, print)
        in_thread(loop.close)
        loop = asyncloop.new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, loop.stop)
        loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        loop.run_forever()
        loop.close()
        print(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)
        """)
        == "ValueError\nTrue\n"
    )


def test_a_report_has_the_traceback_of_adding_the_handler(output):
    assert (
        output("""
        def failing():
            1 / 0

        def adder(handler):
            loop.add_signal_handler(signal.SIGUSR1, handler)
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.run_until_complete(asyncio.sleep(0.01))

        def report(loop, context):
            names = [frame.name for frame in context["source_traceback"]]
            print(context["message"].split(" at ")[0], type(context["exception"]).__name__, *names[-2:])

        loop.set_debug(True)
        loop.set_exception_handler(report)
        adder(failing)
        adder(42)
        loop.close()
        """)
        == "Exception in callback failing() ZeroDivisionError adder add_signal_handler\n"
        "Exception in callback 42() TypeError adder add_signal_handler\n"
    )
