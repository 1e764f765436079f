"""Polls may be skipped while turns only run callbacks; what the loop itself sends is found all the same."""

import asyncio
import os
import socket
import time

import pytest

BUSY = 100  # turns that only run callbacks: polls are skipped by then
SOON = 3  # turns within which asyncio has found what the loop itself has sent


class Told(asyncio.Protocol):
    """Notes what its transport tells it."""

    def __init__(self):
        self.seen = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.seen.append(data)

    def datagram_received(self, data, addr):
        self.seen.append(data)

    def eof_received(self):
        self.seen.append("eof")
        return True

    def connection_lost(self, exc):
        self.seen.append("lost")


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def stream_pair(loop):
    made = []
    for sock in socket.socketpair():
        transport, protocol = await loop.create_connection(Told, sock=sock)
        made += [transport, protocol]
    return made


async def written(loop):
    transport, _, peer, told = await stream_pair(loop)
    yield told.seen, lambda: transport.write(b"x")
    transport.close()
    peer.close()


async def written_eof(loop):
    transport, _, peer, told = await stream_pair(loop)
    yield told.seen, transport.write_eof
    transport.close()
    peer.close()


async def closed(loop):
    transport, _, peer, told = await stream_pair(loop)
    yield told.seen, transport.close
    peer.close()


async def datagram(loop):
    peer, told = await loop.create_datagram_endpoint(Told, ("127.0.0.1", 0))
    sender, _ = await loop.create_datagram_endpoint(Told, remote_addr=peer.get_extra_info("sockname"))
    yield told.seen, lambda: sender.sendto(b"x")
    sender.close()
    peer.close()


async def piped(loop):
    reading, writing = os.pipe()
    reader, told = await loop.connect_read_pipe(Told, open(reading, "rb", 0))
    writer, _ = await loop.connect_write_pipe(Told, open(writing, "wb", 0))
    yield told.seen, lambda: writer.write(b"x")
    reader.close()
    writer.close()


async def watched(loop):
    near, far = socket.socketpair()
    seen = []
    far.send(b"x")
    yield seen, lambda: loop.add_reader(near, seen.append, "ready")
    loop.remove_reader(near)
    near.close()
    far.close()


async def sent(loop):
    near, far = socket.socketpair()
    seen = []
    tasks = []
    near.setblocking(False)
    loop.add_reader(far, seen.append, "ready")
    yield seen, lambda: tasks.append(loop.create_task(loop.sock_sendall(near, b"x")))
    await asyncio.gather(*tasks)
    loop.remove_reader(far)
    near.close()
    far.close()


@pytest.mark.parametrize("way", [written, written_eof, closed, datagram, piped, watched, sent])
def test_event_after_an_action_of_the_loop_is_found_soon(loop, run, way):
    async def main():
        for _ in range(10):
            pairs = way(loop)
            seen, act = await anext(pairs)
            await turns(BUSY)
            act()
            await turns(SOON)
            assert seen, "not found"
            assert [_ async for _ in pairs] == []
            await turns(SOON)

    run(main())


def test_event_from_outside_is_found_within_some_turns(loop, run):
    """No more than a few turns go without a poll, however busy the loop is."""

    async def main():
        near, far = socket.socketpair()
        seen = []
        loop.add_reader(near, seen.append, "ready")
        await turns(BUSY)
        far.send(b"x")
        await turns(20)
        loop.remove_reader(near)
        near.close()
        far.close()
        assert seen

    run(main())


def test_event_during_another_one_is_found_soon(loop, run):
    """The turn after a poll that found something may go without one, but not two."""

    async def main():
        near, far = socket.socketpair()
        reading, writing = os.pipe()
        events, found = [], []

        def on_event():
            events.append(near.recv(1))
            os.write(writing, b"x")  # the loop does not know

        loop.add_reader(near, on_event)
        loop.add_reader(reading, lambda: found.append(os.read(reading, 1)))
        for count in range(1, 11):
            far.send(b"x")
            while len(events) < count:
                await turns(1)
            await turns(SOON)
            assert len(found) == count
        loop.remove_reader(near)
        loop.remove_reader(reading)
        for end in (reading, writing):
            os.close(end)
        near.close()
        far.close()

    run(main())


def test_no_poll_is_skipped_after_a_turn_that_took_long(loop, run):
    async def main():
        near, far = socket.socketpair()
        reading, writing = os.pipe()
        began, found = [], []

        def on_event():
            began.append(near.recv(1))
            os.write(writing, b"x")  # the loop does not know
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass

        loop.add_reader(near, on_event)
        loop.add_reader(reading, lambda: found.append(os.read(reading, 1)))
        for count in range(1, 11):
            far.send(b"x")
            while len(began) < count:
                await turns(1)
            await turns(1)  # in which the pipe is found
            assert len(found) == count
            await turns(BUSY)
        loop.remove_reader(near)
        loop.remove_reader(reading)
        for end in (reading, writing):
            os.close(end)
        near.close()
        far.close()

    run(main())
