"""The kernel refuses to watch a descriptor: whoever has asked for it is told, and the loop goes on."""

import pytest

pytestmark = pytest.mark.feature("epoll")

PRELUDE = """
told = []  # what the exception handler was called with, and what was raised
loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far

def number(function, *args):
    "The errno of the OSError that it raises."
    try:
        function(*args)
    except OSError as exc:
        return exc.errno

async def number_of(coroutine):
    try:
        await asyncio.wait_for(coroutine, 2)
    except OSError as exc:
        return exc.errno

def told_of(error):
    taken, told[:] = [exc.errno for exc in told], []
    return taken == [error]

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)

class Protocol(asyncio.Protocol):
    def __init__(self):
        self.got = bytearray()
        self.lost = []
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.got += data
    def datagram_received(self, data, address):
        self.got += data
    def connection_lost(self, exc):
        self.lost.append(exc)
"""

ours = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@pytest.fixture
def refused(preloaded, kind):
    return lambda source, **keywords: preloaded(kind, PRELUDE, source, **keywords)


@pytest.mark.parametrize("error", ["ENOSPC", "ENOMEM", "ELOOP", "EINVAL", "EBADF", "EPERM"])
@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_descriptor_is_not_watched(refused, method, error):
    refused(f"""
        async def main():
            near, far = pair()
            called = []
            refuse("add", errno.{error})
            assert number(loop.{method}, near, called.append, 1) == errno.{error}
            assert loop.remove_reader(near) is loop.remove_writer(near) is False
            refuse("add", 0)
            far.send(b"x")
            await asyncio.sleep(0.005)
            assert not called
            loop.{method}(near, called.append, 1)
            await until(lambda: called)
    """)


@ours  # stock forgets the reader, but the kernel does not
@pytest.mark.parametrize("error", ["ENOSPC", "ENOMEM"])
def test_a_second_event_is_not_watched_and_the_first_still_is(refused, error):
    refused(f"""
        async def main():
            near, far = pair()
            read, called = [], []
            loop.add_reader(near, lambda: read.append(near.recv(1)))
            refuse("mod", errno.{error})
            assert number(loop.add_writer, near, called.append, 1) == errno.{error}
            far.send(b"x")
            await until(lambda: read)
            refuse("mod", 0)
            loop.add_writer(near, called.append, 1)
            await until(lambda: called)
            assert loop.remove_reader(near) is loop.remove_writer(near) is True
    """)


@ours
def test_a_replaced_reader_stays_if_the_new_one_is_refused(refused):
    refused("""
        async def main():
            near, far = pair()
            read = []
            loop.add_reader(near, lambda: read.append(near.recv(1)))
            refuse("mod", errno.ENOMEM)
            assert number(loop.add_reader, near, print) == errno.ENOMEM
            refuse("mod", 0)
            far.send(b"x")
            await until(lambda: read)
    """)


@ours
def test_an_event_that_cannot_be_given_up_does_not_spin_for_long(refused):
    refused("""
        async def main():
            near, far = pair()
            loop.add_reader(near, print)
            loop.add_writer(near, int)
            refuse("mod", errno.ENOMEM)
            loop.remove_writer(near)
            await asyncio.sleep(0.005)
            refuse("mod", 0)
            await asyncio.sleep(0.005)
            began = time.process_time()
            await asyncio.sleep(0.2)
            assert time.process_time() - began < 0.1
    """)


@pytest.mark.parametrize("error", ["ENOSPC", "ENOMEM"])
def test_sock_methods_raise(refused, error):
    refused(f"""
        async def main():
            near, far = pair()
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            while number(near.send, bytes(65536)) is None:
                pass
            refuse("add", errno.{error})
            assert await number_of(loop.sock_recv(near, 1)) == errno.{error}
            assert await number_of(loop.sock_recv_into(near, bytearray(1))) == errno.{error}
            assert await number_of(loop.sock_sendall(near, b"x")) == errno.{error}
            assert await number_of(loop.sock_accept(listening)) == errno.{error}
            refuse("add", 0)
            receiving = loop.create_task(loop.sock_recv(near, 1))
            await asyncio.sleep(0)
            far.send(b"y")
            assert await receiving == b"y"
            near.close(), far.close(), listening.close()
    """)


def test_a_server_is_not_made(refused):
    refused("""
        async def main():
            refuse("add", errno.ENOSPC)
            assert await number_of(loop.create_server(Protocol, "127.0.0.1", 0)) == errno.ENOSPC
            refuse("add", 0)
            server = await loop.create_server(Protocol, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.close()
            server.close()
    """)


