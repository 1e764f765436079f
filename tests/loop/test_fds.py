"""add_reader, add_writer, remove_reader, remove_writer."""

import asyncio
import contextvars
import gc
import os
import re
import socket
import threading
import time
import weakref

import pytest


@pytest.fixture
def pair():
    """Two connected non-blocking sockets, closed after the test."""
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        yield a, b


@pytest.fixture
def eventually(run):
    """Turns the loop until a condition holds."""

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.001)

    return lambda condition: run(until(condition))


@pytest.fixture
def settle(run):
    """Turns the loop long enough for whatever is going to happen to have happened."""
    return lambda: run(asyncio.sleep(0.02))


class TestReader:
    def test_is_called_when_there_is_something_to_read(self, loop, pair, settle, eventually):
        a, b = pair
        calls = []
        loop.add_reader(a, lambda: calls.append(a.recv(100)))
        settle()
        assert calls == []
        b.send(b"ping")
        eventually(lambda: calls)
        assert calls == [b"ping"]
        loop.remove_reader(a)

    def test_is_called_again_until_all_is_read(self, loop, pair, eventually):
        a, b = pair
        calls = []
        loop.add_reader(a, lambda: calls.append(a.recv(1)))
        b.send(b"abc")
        eventually(lambda: len(calls) == 3)
        assert calls == [b"a", b"b", b"c"]
        loop.remove_reader(a)

    def test_is_called_at_the_end_of_the_stream(self, loop, pair, eventually):
        a, b = pair
        calls = []

        def read():
            calls.append(a.recv(100))
            loop.remove_reader(a)

        loop.add_reader(a, read)
        b.close()
        eventually(lambda: calls)
        assert calls == [b""]

    def test_gets_its_arguments(self, loop, pair, eventually):
        a, b = pair
        calls = []

        def read(*args):
            calls.append(args)
            loop.remove_reader(a)

        loop.add_reader(a, read, 1, "two", None)
        b.send(b"x")
        eventually(lambda: calls)
        assert calls == [(1, "two", None)]

    def test_runs_in_the_context_it_was_added_in(self, loop, pair, eventually):
        var = contextvars.ContextVar("var", default="outside")
        a, b = pair
        seen = []

        def read():
            seen.append(var.get())
            loop.remove_reader(a)

        context = contextvars.copy_context()
        context.run(var.set, "inside")
        context.run(loop.add_reader, a, read)
        b.send(b"x")
        eventually(lambda: seen)
        assert seen == ["inside"]

    def test_failing_is_reported_and_stays(self, loop, pair, eventually):
        a, b = pair
        calls = []

        def read():
            calls.append(a.recv(1))
            raise ZeroDivisionError

        loop.add_reader(a, read)
        b.send(b"xy")
        eventually(lambda: len(calls) == 2)
        assert [type(report["exception"]) for report in loop.unhandled] == [ZeroDivisionError] * 2
        assert loop.unhandled[0]["message"].startswith("Exception in callback ")
        loop.unhandled.clear()
        loop.remove_reader(a)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_interrupts_leave_the_loop(self, loop, pair, settle, error):
        a, b = pair

        def read():
            loop.remove_reader(a)
            raise error

        loop.add_reader(a, read)
        b.send(b"x")
        with pytest.raises(error):
            settle()
        settle()

    def test_may_stop_the_loop(self, loop, pair):
        a, b = pair
        loop.add_reader(a, loop.stop)
        b.send(b"x")
        loop.run_forever()
        loop.remove_reader(a)


class TestWriter:
    def test_is_called_while_there_is_room(self, loop, pair, eventually):
        a, _ = pair
        calls = []

        def write(*args):
            calls.append(args)
            if len(calls) == 3:
                loop.remove_writer(a)

        loop.add_writer(a, write, "arg")
        eventually(lambda: len(calls) == 3)
        assert calls == [("arg",)] * 3

    def test_waits_for_room(self, loop, pair, settle, eventually):
        a, b = pair
        calls = []
        try:
            while True:
                a.send(bytes(65536))
        except BlockingIOError:
            pass
        loop.add_writer(a, lambda: calls.append(loop.remove_writer(a)))
        settle()
        assert calls == []
        try:
            while True:
                b.recv(65536)
        except BlockingIOError:
            pass
        eventually(lambda: calls)
        assert calls == [True]

    def test_is_called_when_the_peer_is_gone(self, loop, pair, eventually):
        a, b = pair
        calls = []
        b.close()
        loop.add_writer(a, lambda: calls.append(loop.remove_writer(a)))
        eventually(lambda: calls)


