"""What the sock_* methods return: it behaves like the coroutines that asyncio returns there."""

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import socket
import sys
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
def call(loop, pair):
    """A call that will wait, closed after the test."""
    call = loop.sock_recv(pair[0], 10)
    yield call
    call.close()


def test_is_a_coroutine(call):
    assert asyncio.iscoroutine(call)
    assert isinstance(call, collections.abc.Coroutine)
    assert inspect.isawaitable(call)
    assert call.__name__ == "sock_recv"
    assert call.__qualname__.endswith("Loop.sock_recv")


def test_never_awaited_warns(loop, pair):
    with pytest.warns(RuntimeWarning, match=r"coroutine '\w+\.sock_recv' was never awaited"):
        loop.sock_recv(pair[0], 10)
        gc.collect()


def test_closed_unstarted_is_silent_and_over(loop, run, pair):
    call = loop.sock_recv(pair[0], 10)
    call.close()
    call.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        call.send(None)


def test_begins_when_it_is_awaited(loop, run, pair):
    a, b = pair
    call = loop.sock_recv(a, 10)
    b.send(b"late")
    assert run(call) == b"late"


def test_can_be_awaited_once(loop, run, pair):
    a, b = pair
    b.send(b"ab")

    async def main():
        call = loop.sock_recv(a, 1)
        assert await call == b"a"
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call

    run(main())


def test_is_not_awaited_by_two(loop, run, call):
    async def main():
        task = loop.create_task(call)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
            await call
        task.cancel()
        await asyncio.wait([task])

    run(main())


def test_yields_a_future_as_await_does(loop, call):
    future = call.send(None)
    assert asyncio.isfuture(future)
    assert future._asyncio_future_blocking is True


def test_first_send_takes_none_only(call):
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        call.send(1)


def test_stepped_too_early_fails(loop, pair, call):
    call.send(None)
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        call.send(None)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        call.send(None)


def test_returns_by_stop_iteration(loop, pair):
    a, b = pair
    b.send(b"x")
    with pytest.raises(StopIteration) as stopped:
        loop.sock_recv(a, 1).send(None)
    assert stopped.value.value == b"x"
    with pytest.raises(StopIteration) as stopped:
        loop.sock_sendall(a, b"x").send(None)
    assert stopped.value.value is None


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("thrown", [KeyError, KeyError("k")])
def test_thrown_exception_comes_out(loop, pair, call, started, thrown):
    if started:
        call.send(None)
    with pytest.raises(KeyError):
        call.throw(thrown)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        call.send(None)


@pytest.mark.parametrize("wrong", [5, "text", int])
def test_only_exceptions_are_thrown(call, wrong):
    with pytest.raises(TypeError, match="exceptions must be classes"):
        call.throw(wrong)


def test_is_in_the_repr_and_the_stack_of_its_task(loop, run, pair):
    async def main():
        task = loop.create_task(loop.sock_recv(pair[0], 10), name="receiver")
        await asyncio.sleep(0)
        assert "sock_recv" in repr(task)
        assert "receiver" in repr(task)
        assert isinstance(task.get_stack(), list)
        task.cancel()
        await asyncio.wait([task])
        assert "cancelled" in repr(task)

    run(main())


def test_gather_and_wait_for_take_it(loop, run, pair):
    a, b = pair

    async def main():
        loop.call_soon(a.send, b"one")
        loop.call_soon(b.send, b"two")
        assert await asyncio.gather(loop.sock_recv(b, 10), loop.sock_recv(a, 10)) == [b"one", b"two"]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_recv(a, 10), 0.001)

    run(main())


def test_create_future_overridden_on_the_loop_is_obeyed(loop, run, pair):
    a, b = pair
    made = []

    def create_future():
        made.append(asyncio.Future(loop=loop))
        return made[-1]

    async def main():
        receiving = loop.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0.005)
        b.send(b"x")
        assert await receiving == b"x"
        receiving = loop.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0.005)
        receiving.cancel()
        await asyncio.wait([receiving])
        assert receiving.cancelled()
        assert loop.remove_reader(a) is False

    loop.create_future = create_future
    try:
        run(main())
    finally:
        del loop.create_future
    assert made[0].done()


def test_a_socket_class_of_the_programs_own_is_obeyed(loop, run):
    class Socket(socket.socket):
        def recv(self, n):
            return super().recv(n).upper()

        def send(self, data):
            return super().send(bytes(data)[:3])

    a, b = socket.socketpair()
    with Socket(fileno=a.detach()) as a, b:
        a.setblocking(False)
        loop.call_later(0.005, b.send, b"shout")
        assert run(loop.sock_recv(a, 10)) == b"SHOUT"
        run(loop.sock_sendall(a, b"in threes"))
        assert b.recv(100) == b"in threes"


def test_takes_the_place_of_a_reader_that_is_queued(loop, run, pair):
    a, b = pair
    called = []

    async def main():
        loop.add_reader(a, called.append, "reader")
        b.send(b"x")
        # The reader is found to be ready at the same time as this runs.
        assert await loop.sock_recv(a, 10) == b"x"
        receiving = loop.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        del called[:]
        b.send(b"y")
        assert await receiving == b"y"
        assert called == []

    run(main())


def test_a_waiting_call_and_its_socket_are_freed_together(loop, pair):
    a, b = pair
    task = loop.create_task(loop.sock_recv(a, 10))
    loop.run_until_complete(asyncio.sleep(0.005))
    gone = weakref.ref(task)
    task.cancel()
    loop.run_until_complete(asyncio.sleep(0.005))
    del task
    gc.collect()
    assert gone() is None


def test_a_loop_closed_meanwhile_is_refused(loop_factory, pair):
    loop = loop_factory()
    call = loop.sock_recv(pair[0], 10)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        call.send(None)


def test_a_call_left_waiting_by_a_closed_loop_can_be_thrown_away(loop_factory, pair):
    loop = loop_factory()
    call = loop.sock_recv(pair[0], 10)
    call.send(None)
    loop.close()
    call.close()
    gc.collect()


def test_a_buffer_to_receive_into_is_free_while_it_waits(loop, run, pair):
    async def main():
        buffer = bytearray(1)
        task = loop.create_task(loop.sock_recv_into(pair[0], buffer))
        await asyncio.sleep(0)
        buffer.extend(b"and more")
        pair[1].send(b"received")
        assert await task == 8
        return buffer

    assert run(main()) == b"receivede"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since Python 3.12")
@pytest.mark.parametrize("name", ["sock_recv_into", "sock_sendall"])
def test_a_buffer_is_released_once(loop, kind, pair, name):
    if kind == "asyncio" and name == "sock_sendall":
        pytest.skip("its memoryview complains of being closed while it is closed")

    class Buffer:
        taken = 0

        def __len__(self):
            return 10

        def __buffer__(self, flags):
            self.taken += 1
            return memoryview(bytearray(10))

        def __release_buffer__(self, view):
            self.taken -= 1
            with contextlib.suppress(ValueError):
                call.close()

    a, b = pair
    with contextlib.suppress(BlockingIOError):
        while True:
            a.send(bytes(65536))
    buffer = Buffer()
    call = getattr(loop, name)(a, buffer)
    call.send(None)
    call.close()
    gc.collect()
    assert buffer.taken == 0


def test_takes_weak_references(loop, pair):
    call = loop.sock_recv(pair[0], 10)
    watch = weakref.ref(call)
    assert watch() is call
    call.close()
    del call
    assert watch() is None