def test_a_connection_does_not_read(refused):
    refused("""
        async def main():
            near, far = pair()
            refuse("add", errno.ENOSPC)
            transport, protocol = await loop.create_connection(Protocol, sock=near)
            await asyncio.sleep(0.005)
            refuse("add", 0)
            assert told_of(errno.ENOSPC)
            transport.write(b"x")
            assert far.recv(1) == b"x"
            far.send(b"y")
            transport.pause_reading()
            transport.resume_reading()
            await until(lambda: protocol.got)
            transport.close()
            await until(lambda: protocol.lost)
            far.close()
    """)


def test_an_accepted_connection_does_not_read(refused):
    refused("""
        async def main():
            accepted = []
            def protocol():
                accepted.append(Protocol())
                return accepted[-1]
            server = await loop.create_server(protocol, "127.0.0.1", 0)
            far = socket.create_connection(server.sockets[0].getsockname())
            refuse("add", errno.ENOSPC)
            await until(lambda: told)
            refuse("add", 0)
            assert told_of(errno.ENOSPC)
            accepted[0].transport.close()
            far.close()
            server.close()
            await until(lambda: accepted[0].lost)
    """)


def test_an_endpoint_does_not_receive(refused):
    refused("""
        async def main():
            refuse("add", errno.ENOSPC)
            transport, protocol = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
            await asyncio.sleep(0.005)
            refuse("add", 0)
            assert told_of(errno.ENOSPC)
            transport.close()
            await until(lambda: protocol.lost)
    """)


def test_a_pipe_is_not_read(refused):
    refused("""
        async def main():
            reading, writing = os.pipe()
            refuse("add", errno.ENOSPC)
            transport, protocol = await loop.connect_read_pipe(Protocol, open(reading, "rb", 0))
            await asyncio.sleep(0.005)
            refuse("add", 0)
            assert told_of(errno.ENOSPC)
            transport.close()
            await until(lambda: protocol.lost)
            os.close(writing)
    """)


def test_reading_is_not_resumed(refused):
    refused("""
        async def main():
            near, far = pair()
            transport, protocol = await loop.create_connection(Protocol, sock=near)
            await asyncio.sleep(0.005)
            transport.pause_reading()
            refuse("add", errno.ENOMEM), refuse("mod", errno.ENOMEM)
            assert number(transport.resume_reading) == errno.ENOMEM
            refuse("add", 0), refuse("mod", 0)
            transport.pause_reading()
            transport.resume_reading()
            far.send(b"x")
            await until(lambda: protocol.got)
            transport.close()
            far.close()
            await until(lambda: protocol.lost)
    """)


@ours  # stock loses what it could not send, and goes on
@pytest.mark.parametrize("paused", [False, True])  # what then fails is to change, or to add
@pytest.mark.parametrize("write", [("write", "bytes(1 << 24)"), ("writelines", "[bytes(1 << 23)] * 2")])
def test_a_connection_is_lost_that_cannot_wait_to_send(refused, paused, write):
    refused(f"""
        async def main():
            near, far = pair()
            transport, protocol = await loop.create_connection(Protocol, sock=near)
            await asyncio.sleep(0.005)
            if {paused}:
                transport.pause_reading()
            refuse("add", errno.ENOMEM), refuse("mod", errno.ENOMEM)
            assert number(transport.{write[0]}, {write[1]}) == errno.ENOMEM
            await until(lambda: protocol.lost)
            refuse("add", 0), refuse("mod", 0)
            assert protocol.lost[0].errno == errno.ENOMEM
            far.close()
    """)


@ours
def test_a_pipe_is_lost_that_cannot_wait_to_be_written(refused):
    refused("""
        async def main():
            reading, writing = os.pipe()
            transport, protocol = await loop.connect_write_pipe(Protocol, open(writing, "wb", 0))
            await asyncio.sleep(0.005)
            refuse("add", errno.ENOMEM), refuse("mod", errno.ENOMEM)
            assert number(transport.write, bytes(1 << 24)) == errno.ENOMEM
            await until(lambda: protocol.lost)
            refuse("add", 0), refuse("mod", 0)
            assert protocol.lost[0].errno == errno.ENOMEM
            os.close(reading)
    """)


@pytest.mark.parametrize("error", ["ENOMEM", "EFAULT"])
def test_a_poll_fails(refused, error):
    refused(
        f"""
        refuse("wait", errno.{error})
        assert number(loop.run_until_complete, asyncio.sleep(0.01)) == errno.{error}
        refuse("wait", 0)
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        """,
        run="",
    )
