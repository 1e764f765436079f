"""Processes of this program's own."""

import contextlib
import multiprocessing
import signal

# Not fork: this program has threads and a running loop, and a fork would copy them in the middle of their work.
SPAWN = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def deaf_to_ctrl_c():
    """Make the processes started inside ignore Ctrl-C, from their first moment on.

    The terminal sends it to all of them at once. One is enough: it ends the others in good order.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a new process inherits
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
