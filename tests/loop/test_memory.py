"""What a burst has needed is given back when it is over, and order is kept while arrays grow and shrink."""

import asyncio
import gc
import os
import random
import resource
import socket
import threading
import tracemalloc

import pytest
import stock

# Bytes: free lists, and what is not worth giving back; without a GIL, what the interpreter has not freed yet.
LITTLE = 500_000 if stock.FREE_THREADED else 150_000


def noop(*args):
    pass


class Kept:
    """Tells what has been allocated since it was made and is still there, in bytes."""

    def __init__(self):
        gc.collect()
        self.before = tracemalloc.get_traced_memory()[0]

    def __call__(self):
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self.before


@pytest.fixture
def kept(loop, run):
    async def receive():  # what a loop has once, whatever it does: the buffer that it receives into
        near, far = socket.socketpair()
        with far:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            transport.abort()
            await asyncio.sleep(0.001)

    run(receive())
    tracemalloc.start()
    yield Kept()
    tracemalloc.stop()


@pytest.fixture
def pair():
    """Two connected sockets, the first non-blocking; closed after the test."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(20)
    with near, far:
        yield near, far


# --- the ready queue ----------------------------------------------------------


def test_ready_queue_after_a_run(loop, kept):
    for _ in range(100_000):
        loop.call_soon(noop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert kept() < LITTLE


def test_ready_queue_in_the_turn_after_the_next(loop, run, kept):
    async def main():
        for _ in range(100_000):
            loop.call_soon(noop)
        for _ in range(3):
            await asyncio.sleep(0)
        return kept()

    assert run(main()) < LITTLE


def test_ready_queue_of_a_loop_that_waits(loop, kept):
    seen = []
    begun = threading.Event()

    def last():
        loop.call_later(20, loop.stop)
        begun.set()

    def watch():
        begun.wait(20)
        for _ in range(200):
            seen.append(kept())
            if seen[-1] < LITTLE:
                break
            threading.Event().wait(0.01)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=watch)
    for _ in range(100_000):
        loop.call_soon(noop)
    loop.call_soon(last)
    thread.start()
    loop.run_forever()
    thread.join()
    assert seen[-1] < LITTLE


def test_ready_queue_that_another_thread_filled(loop, kept):
    def fill():
        for _ in range(50_000):
            loop.call_soon_threadsafe(noop)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    loop.run_forever()
    assert kept() < LITTLE


def test_order_while_the_ready_queue_grows_and_shrinks(loop):
    rng = random.Random(1)
    added, ran = [0], []

    def call(number):
        ran.append(number)
        if added[0] < 60_000:
            for _ in range(rng.choice((0, 0, 1, 1, 2, 5)) if len(ran) % 20_000 < 15_000 else 0):
                add()
        if len(ran) == added[0]:
            loop.stop() if added[0] >= 60_000 else burst()

    def add():
        loop.call_soon(call, added[0])
        added[0] += 1

    def burst():
        for _ in range(rng.choice((1, 3, 5_000, 9_000))):
            add()

    burst()
    loop.run_forever()
    assert ran == list(range(added[0]))


# --- timers -------------------------------------------------------------------


def test_timers_that_were_cancelled(loop, run, kept):
    handles = [loop.call_later(1000 + i % 7, noop) for i in range(50_000)]
    for handle in handles:
        handle.cancel()
    del handles, handle
    run(asyncio.sleep(0))
    assert kept() < LITTLE


def test_timers_that_were_due_at_once(loop, run, kept):
    for i in range(50_000):
        loop.call_later(i % 7 / 1e6, noop)
    run(asyncio.sleep(0.05))
    run(asyncio.sleep(0.01))
    assert kept() < LITTLE


def test_timers_that_were_due_but_for_some(loop, run, kept):
    some = [loop.call_later(3600 - i, noop) for i in range(100)]
    for i in range(50_000):
        loop.call_later(i % 7 / 1e6, noop)
    run(asyncio.sleep(0.05))
    run(asyncio.sleep(0.01))
    assert kept() < LITTLE
    for handle in some:
        handle.cancel()


def test_order_while_timers_grow_and_shrink(loop, run):
    rng = random.Random(2)
    now, expected, seen = loop.time(), [], []

    def arm(count):
        for _ in range(count):
            when = now + rng.random() / 100
            entry = (when, len(expected))
            expected.append(entry)
            handles.append((entry, loop.call_at(when, seen.append, entry)))

    handles = []
    for count in (5_000, 10, 3_000, 20_000):
        arm(count)
        rng.shuffle(handles)
        for entry, handle in handles[len(handles) // 8 :]:
            handle.cancel()
            expected[entry[1]] = None
        del handles[len(handles) // 8 :]
    arm(100)
    run(asyncio.sleep(0.05))
    assert seen == sorted(entry for entry in expected if entry is not None)


# --- a future -----------------------------------------------------------------


def test_callbacks_of_a_future(loop, run, future, kept):
    for i in range(20_000):
        future.add_done_callback(lambda _, i=i: None)
    future.set_result(None)
    run(asyncio.sleep(0.001))
    assert kept() < LITTLE


def test_callbacks_of_a_future_that_were_removed(loop, run, future, kept):
    for _ in range(20_000):
        future.add_done_callback(noop)
    future.add_done_callback(print)
    assert future.remove_done_callback(noop) == 20_000
    assert kept() < LITTLE
    future.remove_done_callback(print)


def test_tasks_that_waited_for_a_future(kind, loop, run, Future, kept):
    async def wait(future):
        await future

    async def main():
        future = Future(loop=loop)
        tasks = [loop.create_task(wait(future)) for _ in range(5_000)]
        await asyncio.sleep(0)
        future.set_result(None)
        await asyncio.wait(tasks)

    run(main())
    run(asyncio.sleep(0.001))
    assert kept() < LITTLE * (1 if kind == "asyncloop" else 10)  # stock's set of all tasks does not shrink


# --- descriptors --------------------------------------------------------------

MANY = 12_000


@pytest.fixture
def descriptors(pair):
    """MANY duplicates of the first socket of `pair`; what is left of them is closed after the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 200:
        pytest.skip("fewer descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 200) if soft >= 0 else soft, hard))
    made = [os.dup(pair[0].fileno()) for _ in range(MANY)]
    yield made
    for fd in made:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def little(kind):
    """Twice LITTLE: a sweep comes after some hundreds. Stock's dicts do not shrink."""
    return 2 * LITTLE if kind == "asyncloop" else 30 * LITTLE


def test_descriptors_that_were_watched(loop, run, descriptors, kept, little):
    async def main():
        for fd in descriptors:
            loop.add_reader(fd, noop)
        await asyncio.sleep(0)
        for fd in descriptors:
            loop.remove_reader(fd)
        for _ in range(3):
            await asyncio.sleep(0)

    run(main())
    assert kept() < little


def test_descriptors_that_were_ready_at_once(loop, run, pair, descriptors, kept, little):
    calls = 0

    def called():
        nonlocal calls
        calls += 1

    async def main():
        for fd in descriptors:
            loop.add_reader(fd, called)
        pair[1].send(b"x")
        while calls < 3 * MANY:
            await asyncio.sleep(0)
        for fd in descriptors:
            loop.remove_reader(fd)
        for _ in range(3):
            await asyncio.sleep(0)

    run(main())
    assert kept() < little


def test_sockets_that_were_used(loop, run, descriptors, kept, little):
    async def main():
        socks = []
        while descriptors:
            socks.append(socket.socket(fileno=descriptors.pop()))
        for sock in socks:
            sock.setblocking(False)
            task = loop.create_task(loop.sock_recv(sock, 1))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        for sock in socks:
            sock.close()

    run(main())
    assert kept() < little


# --- what was written ---------------------------------------------------------


def read_all(far, count):
    """Read so many bytes from a socket, in another thread; -> what joins it and returns them."""
    data = bytearray()

    def read():
        while len(data) < count:
            data.extend(far.recv(1 << 20))

    thread = threading.Thread(target=read)
    thread.start()

    def joined():
        thread.join()
        return data

    return joined


@pytest.fixture
def many(kind):
    """How many pieces to write: stock counts them all at each write()."""
    return 2_000 if kind == "asyncio" else 30_000


async def drained(transport):
    while stock.unsent(transport):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)


