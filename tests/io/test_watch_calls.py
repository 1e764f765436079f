"""What it costs to watch descriptors: one epoll_ctl() for each change, and none for those who go on."""

import pytest

pytestmark = pytest.mark.feature("epoll")

PRELUDE = """
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
"""


@pytest.fixture
def counted(preloaded):
    """counted(source) runs the source of main() on a loop of ours."""
    return lambda source: preloaded("asyncloop", PRELUDE, source)


def test_each_change_is_one_call(counted):
    counted("""
        async def main():
            near, far = pair()
            calls("changes")
            loop.add_reader(near, int)
            assert calls("changes") == 1
            loop.add_writer(near, int)
            assert calls("changes") == 1
            loop.remove_writer(near)
            assert calls("changes") == 1
            loop.remove_reader(near)
            assert calls("changes") == 1
            assert not loop.remove_reader(near)
            assert calls("changes") == 0
            loop.add_reader(near, int)
            assert calls("changes") == 1
    """)


def test_parked_descriptor_ends_no_poll(counted):
    """It stays registered without events; its hang-up is found once at the most."""
    counted("""
        async def main():
            near, far = pair()
            called = []
            loop.add_reader(near, called.append, 1)
            loop.remove_reader(near)
            far.send(b"x")
            far.close()
            await asyncio.sleep(0.002)
            calls("waits")
            await asyncio.sleep(0.01)
            assert calls("waits") == 1
            assert not called
            loop.add_reader(near, called.append, 1)
            await asyncio.sleep(0.002)
            assert called
    """)


def test_close_while_parked(counted):
    counted("""
        async def main():
            numbers = set()
            for make in (pair, os.pipe, pair):
                near, far = make()
                fd = near if isinstance(near, int) else near.fileno()
                numbers.add(fd)
                kept = os.dup(fd)  # the kernel goes on to know it
                called = []
                loop.add_reader(fd, called.append, 1)
                loop.remove_reader(fd)
                loop.add_reader(fd, called.append, 1)
                os.write(far if isinstance(far, int) else far.fileno(), b"x")
                await asyncio.sleep(0.002)
                assert called
                loop.remove_reader(fd)
                if isinstance(near, int):
                    os.close(near), os.close(far)
                else:
                    near.close(), far.close()
            assert len(numbers) == 1
            calls("waits")
            await asyncio.sleep(0.01)
            assert calls("waits") <= 2
    """)


def test_repeated_sock_recv_registers_once(counted):
    counted("""
        async def main():
            near, far = pair()
            async def echo():
                for _ in range(100):
                    await loop.sock_sendall(far, await loop.sock_recv(far, 10))
            echoing = loop.create_task(echo())
            await asyncio.sleep(0)
            calls("changes")
            for _ in range(100):
                await loop.sock_sendall(near, b"x")
                assert await loop.sock_recv(near, 10) == b"x"
            assert calls("changes") <= 4
            await echoing
    """)


def test_last_sock_recv_is_flushed_by_the_next_poll(counted):
    counted("""
        async def main():
            near, far = pair()
            loop.call_soon(far.send, b"x")
            await loop.sock_recv(near, 10)
            far.send(b"y")
            await asyncio.sleep(0.002)
            calls("changes")
            began = time.process_time()
            await asyncio.sleep(0.1)
            assert time.process_time() - began < 0.05
            assert calls("changes") == 0
            assert near.recv(10) == b"y"
    """)


def test_a_socket_that_was_closed_after_the_last_receive(counted):
    """Its number and the place in the table go to another one within the same step."""
    counted("""
        async def main():
            for i in range(10):
                near, far = pair()
                fd = near.fileno()
                kept = near.dup()  # or the kernel would forget it by itself
                loop.call_soon(far.send, b"x")
                await loop.sock_recv(near, 10)
                near.close()
                other, peer = pair()
                assert other.fileno() == fd
                far.send(b"y")
                peer.send(b"z")
                assert await loop.sock_recv(other, 10) == b"z"
                await asyncio.sleep(0.002)
                began = time.process_time()
                await asyncio.sleep(0.02)
                assert time.process_time() - began < 0.01
                for sock in (far, other, peer, kept):
                    sock.close()
    """)


def test_a_connection_asks_once(counted):
    counted("""
        async def main():
            near, far = pair()
            transport, _ = await loop.create_connection(Echo, sock=near)
            await loop.sock_sendall(far, b"x")
            assert await loop.sock_recv(far, 10) == b"x"
            calls("changes")
            for _ in range(100):
                await loop.sock_sendall(far, b"x")
                assert await loop.sock_recv(far, 10) == b"x"
            assert calls("changes") <= 4
            transport.close()
    """)


def test_the_end_of_a_connection_is_one_change(counted):
    """It is not parked before: nobody watches the descriptor again."""
    counted("""
        ends = (
            lambda transport, far: transport.close(),
            lambda transport, far: transport.abort(),
            lambda transport, far: far.shutdown(socket.SHUT_WR),
        )

        async def main():
            for end in ends:
                near, far = pair()
                transport, _ = await loop.create_connection(Echo, sock=near)
                await asyncio.sleep(0.002)
                calls("changes")
                end(transport, far)
                await asyncio.sleep(0.002)
                assert transport.is_closing()
                assert near.fileno() == -1
                assert calls("changes") == 1
                far.close()
    """)


def test_the_end_of_datagrams_is_one_change(counted):
    counted("""
        async def main():
            for end in ("close", "abort"):
                transport, _ = await loop.create_datagram_endpoint(
                    asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
                )
                await asyncio.sleep(0.002)
                calls("changes")
                getattr(transport, end)()
                await asyncio.sleep(0.002)
                assert calls("changes") == 1
    """)


def test_a_closing_transport_hears_nothing_of_a_duplicate(counted):
    """The kernel goes on to know the file, and data is there."""
    counted("""
        class Deaf(Echo):
            received = lost = 0
            def data_received(self, data):
                self.received += 1
            def connection_lost(self, exc):
                self.lost += 1

        async def main():
            near, far = pair()
            kept = near.dup()
            transport, protocol = await loop.create_connection(Deaf, sock=near)
            await asyncio.sleep(0.002)
            transport.close()
            far.send(b"x")
            await asyncio.sleep(0.002)
            assert protocol.lost == 1 and protocol.received == 0
            calls("waits")
            await asyncio.sleep(0.01)
            assert calls("waits") <= 2
            assert kept.recv(10) == b"x"
            called = loop.create_future()
            loop.add_reader(kept, called.set_result, None)
            far.send(b"y")
            await asyncio.wait_for(called, 10)
            loop.remove_reader(kept)
    """)
