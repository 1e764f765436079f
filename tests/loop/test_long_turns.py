"""Where turns take long, what becomes ready in one waits for what is queued by then, and not for another turn."""

import asyncio
import socket
import time

import pytest

from asyncloop import _core

COUNT = 30  # callbacks in a turn
LONG = 0.001  # seconds that each of them takes
TURNS = 3  # so many of them, and the loop knows


class Busy:
    """Keeps a loop busy with COUNT callbacks that take LONG each, in every turn; `ran` counts them."""

    def __init__(self, loop):
        self.loop = loop
        self.ran = 0
        self.at = {}  # what to do in which of them
        self.runs = True

    def __enter__(self):
        for _ in range(COUNT):
            self.loop.call_soon(self.step)
        return self

    def __exit__(self, *exc):
        self.runs = False

    def step(self):
        time.sleep(LONG)
        self.ran += 1
        if self.runs:
            self.loop.call_soon(self.step)
        if self.ran in self.at:
            self.at[self.ran]()


@pytest.fixture
def pair():
    """Two connected sockets that do not block; closed after the test."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def most(kind):
    """How many callbacks may run before what became ready: those that were queued, and some until the next look.

    Without epoll the loop does not look within a turn: libev does not tell which descriptor was ready first.
    """
    looks_within = kind == "asyncloop" and _core._features()["epoll"]
    return COUNT + 8 if looks_within else 2 * COUNT


PLACES = [COUNT * TURNS + i for i in (3, COUNT // 2, COUNT - 3)]


@pytest.mark.parametrize("place", PLACES)
def test_readable_descriptor_is_found_within_a_long_turn(loop, run, pair, most, place):
    near, far = pair

    async def main():
        came = loop.create_future()
        with Busy(loop) as busy:
            busy.at[place] = lambda: far.send(b"x")
            loop.add_reader(near, lambda: came.done() or came.set_result(busy.ran))
            ran = await came
        loop.remove_reader(near)
        return ran - place

    assert run(main()) <= most


@pytest.mark.parametrize("place", PLACES)
def test_writable_descriptor_is_found_within_a_long_turn(loop, run, pair, most, place):
    near, far = pair
    sent = 0
    try:
        while True:
            sent += near.send(bytes(100_000))
    except BlockingIOError:
        pass

    def drain():
        left = sent
        while left:
            left -= len(far.recv(100_000))

    async def main():
        came = loop.create_future()
        with Busy(loop) as busy:
            busy.at[place] = drain
            loop.add_writer(near, lambda: came.done() or came.set_result(busy.ran))
            ran = await came
        loop.remove_writer(near)
        return ran - place

    assert run(main()) <= most


@pytest.mark.parametrize("place", PLACES)
def test_a_due_timer_is_found_within_a_long_turn(loop, run, most, place):
    async def main():
        came = loop.create_future()
        with Busy(loop) as busy:
            busy.at[place] = lambda: loop.call_later(LONG / 2, lambda: came.set_result(busy.ran))
            return await came - place

    assert run(main()) <= most


@pytest.mark.parametrize("place", PLACES)
def test_a_callback_of_another_thread_is_found_within_a_long_turn(loop, run, most, place):
    async def main():
        came = loop.create_future()
        with Busy(loop) as busy:
            busy.at[place] = lambda: loop.call_soon_threadsafe(lambda: came.set_result(busy.ran))
            return await came - place

    assert run(main()) <= most


@pytest.mark.feature("epoll")
def test_connections(loop, run):
    """All that wait are accepted in one turn, as in short turns."""
    places = []

    class Noting(asyncio.Protocol):
        def __init__(self):
            places.append(busy.ran)

    async def main():
        server = await loop.create_server(Noting, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = []

        def connect():
            clients.extend(socket.create_connection(address) for _ in range(8))

        busy.at[TURNS * COUNT + 10] = connect
        with busy:
            while len(places) < 8:
                await asyncio.sleep(0)
        for client in clients:
            client.close()
        server.close()
        await asyncio.sleep(0.01)

    busy = Busy(loop)
    run(main())
    assert len(set(places)) == 1


def test_a_reader_is_called_once_for_each_message(loop, run, pair):
    near, far = pair
    received = []

    async def main():
        with Busy(loop) as busy:
            loop.add_reader(near, lambda: received.append(near.recv(1)))  # there is something, or it raises
            for i in range(40):
                busy.at[COUNT * TURNS + 7 * i] = lambda i=i: far.send(bytes([i]))
            while len(received) < 40:
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
        loop.remove_reader(near)

    run(main())
    assert received == [bytes([i]) for i in range(40)]


def test_reader_and_writer_of_one_descriptor(loop, run, pair):
    near, far = pair
    calls = []

    async def main():
        with Busy(loop) as busy:
            loop.add_reader(near, lambda: calls.append(near.recv(1)))
            loop.add_writer(near, lambda: calls.append(busy.ran))
            for i in range(10):
                busy.at[COUNT * TURNS + 11 * i] = lambda: far.send(b"x")
            while calls.count(b"x") < 10:
                await asyncio.sleep(0)
        loop.remove_reader(near)
        loop.remove_writer(near)

    run(main())
    assert calls.count(b"x") == 10
    writable = [call for call in calls if call != b"x"]
    assert len(writable) == len(set(writable)) > 5  # never twice without a callback in between


def test_callbacks_keep_their_order(loop, run, pair):
    near, far = pair
    order = []

    async def main():
        loop.add_reader(near, lambda: order.append(int.from_bytes(near.recv(2), "big")))
        added = 0

        def step(number):
            nonlocal added
            order.append(number)
            time.sleep(LONG)
            if added < COUNT * 10:
                loop.call_soon(step, added)
                added += 1

        for _ in range(COUNT):
            loop.call_soon(step, added)
            added += 1
        while added < COUNT * 10:
            far.send((60_000).to_bytes(2, "big"))
            await asyncio.sleep(0)
        await asyncio.sleep(3 * COUNT * LONG)
        loop.remove_reader(near)

    run(main())
    assert 60_000 in order
    assert [number for number in order if number < 60_000] == list(range(COUNT * 10))


def test_stop_lets_the_turn_end_and_no_more(loop):
    """The other callbacks of the turn run, and none that they have queued, wherever the turn was."""
    with Busy(loop) as busy:
        busy.at[COUNT * TURNS + 10] = loop.stop
        loop.run_forever()
    assert busy.ran == COUNT * (TURNS + 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert busy.ran == COUNT * (TURNS + 2)


def test_exception_that_ends_a_run_leaves_the_rest_queued(loop):
    def leave():
        raise SystemExit

    with Busy(loop) as busy:
        busy.at[COUNT * TURNS + 10] = leave
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert busy.ran == COUNT * TURNS + 10
        busy.at[COUNT * (TURNS + 2)] = loop.stop
        loop.run_forever()
    assert busy.ran >= COUNT * (TURNS + 2)