class TestAdding:
    def test_returns_none(self, loop, pair):
        a, _ = pair
        assert loop.add_reader(a, print) is None
        assert loop.add_writer(a, print) is None
        loop.remove_reader(a)
        loop.remove_writer(a)

    @pytest.mark.parametrize("direction", ["reader", "writer"])
    def test_again_replaces_the_callback(self, loop, pair, settle, direction):
        a, b = pair
        calls = []
        add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
        add(a, calls.append, "first")
        add(a, lambda: calls.append(("second", remove(a))))
        b.send(b"x")
        settle()
        assert calls == [("second", True)]

    def test_again_drops_the_first_callback(self, loop, pair):
        a, _ = pair

        def first():
            pass

        ref = weakref.ref(first)
        loop.add_reader(a, first)
        loop.add_reader(a, print)
        del first
        gc.collect()
        assert ref() is None
        loop.remove_reader(a)

    @pytest.mark.parametrize("second", ["add_reader", "add_writer"])
    @pytest.mark.parametrize("attack", ["close()", "remove_reader(a)", "add_reader(a, print)"])
    def test_again_may_drop_a_file_object_that_does_anything(self, script, second, attack):
        done = script(f"""
            import socket

            class File:
                def fileno(self):
                    return a.fileno()

                def __del__(self):
                    loop.{attack}

            loop = new_loop()
            a, b = socket.socketpair()
            loop.add_reader(File(), print)
            loop.{second}(a.fileno(), print)
            print("alive")
            loop.close()
        """)
        assert done.stdout.split() == ["alive"]

    def test_both_directions_of_one_descriptor(self, loop, pair, eventually):
        a, b = pair
        calls = []
        loop.add_reader(a, lambda: calls.append(("read", loop.remove_reader(a))))
        loop.add_writer(a, lambda: calls.append(("write", loop.remove_writer(a))))
        eventually(lambda: calls)
        assert calls == [("write", True)]
        b.send(b"x")
        eventually(lambda: len(calls) == 2)
        assert calls == [("write", True), ("read", True)]

    def test_both_ready_at_once_read_comes_first(self, loop, pair, eventually):
        a, b = pair
        calls = []
        loop.add_writer(a, lambda: calls.append(("write", loop.remove_writer(a))))
        loop.add_reader(a, lambda: calls.append(("read", loop.remove_reader(a))))
        b.send(b"x")
        eventually(lambda: len(calls) == 2)
        assert calls == [("read", True), ("write", True)]

    def test_leaves_the_blocking_mode_alone(self, loop, pair):
        a, _ = pair
        a.setblocking(True)
        loop.add_reader(a, print)
        assert os.get_blocking(a.fileno()) is True
        loop.remove_reader(a)
        assert os.get_blocking(a.fileno()) is True

    def test_from_another_callback_while_the_loop_runs(self, loop, pair, eventually):
        a, b = pair
        calls = []
        b.send(b"x")
        loop.call_soon(loop.add_reader, a, lambda: calls.append(loop.remove_reader(a)))
        eventually(lambda: calls)

    def test_of_400_descriptors_watches_each(self, loop, eventually):
        pairs = [socket.socketpair() for _ in range(400)]
        calls = []
        for i, (a, b) in enumerate(pairs):
            loop.add_reader(a, lambda i=i, a=a: calls.append((i, loop.remove_reader(a))))
            b.send(b"x")
        eventually(lambda: len(calls) == 400)
        assert sorted(calls) == [(i, True) for i in range(400)]
        for a, b in pairs:
            a.close()
            b.close()

    @pytest.mark.parametrize("as_object", [False, True])
    def test_of_a_pipe_watches_it(self, loop, eventually, as_object):
        r, w = os.pipe()
        calls = []
        with open(r, "rb", buffering=0) as reading, open(w, "wb", buffering=0) as writing:
            watched = reading if as_object else r
            loop.add_reader(watched, lambda: calls.append(reading.read(10)))
            writing.write(b"pipe")
            eventually(lambda: calls)
            assert calls == [b"pipe"]
            assert loop.remove_reader(watched) is True

    def test_by_object_and_by_number_is_the_same(self, loop, pair):
        a, _ = pair
        loop.add_reader(a, print)
        assert loop.remove_reader(a.fileno()) is True
        loop.add_writer(a.fileno(), print)
        assert loop.remove_writer(a) is True