@pytest.mark.parametrize("lines", [False, True])
def test_writes_of_a_connection(loop, run, kept, pair, many, lines):
    near, far = pair

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        transport.set_write_buffer_limits(1 << 30)
        pieces = [b"%08d" % i for i in range(many)] + [b"-" * 4_000_000]
        transport.write(b"." * 4_000_000)
        if lines:
            transport.writelines(pieces)
        else:
            for i in range(len(pieces)):
                transport.write(pieces[i])
        expected = b"." * 4_000_000 + b"".join(pieces)
        joined = read_all(far, len(expected))
        await drained(transport)
        assert joined() == expected
        del expected, joined, pieces[:]
        memory = kept()
        transport.abort()
        return memory

    assert run(main()) < LITTLE


@pytest.mark.stock_needs(not stock.FREE_THREADED, reason="it frees what it has written later")
def test_writes_that_are_almost_all_sent(loop, run, kept, pair, many):
    near, far = pair

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        transport.set_write_buffer_limits(1 << 30)
        transport.write(b"." * 4_000_000)
        for _ in range(2 * many):
            transport.write(b"12345678")
        transport.write(b"-" * 600_000)
        transport.write(b"+" * 10)
        count = 0
        while transport.get_write_buffer_size() > 500_000:
            count += len(await loop.run_in_executor(None, far.recv, 100_000))
        await asyncio.sleep(0.01)
        memory = kept() - 2 * transport.get_write_buffer_size()  # a bytearray may be half empty
        joined = read_all(far, 4_600_010 + 16 * many - count)
        await drained(transport)
        assert joined()[-12:] == b"--" + b"+" * 10
        transport.abort()
        return memory

    assert run(main()) < LITTLE


