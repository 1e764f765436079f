"""An old kernel or a sandbox refuses system calls that asyncio does not need: all goes on without them."""

import errno
import os
import subprocess
import sys
import textwrap

import failing
import pytest

REFUSALS = [errno.ENOSYS, errno.EPERM]

PRELUDE = f"""
import asyncio, errno, os, socket, sys
sys.path[:] = [{os.path.dirname(failing.__file__)!r}, *{sys.path!r}]
import failing, stock

class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received, self.errors = [], []
    def datagram_received(self, data, address):
        self.received.append(data)
    def error_received(self, exc):
        self.errors.append(exc)

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def echoes(address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
"""


@pytest.fixture
def refusing(shim, kind, tmp_path):
    """refusing(source) runs the source of main() in a process where calls can fail."""
    make = "asyncio.SelectorEventLoop()" if kind == "asyncio" else "__import__('asyncloop').new_event_loop()"

    def refusing(source):
        path = tmp_path / "program.py"
        end = f"\nloop = {make}\nloop.run_until_complete(asyncio.wait_for(main(), 20))\nloop.close()\n"
        path.write_text(PRELUDE + textwrap.dedent(source) + end)
        done = subprocess.run(
            [sys.executable, path], env=failing.environment(shim), capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")

    return refusing


@pytest.mark.parametrize("error", REFUSALS)
def test_datagrams_are_received_without_recvmmsg(refusing, error):
    refusing(f"""
        async def main():
            protocol = Datagrams()
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: protocol, ("127.0.0.1", 0)
            )
            sent = [b"%d" % i for i in range(100)]
            with failing.calls("recvmmsg", error={error}), socket.socket(type=socket.SOCK_DGRAM) as peer:
                for data in sent:
                    peer.sendto(data, transport.get_extra_info("sockname"))
                await until(lambda: len(protocol.received) == 100)
                assert protocol.received == sent
                assert failing.made().get("recvmmsg", 0) <= 1  # asked for once
            assert protocol.errors == []
            transport.close()
    """)


SLOW_RECEIVER = """
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(b"\\0asyncloop-refused-%d" % os.getpid())
        receiver.setblocking(False)

        def read():
            try:
                while True:
                    received.append(receiver.recv(100))
            except BlockingIOError:
                pass

        received = []
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.bind("")
        sender.setblocking(False)
"""


@pytest.mark.parametrize("error", REFUSALS)
def test_queued_datagrams_are_sent_without_sendmmsg(refusing, error):
    refusing(f"""{SLOW_RECEIVER}
        async def main():
            protocol = Datagrams()
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, sock=sender)
            sent = [b"%d" % i for i in range(100)]
            with failing.calls("sendmmsg", error={error}):
                for data in sent:
                    transport.sendto(data, receiver.getsockname())
                while len(received) < 100:
                    read()
                    await asyncio.sleep(0.001)
                assert received == sent
                assert failing.made().get("sendmmsg", 0) <= 1
            assert protocol.errors == []
            transport.close()
            receiver.close()
    """)


@pytest.mark.feature("sendmmsg")
def test_error_of_a_firewall_does_not_disable_sendmmsg(refusing, kind):
    """sendto() says EPERM as well: that is reported, and sendmmsg() goes on being used."""
    refusing(f"""{SLOW_RECEIVER}
        async def main():
            protocol = Datagrams()
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=sender)

            for _ in range(100):
                transport.sendto(b"x", receiver.getsockname())
            with failing.calls("sendmmsg", "sendto", error=errno.EPERM, times=1):
                while not protocol.errors:
                    read()
                    await asyncio.sleep(0.001)
            failing.begin()
            while stock.unsent(transport):
                read()
                await asyncio.sleep(0.001)
            read()
            assert [type(exc) for exc in protocol.errors] == [PermissionError]
            assert len(received) == 99
            assert "{kind}" == "asyncio" or failing.made()["sendmmsg"] > 0
            transport.close()
            receiver.close()
    """)


@pytest.mark.parametrize("error", REFUSALS)
def test_connections_are_accepted_without_accept4(refusing, kind, error):
    if kind == "asyncio" and error == errno.EPERM:
        pytest.skip("the socket module of the interpreter knows ENOSYS alone")
    refusing(f"""
        async def main():
            server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
            with failing.calls("accept4", error={error}):
                for _ in range(5):
                    await echoes(server.sockets[0].getsockname())
                assert failing.made().get("accept4", 0) <= 1
            server.close()
    """)


def test_an_accepted_connection_is_as_with_accept4(refusing):
    refusing("""
        import fcntl

        async def main():
            made = asyncio.get_running_loop().create_future()

            class Made(asyncio.Protocol):
                def connection_made(self, transport):
                    made.set_result(transport)

            server = await asyncio.get_running_loop().create_server(Made, "127.0.0.1", 0)
            with failing.calls("accept4", error=errno.ENOSYS):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                transport = await made
            number = transport.get_extra_info("socket").fileno()
            assert not os.get_inheritable(number)
            assert not os.get_blocking(number)
            assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
            transport.abort()
            writer.close()
            server.close()
    """)


@pytest.mark.parametrize("error", [*REFUSALS, errno.ENOMEM])
def test_a_descriptor_is_used_if_fstat_fails(refusing, error):
    """Ours asks before each use of a number that the program knows, which asyncio does not."""
    refusing(f"""
        async def main():
            loop = asyncio.get_running_loop()
            protocol = Datagrams()
            with failing.calls("fstat", error={error}, whose=failing.OURS):
                listener = socket.create_server(("127.0.0.1", 0))
                server = await loop.create_server(Echo, sock=listener)
                for _ in range(2):
                    with socket.create_connection(listener.getsockname()) as sock:
                        sock.setblocking(False)
                        reader, writer = await asyncio.open_connection(sock=sock)
                        writer.write(b"hello")
                        assert await reader.readexactly(5) == b"hello"
                        writer.close()
                        await writer.wait_closed()
                        assert sock.fileno() == -1
                sock = socket.socket(type=socket.SOCK_DGRAM)
                sock.bind(("127.0.0.1", 0))
                transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=sock)
                transport.sendto(b"x", sock.getsockname())
                await until(lambda: protocol.received)
                transport.close()
                server.close()
                await server.wait_closed()
            assert listener.fileno() == -1
            assert protocol.errors == []
    """)


def test_a_send_that_a_signal_interrupts_is_made_again(refusing):
    refusing("""
        async def main():
            loop = asyncio.get_running_loop()
            near, far = socket.socketpair()
            near.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            for write in (lambda: transport.write(b"xy"), lambda: transport.writelines([b"x", b"y"])):
                with failing.calls("send", "sendmsg", error=errno.EINTR, times=1):
                    write()
                assert transport.get_write_buffer_size() == 0
                assert far.recv(10) == b"xy"
            transport.close()
            far.close()
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.bind(("127.0.0.1", 0))
                transport, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
                with failing.calls("sendto", error=errno.EINTR, times=1):
                    transport.sendto(b"x", peer.getsockname())
                assert transport.get_write_buffer_size() == 0
                assert peer.recv(10) == b"x"
                transport.close()
    """)


@pytest.mark.parametrize("error", [errno.EALREADY, errno.EINPROGRESS])
def test_errnos_of_blocking_io_error_mean_try_again(refusing, error):
    refusing(f"""
        async def main():
            loop = asyncio.get_running_loop()
            near, far = socket.socketpair()
            near.setblocking(False)
            transport, _ = await loop.create_connection(Echo, sock=near)
            with failing.calls("send", error={error}, times=1):
                transport.write(b"x")
            far.setblocking(False)
            assert await loop.sock_recv(far, 10) == b"x"
            with failing.calls("recv", error={error}, times=1, whose=failing.OURS):
                far.send(b"y")
                await asyncio.sleep(0.01)
            assert await loop.sock_recv(far, 10) == b"y"
            transport.close()
            far.close()
    """)