class TestRemoving:
    @pytest.mark.parametrize("direction", ["reader", "writer"])
    def test_says_whether_there_was_one(self, loop, pair, direction):
        a, _ = pair
        add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
        assert remove(a) is False
        add(a, print)
        assert remove(a) is True
        assert remove(a) is False

    def test_of_one_direction_leaves_the_other(self, loop, pair, settle):
        a, b = pair
        calls = []
        loop.add_reader(a, lambda: calls.append(a.recv(10)))
        loop.add_writer(a, calls.append, "write")
        assert loop.remove_writer(a) is True
        b.send(b"x")
        settle()
        assert calls == [b"x"]
        assert loop.remove_writer(a) is False
        assert loop.remove_reader(a) is True

    def test_the_reader_from_itself(self, loop, pair, settle):
        a, b = pair
        calls = []
        loop.add_reader(a, lambda: calls.append(loop.remove_reader(a)))
        b.send(b"x")
        settle()
        assert calls == [True]

    def test_a_reader_that_is_ready_in_the_same_turn_keeps_it_from_running(self, loop, settle):
        pairs = [socket.socketpair() for _ in range(2)]
        calls = []

        def read(i):
            calls.append(i)
            loop.remove_reader(pairs[0][0])
            loop.remove_reader(pairs[1][0])

        for i, (a, b) in enumerate(pairs):
            loop.add_reader(a, read, i)
            b.send(b"x")
        settle()
        assert len(calls) == 1
        for a, b in pairs:
            a.close()
            b.close()

    def test_the_writer_from_the_reader_of_the_same_descriptor(self, loop, pair, settle):
        a, b = pair
        calls = []
        b.send(b"x")

        def read():
            calls.append("read")
            loop.remove_reader(a)
            loop.remove_writer(a)

        loop.add_reader(a, read)
        loop.add_writer(a, calls.append, "write")
        settle()
        assert calls == ["read"]

    def test_drops_the_callback(self, loop, pair):
        a, _ = pair

        def read():
            pass

        ref = weakref.ref(read)
        loop.add_reader(a, read)
        loop.remove_reader(a)
        del read
        gc.collect()
        assert ref() is None

    def test_a_descriptor_that_was_never_watched(self, loop):
        assert loop.remove_reader(9999) is False
        assert loop.remove_writer(9999) is False

    def test_and_adding_in_the_callback_goes_on(self, loop, pair, eventually):
        a, b = pair
        calls = []

        def read():
            calls.append(a.recv(1))
            loop.remove_reader(a)
            if len(calls) < 3:
                loop.add_reader(a, read)

        loop.add_reader(a, read)
        b.send(b"abcd")
        eventually(lambda: len(calls) == 3)
        assert calls == [b"a", b"b", b"c"]


