"""A socket with much to read takes its turn like the others, however long its protocol takes for each piece."""

import asyncio
import itertools
import os
import socket
import statistics
import time

import pytest


def work():
    """More than a turn's budget for further datagrams or connections, on any machine."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass


class Counting(asyncio.DatagramProtocol):
    count = 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.count += 1


class Slow(Counting):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        work()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@pytest.fixture
def flooded(loop, run):
    """flooded(protocol, count): a datagram endpoint that so many datagrams wait for; closed after the test."""
    made = []

    def flooded(protocol, count):
        transport, _ = run(loop.create_datagram_endpoint(lambda: protocol, ("127.0.0.1", 0)))
        made.append(transport)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for number in range(count):
                peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))

    yield flooded
    for transport in made:
        transport.abort()
    run(asyncio.sleep(0))


def test_a_datagram_that_takes_long_is_the_only_one_of_its_turn(flooded, turn):
    protocol = Slow()
    flooded(protocol, 60)
    while protocol.count < 60:
        before = protocol.count
        turn()
        assert protocol.count - before <= 1


def test_sockets_share_the_budget_of_a_turn(flooded, turn):
    seen = []

    class NotingSlow(Slow):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            seen.append("slow")

    class NotingQuick(Counting):
        def datagram_received(self, data, addr):
            seen.append("quick")

    flooded(NotingSlow(), 40)
    flooded(NotingQuick(), 400)
    while seen.count("slow") < 40:
        before = len(seen)
        turn()
        if "slow" in seen[before:]:
            behind = seen[seen.index("slow", before) + 1 :]
            assert behind in ([], ["quick"])


def test_callbacks_of_a_datagram_run_before_the_next_batch(loop, run, flooded):
    seen = []

    class Queueing(Counting):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            seen.append("datagram")
            loop.call_soon(seen.append, "queued")
            self.transport.sendto(b"x", addr)  # so that the loop polls in each turn

    async def main():
        while protocol.count < 100:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    protocol = Queueing()
    flooded(protocol, 100)
    run(main())
    assert seen == ["datagram", "queued"] * 100


def test_an_echo_beside_a_flood_of_datagrams(loop, run, flooded):
    protocol = Slow()
    flooded(protocol, 200)

    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        transport, _ = await loop.create_connection(Echo, sock=near)
        for _ in range(20):
            before = protocol.count
            await loop.sock_sendall(far, b"x")
            assert await loop.sock_recv(far, 10) == b"x"
            assert protocol.count - before <= 4
        assert protocol.count < 200  # the flood has lasted
        transport.close()
        far.close()

    run(main())


def test_a_flood_takes_little_of_a_turn_where_others_are_ready(loop, flooded, turn):
    class Quick(Counting):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            end = time.perf_counter() + 10e-6  # more than an eighth of the budget, less than all of it
            while time.perf_counter() < end:
                pass

    protocol = Quick()
    flooded(protocol, 200)
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        loop.add_reader(near, lambda: None)  # ready in each turn
        turn(3)
        counts = []
        while protocol.count < 150:
            before = protocol.count
            turn()
            counts.append(protocol.count - before)
        loop.remove_reader(near)
    assert statistics.median(counts) == 1, counts  # a turn that a busy machine has made long may get more


def test_a_read_gets_a_few_of_a_flood_where_others_are_ready(loop, flooded, turn):
    """How many are left in the kernel tells."""
    protocol = Counting()
    flooded(protocol, 200)
    near, far = socket.socketpair()
    with near, far, socket.socket(fileno=os.dup(protocol.transport.get_extra_info("socket").fileno())) as kernel:
        far.send(b"x")
        loop.add_reader(near, lambda: None)  # ready in each turn
        turn(3)
        gone = [int(kernel.recv(10, socket.MSG_PEEK))]
        while gone[-1] < 150:
            turn()
            gone.append(int(kernel.recv(10, socket.MSG_PEEK)))
        loop.remove_reader(near)
    reads = [after - before for before, after in itertools.pairwise(gone) if after > before]
    assert statistics.median(reads) <= 4, reads  # a turn that a busy machine has made long may get more


@pytest.mark.parametrize("kind", ["asyncloop"])  # in asyncio the kernel decides, which puts the flood first
def test_other_ready_descriptors_run_before_a_flood(loop, flooded, turn):
    seen = []

    class Noting(Counting):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            seen.append("datagram")

    protocol = Noting()
    flooded(protocol, 200)
    near, far = socket.socketpair()
    with near, far, socket.socket(fileno=os.dup(protocol.transport.get_extra_info("socket").fileno())) as kernel:
        far.send(b"x")
        loop.add_reader(near, seen.append, "other")  # ready in each turn
        turn(3)
        firsts = []
        while protocol.count < 150:
            seen.clear()
            before = kernel.recv(10, socket.MSG_PEEK)
            turn()
            if kernel.recv(10, socket.MSG_PEEK) != before:  # else it was the rest of an earlier read
                firsts.append(seen[0])
        loop.remove_reader(near)
    assert statistics.mode(firsts) == "other", firsts  # but in a turn that a busy machine has made long


@pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio makes all protocols of a burst in one turn
def test_a_factory_that_takes_long_is_the_only_one_of_its_turn(loop, run, turn, kind):
    made = []

    def factory():
        work()
        made.append(Echo())
        return made[-1]

    server = run(loop.create_server(factory, "127.0.0.1", 0, backlog=64))
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(40)]
    while len(made) < 40:
        before = len(made)
        turn()
        assert len(made) - before <= 1
    turn()
    for protocol in made:
        protocol.transport.abort()
    server.close()
    turn(2)
    for peer in peers:
        peer.close()
