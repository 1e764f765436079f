"""The wakeup descriptor that a program had set: asyncio forgets it, here it comes back."""

import signal
import socket

import pytest

pytestmark = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@pytest.fixture
def wakeup():
    """The number of a wakeup descriptor that the program has set."""
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        before = signal.set_wakeup_fd(a.fileno())
        yield a.fileno()
        signal.set_wakeup_fd(before)


def current():
    fd = signal.set_wakeup_fd(-1)
    if fd != -1:
        signal.set_wakeup_fd(fd)
    return fd


def test_comes_back_with_the_last_handler(loop, wakeup):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    assert current() != wakeup
    loop.remove_signal_handler(signal.SIGUSR1)
    assert current() != wakeup
    loop.remove_signal_handler(signal.SIGUSR2)
    assert current() == wakeup


def test_comes_back_when_the_loop_is_closed(loop, wakeup):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert current() == wakeup


def test_comes_back_when_nothing_could_be_handled(loop, wakeup):
    with pytest.raises(RuntimeError):
        loop.add_signal_handler(signal.SIGKILL, print)
    assert current() == wakeup


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_comes_back_after_two_loops(loop_factory, wakeup, order):
    loops = [loop_factory(), loop_factory()]
    loops[0].add_signal_handler(signal.SIGUSR1, print)
    loops[1].add_signal_handler(signal.SIGUSR2, print)
    for i in order:
        loops[i].close()
    assert current() == wakeup


def test_set_in_the_meantime_stays(loop, wakeup):
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        loop.add_signal_handler(signal.SIGUSR1, print)
        signal.set_wakeup_fd(a.fileno())
        loop.remove_signal_handler(signal.SIGUSR1)
        assert current() == a.fileno()


def test_closed_in_the_meantime_is_forgotten(loop):
    a, b = socket.socketpair()
    a.setblocking(False)
    before = signal.set_wakeup_fd(a.fileno())
    try:
        loop.add_signal_handler(signal.SIGUSR1, print)
        a.close()
        b.close()
        loop.remove_signal_handler(signal.SIGUSR1)
        assert current() == -1
    finally:
        signal.set_wakeup_fd(before)