class TestBadDescriptors:
    @pytest.mark.parametrize("method", ["add_reader", "add_writer"])
    def test_that_are_not_open_give_oserror(self, loop, method):
        r, w = os.pipe()
        os.close(w)
        os.close(r)
        with pytest.raises(OSError, match="Bad file descriptor"):
            getattr(loop, method)(r, print)

    @pytest.mark.parametrize("method", ["add_reader", "add_writer"])
    def test_of_regular_files_give_permission_error(self, loop, tmp_path, method):
        with open(tmp_path / "file", "w+") as file, pytest.raises(PermissionError):
            getattr(loop, method)(file, print)

    def test_of_regular_files_leave_nothing_behind(self, loop, tmp_path, settle):
        with open(tmp_path / "file", "w+") as file:
            with pytest.raises(PermissionError):
                loop.add_reader(file, loop.unhandled.append, "called")
            settle()
            assert loop.remove_reader(file) is False

    @pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
    def test_that_are_negative_give_value_error(self, loop, method):
        args = (print,) if method.startswith("add") else ()
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            getattr(loop, method)(-1, *args)

    @pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
    @pytest.mark.parametrize("wrong", ["text", None, 1.5, object()])
    def test_of_other_types_give_value_error(self, loop, method, wrong):
        args = (print,) if method.startswith("add") else ()
        with pytest.raises(ValueError, match=re.escape(f"Invalid file object: {wrong!r}")):
            getattr(loop, method)(wrong, *args)

    def test_of_closed_objects_give_value_error(self, loop):
        a, b = socket.socketpair()
        a.close()
        b.close()
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            loop.add_reader(a, print)

    def test_whose_fileno_fails_give_value_error(self, loop):
        class Odd:
            def fileno(self):
                raise ValueError

        with pytest.raises(ValueError, match="Invalid file object"):
            loop.add_reader(Odd(), print)

    def test_whose_fileno_fails_otherwise_give_that(self, loop):
        class Odd:
            def fileno(self):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            loop.add_reader(Odd(), print)

    def test_too_large_for_any_descriptor(self, loop):
        with pytest.raises((OSError, OverflowError)):
            loop.add_reader(1 << 40, print)

    @pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
    def test_missing_give_type_error(self, loop, method):
        with pytest.raises(TypeError):
            getattr(loop, method)()

    @pytest.mark.parametrize("method", ["add_reader", "add_writer"])
    def test_without_callback_give_type_error(self, loop, pair, method):
        with pytest.raises(TypeError):
            getattr(loop, method)(pair[0])


class TestClosedDescriptors:
    """Programs close descriptors that are still watched; zmq and psycopg do."""

    def test_are_never_reported_ready(self, loop, settle):
        a, b = socket.socketpair()
        calls = []
        loop.add_reader(a, calls.append, 1)
        fd = a.fileno()
        b.send(b"x")
        a.close()
        settle()
        assert calls == []
        assert loop.remove_reader(fd) is True
        b.close()

    @pytest.mark.parametrize("direction", ["reader", "writer"])
    def test_can_be_removed_afterwards(self, loop, settle, direction):
        a, b = socket.socketpair()
        fd = a.fileno()
        getattr(loop, f"add_{direction}")(a, print)
        a.close()
        b.close()
        assert getattr(loop, f"remove_{direction}")(fd) is True
        assert getattr(loop, f"remove_{direction}")(fd) is False
        settle()

    def test_whose_number_is_used_again_are_not_mixed_up(self, loop, eventually):
        """The kernel hands out the lowest free number, so the next descriptor often has the number of the last."""
        calls = []
        for i in range(20):
            a, b = socket.socketpair()
            fd = a.fileno()
            loop.add_reader(fd, lambda i=i, a=a: calls.append((i, a.recv(10))))
            b.send(b"x")
            eventually(lambda i=i: len(calls) == i + 1)
            assert loop.remove_reader(fd) is True
            a.close()
            b.close()
        assert calls == [(i, b"x") for i in range(20)]

    def test_may_be_closed_in_the_reader_itself(self, loop, settle):
        a, b = socket.socketpair()
        calls = []

        def read():
            calls.append(a.recv(10))
            loop.remove_reader(a)
            a.close()

        loop.add_reader(a, read)
        b.send(b"x")
        settle()
        assert calls == [b"x"]
        b.close()

    def test_while_a_duplicate_is_open_do_no_harm(self, loop, settle):
        """epoll watches what is behind the descriptor: it goes on reporting a closed number while a copy is open."""
        a, b = socket.socketpair()
        copy = a.dup()
        loop.add_reader(a, lambda: None)
        loop.remove_reader(a)
        a.close()
        b.send(b"x")
        settle()
        calls = []
        loop.add_reader(copy, lambda: calls.append(copy.recv(10)))
        settle()
        assert calls == [b"x"]
        loop.remove_reader(copy)
        copy.close()
        b.close()


