"""What the reactor does with descriptors that behave oddly: it neither spins, nor hangs, nor aborts."""

import asyncio
import os
import pty
import random
import resource
import select
import socket
import time

import pytest


@pytest.fixture
def eventually(run):
    """Turns the loop until a condition holds."""

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.001)

    return lambda condition: run(until(condition))


@pytest.fixture
def asleep(run):
    """asleep() -> the share of processor time that the loop takes while nothing happens."""

    def asleep():
        cpu, wall = time.process_time(), time.monotonic()
        run(asyncio.sleep(0.2))
        return (time.process_time() - cpu) / (time.monotonic() - wall)

    return asleep


class TestSleeping:
    """A loop that spins takes all of a processor; one that sleeps takes hardly any. The bound is far from both."""

    def test_loop_with_nothing_to_watch_sleeps(self, asleep):
        assert asleep() < 0.3

    def test_loop_with_a_quiet_descriptor_sleeps(self, loop, asleep):
        a, b = socket.socketpair()
        with a, b:
            loop.add_reader(a, print)
            assert asleep() < 0.3
            loop.remove_reader(a)

    def test_loop_with_a_closed_descriptor_sleeps(self, loop, asleep):
        a, b = socket.socketpair()
        loop.add_reader(a, print)
        fd = a.fileno()
        a.close()
        b.close()
        assert asleep() < 0.3
        loop.remove_reader(fd)

    def test_after_the_reader_of_a_ready_descriptor_is_removed(self, loop, run, asleep):
        a, b = socket.socketpair()
        with a, b:
            b.send(b"x")
            loop.add_reader(a, lambda: loop.remove_reader(a))
            run(asyncio.sleep(0))
            assert asleep() < 0.3

    def test_with_only_a_reader_while_the_descriptor_is_writable(self, loop, run, asleep):
        a, b = socket.socketpair()
        with a, b:
            loop.add_reader(a, print)
            loop.add_writer(a, lambda: loop.remove_writer(a))
            run(asyncio.sleep(0))
            assert asleep() < 0.3
            loop.remove_reader(a)