def test_writes_of_a_pipe(loop, run, kept, pair, many):
    near, far = pair

    async def main():
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, near)
        transport.set_write_buffer_limits(1 << 30)
        transport.write(b"." * 4_000_000)
        for i in range(many):
            transport.write(b"%08d" % i)
        joined = read_all(far, 4_000_000 + 8 * many)
        await drained(transport)
        assert joined()[4_000_000:] == b"".join(b"%08d" % i for i in range(many))
        del joined
        memory = kept()
        transport.abort()
        return memory

    assert run(main()) < LITTLE


@pytest.fixture
def endpoint(loop, run, tmp_path):
    """A datagram transport, the address of a blocking socket, and that socket; closed after the test.

    To be asked for before `kept`: the first endpoint makes what all share.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as near, socket.socket(near.family, near.type) as far:
        far.bind(str(tmp_path / "far"))
        far.settimeout(20)
        near.bind(str(tmp_path / "near"))
        near.setblocking(False)
        transport, _ = run(loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=near))
        transport.set_write_buffer_limits(1 << 30)
        yield transport, far.getsockname(), far
        transport.abort()
        run(asyncio.sleep(0))


def test_datagrams(run, endpoint, kept):
    async def main():
        transport, address, far = endpoint
        for i in range(10_000):
            transport.sendto(b"%d" % i, address)
        for i in range(10_000):
            if i % 5 == 0:
                await asyncio.sleep(0)
            assert far.recv(100) == b"%d" % i
        await drained(transport)
        return kept()

    assert run(main()) < LITTLE


def test_order_while_a_queue_of_datagrams_grows_and_shrinks(run, endpoint):
    rng = random.Random(3)

    async def main():
        transport, address, far = endpoint
        sent = received = 0
        for _ in range(60):
            for _ in range(rng.choice((1, 3, 300, 1_000))):
                transport.sendto(b"%d" % sent, address)
                sent += 1
            for _ in range(min(sent - received, rng.choice((50, 400, 2_000)))):
                if received % 5 == 0:
                    await asyncio.sleep(0)
                assert far.recv(100) == b"%d" % received
                received += 1

    run(main())


def test_datagrams_that_were_dropped(run, endpoint, kept):
    async def main():
        transport, address, _ = endpoint
        for i in range(10_000):
            transport.sendto(b"%d" % i, address)
        transport.abort()
        await asyncio.sleep(0.01)
        return kept()

    assert run(main()) < LITTLE


# --- what was read ------------------------------------------------------------


def test_buffer_of_a_stream_reader(loop, run, kept, pair):
    near, far = pair

    async def main():
        reader, writer = await asyncio.open_connection(sock=near, limit=1 << 26)
        await loop.run_in_executor(None, far.sendall, b"x" * 10_000_000)
        left = 10_000_000 - 10
        while left:
            left -= len(await reader.read(min(left, 1_000_000)))
        memory = kept()
        writer.transport.abort()
        return memory

    assert run(main()) < LITTLE