class TestClosedLoop:
    @pytest.mark.parametrize("method", ["add_reader", "add_writer"])
    def test_takes_no_more(self, loop, pair, method):
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            getattr(loop, method)(pair[0], print)

    @pytest.mark.parametrize("method", ["remove_reader", "remove_writer"])
    def test_has_none_to_remove(self, loop, pair, method):
        a, _ = pair
        loop.add_reader(a, print)
        loop.add_writer(a, print)
        loop.close()
        assert getattr(loop, method)(a) is False

    def test_lets_go_of_the_callbacks(self, loop_factory, pair):
        def read():
            pass

        ref = weakref.ref(read)
        loop = loop_factory()
        loop.add_reader(pair[0], read)
        loop.close()
        del read, loop
        gc.collect()
        assert ref() is None


def test_callback_lives_as_long_as_it_is_watched(loop, pair, eventually):
    a, b = pair
    calls = []

    class Reader:
        def read(self):
            calls.append(a.recv(10))

    loop.add_reader(a, Reader().read)
    gc.collect()
    b.send(b"x")
    eventually(lambda: calls)
    loop.remove_reader(a)


def test_ready_descriptors_are_seen_although_callbacks_keep_the_loop_busy(loop, pair):
    """A loop that never runs out of ready callbacks still polls."""
    a, b = pair
    done = []
    turns = 0

    def spin():
        nonlocal turns
        turns += 1
        if done or turns > 200_000:
            loop.stop()
        else:
            loop.call_soon(spin)

    loop.add_reader(a, done.append, 1)
    b.send(b"x")
    loop.call_soon(spin)
    loop.run_forever()
    loop.remove_reader(a)
    assert done


def test_a_descriptor_that_stays_ready_does_not_keep_other_threads_from_running(loop, pair):
    """Not even if its callback is C, so that the interpreter has no occasion to switch threads."""
    a, b = pair
    steps = []

    def work():
        for step in range(20):
            time.sleep(0.001)
            steps.append(step)
        loop.call_soon_threadsafe(loop.stop)

    loop.add_reader(a, steps.index, 0)
    loop.call_soon(steps.append, 0)
    b.send(b"x")
    thread = threading.Thread(target=work)
    thread.start()
    loop.run_forever()
    thread.join()
    loop.remove_reader(a)
    assert steps[-1] == 19


def test_a_few_turns_let_ready_io_through(loop, run, pair):
    a, b = pair
    calls = []
    loop.add_reader(a, lambda: calls.append(a.recv(10)))

    async def main():
        await asyncio.sleep(0)
        b.send(b"x")
        for _ in range(3):
            await asyncio.sleep(0)

    run(main())
    loop.remove_reader(a)
    assert calls == [b"x"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
def test_child_of_a_fork_does_not_disturb_the_parents_watching(loop, pair, eventually):
    """A forked child shares the epoll descriptor of its parent: closing sockets there must not reach over here."""
    a, b = pair
    calls = []
    loop.add_reader(a, lambda: calls.append(a.recv(10)))
    pid = os.fork()
    if pid == 0:
        a.close()
        b.close()
        os._exit(0)
    os.waitpid(pid, 0)
    b.send(b"x")
    eventually(lambda: calls)
    assert calls == [b"x"]
    loop.remove_reader(a)


def test_the_first_object_of_a_descriptor_is_kept(loop, run):
    """As a selector does: an object that is watched is not closed under us because its number is watched, too."""

    async def main():
        near, far = socket.socketpair()
        fd = near.fileno()
        seen = []
        loop.add_reader(near, seen.append, "readable")
        reference = weakref.ref(near)
        del near
        loop.add_writer(fd, seen.append, "writable")
        far.send(b"x")
        while len(set(seen)) < 2:
            await asyncio.sleep(0)
        near = reference()
        assert near.fileno() == fd
        assert loop.remove_reader(fd)
        assert loop.remove_writer(fd)
        near.close()
        far.close()

    run(main())