class TestKindsOfDescriptors:
    def test_fifo(self, loop, tmp_path, eventually):
        path = tmp_path / "fifo"
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(path, os.O_WRONLY)
        calls = []
        loop.add_reader(reading, lambda: calls.append(os.read(reading, 10)))
        os.write(writing, b"x")
        eventually(lambda: calls)
        assert calls == [b"x"]
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)

    def test_write_end_of_a_pipe_whose_reader_is_gone(self, loop, eventually):
        reading, writing = os.pipe()
        calls = []
        os.close(reading)
        loop.add_writer(writing, lambda: calls.append(loop.remove_writer(writing)))
        eventually(lambda: calls)
        os.close(writing)

    def test_terminal(self, loop, eventually):
        master, slave = pty.openpty()
        calls = []
        loop.add_reader(master, lambda: calls.append(os.read(master, 10)))
        os.write(slave, b"x")
        eventually(lambda: calls)
        assert calls == [b"x"]
        loop.remove_reader(master)
        os.close(slave)
        os.close(master)

    def test_another_epoll(self, loop, eventually):
        a, b = socket.socketpair()
        with a, b, select.epoll() as inner:
            inner.register(a, select.EPOLLIN)
            calls = []
            loop.add_reader(inner, lambda: calls.append(inner.poll(0)) or loop.remove_reader(inner))
            b.send(b"x")
            eventually(lambda: calls)
            assert calls == [[(a.fileno(), select.EPOLLIN)]]

    @pytest.mark.feature("epoll")
    @pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
    def test_device_that_is_always_ready(self, loop, name):
        fd = os.open(name, os.O_RDWR)
        with pytest.raises(PermissionError):
            loop.add_reader(fd, print)
        os.close(fd)

    def test_directory(self, loop, tmp_path):
        fd = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(PermissionError):
            loop.add_reader(fd, print)
        os.close(fd)

    def test_number_above_1023(self, loop, eventually):
        """select() could not watch it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 2000:
            pytest.skip("the limit on descriptors is below 2000")
        a, b = socket.socketpair()
        high = 1999
        os.dup2(a.fileno(), high)
        a.close()
        calls = []
        loop.add_reader(high, lambda: calls.append(os.read(high, 10)))
        b.send(b"x")
        eventually(lambda: calls)
        assert calls == [b"x"]
        loop.remove_reader(high)
        os.close(high)
        b.close()


class TestStaleDescriptors:
    def test_number_reused_by_another_kind_under_the_watch(self, loop, run):
        """The program replaces a watched socket by another under the same number, without a word."""
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        calls = []
        fd = a.detach()
        loop.add_reader(fd, lambda: calls.append(os.read(fd, 10)))
        os.dup2(c.fileno(), fd)
        b.close()
        run(asyncio.sleep(0.01))
        assert calls == []
        loop.remove_reader(fd)
        loop.add_reader(fd, lambda: calls.append(os.read(fd, 10)))
        d.send(b"new")
        run(asyncio.sleep(0.01))
        assert calls == [b"new"]
        loop.remove_reader(fd)
        os.close(fd)
        c.close()
        d.close()

    def test_other_descriptors_are_still_served(self, loop, eventually):
        pairs = [socket.socketpair() for _ in range(10)]
        calls = []
        for i, (a, _) in enumerate(pairs):
            loop.add_reader(a.fileno(), lambda i=i, a=a: calls.append((i, a.recv(10))))
        closed = [a.fileno() for a, _ in pairs[::2]]
        for a, b in pairs[::2]:
            a.close()
            b.close()
        for _, b in pairs[1::2]:
            b.send(b"x")
        eventually(lambda: len(calls) >= 5)
        assert sorted(calls) == [(i, b"x") for i in range(1, 10, 2)]
        for fd in closed:
            loop.remove_reader(fd)
        for a, b in pairs[1::2]:
            loop.remove_reader(a)
            a.close()
            b.close()

    def test_random_adding_removing_and_closing(self, loop, run):
        """Whatever the order, those still watched are served, and only they."""
        rng = random.Random(11)
        live = {}  # fd -> (socket, its peer, what it was sent, what it read)

        def read(fd):
            sock, _, _, got = live[fd]
            got += sock.recv(100)

        async def main():
            for step in range(1500):
                choice = rng.random()
                if choice < 0.3 or not live:
                    a, b = socket.socketpair()
                    live[a.fileno()] = (a, b, bytearray(), bytearray())
                    loop.add_reader(a, read, a.fileno())
                elif choice < 0.5:
                    fd = rng.choice(list(live))
                    a, b, _, _ = live.pop(fd)
                    assert loop.remove_reader(fd) is True
                    a.close()
                    b.close()
                elif choice < 0.6:
                    fd = rng.choice(list(live))
                    loop.remove_reader(fd)
                    loop.add_reader(fd, read, fd)
                else:
                    _, b, sent, _ = live[rng.choice(list(live))]
                    sent += b"%d " % step
                    b.send(b"%d " % step)
                if step % 7 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            for fd, (a, b, sent, got) in live.items():
                assert got == sent
                loop.remove_reader(fd)
                a.close()
                b.close()

        run(main())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
def test_a_child_of_fork_can_use_a_loop_of_its_own(loop_factory):
    """As process pools do while their parent serves."""
    parent = loop_factory()
    a, b = socket.socketpair()
    parent.add_reader(a, print)
    parent.run_until_complete(asyncio.sleep(0))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child = loop_factory()
            c, d = socket.socketpair()
            child.add_reader(c, child.stop)
            child.call_later(0.005, d.send, b"x")
            child.run_forever()
            child.remove_reader(c)
            child.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    calls = []
    parent.add_reader(a, lambda: (calls.append(a.recv(10)), parent.stop()))
    b.send(b"parent")
    parent.run_forever()
    assert calls == [b"parent"]
    parent.remove_reader(a)
    parent.close()
    a.close()
    b.close()
