"""Addresses of all kinds, right and wrong: the loop takes, refuses and shows them as the socket module does.

What is sent goes to this machine only. `tests/c/sockaddr.py` has the conversion itself, of any address.
"""

import asyncio
import contextlib
import errno
import os
import random
import socket

import pytest

INET, INET6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


def has_inet6():
    with contextlib.suppress(OSError), socket.socket(INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return True
    return False


FAMILIES = [
    INET,
    pytest.param(INET6, marks=pytest.mark.skipif(not has_inet6(), reason="no IPv6 here")),
    UNIX,
]


class Index:
    def __index__(self):
        return 9


class Tuple(tuple):
    pass


# No name that only a name server knows, or does not know.
HOSTS = {
    INET: ["127.0.0.1", "127.255.0.3", "127.1", "0x7f.1", "", "localhost", "<broadcast>", "127.0.0.1\0"],
    INET6: ["::1", "::1%lo", "::1%nowhere", "", "::ffff:127.0.0.1", "::1\0"],
}
NUMBERS = [0, 9, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**64, -1, -(2**64), True, 9.0, "9", b"9", None, Index()]
PATHS = ["", "\0", "x", "\0x", "x\0y", "\udc80", "\ud800", b"", b"\0", b"\0\0", b"y", bytearray(b"z"), "p" * 107] + [
    *("p" * 108, "p" * 200, "é" * 54, b"\0" + b"n" * 107, b"\0" + b"n" * 108, ("x",), 5, None, memoryview(b"z")),
]
SHAPES = [(), ("127.0.0.1",), ("::1",), ["127.0.0.1", 9], "127.0.0.1", 5, ("::1", 9, 0, 0, 0), (b"127.0.0.1", 9)]
SHAPES += [(bytearray(b"::1"), 9), (None, 9), (5, 9), ("\udc80", 9)]


def addresses(family, count=150):
    """Random addresses of this machine, and ones that are none."""
    chosen = random.Random(int(family))
    if family == UNIX:
        yield from PATHS
        yield from SHAPES
        return
    for _ in range(count):
        if chosen.random() < 0.1:
            yield chosen.choice(SHAPES)
            continue
        number = [chosen.choice(NUMBERS) if chosen.random() < 0.5 else chosen.randrange(65536) for _ in range(3)]
        address = (
            chosen.choice(HOSTS[family]),
            *number[: chosen.choice([1, 1, 2, 3] if family == INET6 else [1, 1, 1, 2])],
        )
        yield Tuple(address) if chosen.random() < 0.1 else address


def told(exc):
    """What is the same of two exceptions: the text may name the method."""
    return None if exc is None else (type(exc), getattr(exc, "errno", None))


def outcome(call, *args):
    try:
        call(*args)
    except Exception as exc:
        return told(exc)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.failed = None

    def error_received(self, exc):
        self.failed = exc

    def connection_lost(self, exc):
        self.failed = self.failed or exc


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_sendto_takes_what_a_socket_takes(loop, run, reports, family):
    async def send(address):
        """What the protocol is told: by error_received(), or by connection_lost() for what is no OSError."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
        try:
            transport.sendto(b"data", address)
        finally:
            failed = protocol.failed
            transport.abort()
            await asyncio.sleep(0)
        return told(failed or protocol.failed)

    for address in addresses(family):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            expected = outcome(sock.sendto, b"data", address)
        assert run(send(address)) == expected, address
        assert [report["message"] for report in reports()] == (
            [] if expected is None or issubclass(expected[0], OSError) else ["Fatal write error on datagram transport"]
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_sock_connect_takes_what_stock_takes(loop, family):
    def connect(loop, address):
        """The exception, or whom the socket is connected to."""
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                loop.run_until_complete(loop.sock_connect(sock, address))
                return sock.getpeername()  # which fails for port 0
            except Exception as exc:
                return told(exc)

    stock = asyncio.SelectorEventLoop()
    with contextlib.closing(stock):
        for address in addresses(family):
            assert connect(loop, address) == connect(stock, address), address
        stock.run_until_complete(stock.shutdown_default_executor())


def free_names(family):
    """Addresses that a server can have, of all lengths."""
    chosen = random.Random(int(family))
    if family != UNIX:
        for _ in range(20):
            yield (f"127.{chosen.randrange(256)}.{chosen.randrange(256)}.1", 0) if family == INET else ("::1", 0)
        return
    unique = f"asyncloop-{os.getpid()}-"
    for length in [40, 60, *range(100, 108)]:
        yield unique.ljust(length, "p")
        yield (b"\0" + unique.encode() + chosen.randbytes(length))[:length] + b"n"


@pytest.mark.parametrize("family", FAMILIES)
def test_names_are_those_of_the_socket(loop, run, family):
    """Of both ends, where the client has a name of its own, or none."""

    async def names(listener, has_name):
        made = asyncio.Queue()

        class Server(asyncio.Protocol):
            def connection_made(self, transport):
                made.put_nowait(transport)

        create_server = loop.create_unix_server if family == UNIX else loop.create_server
        server = await create_server(Server, sock=listener)
        client = socket.socket(family, socket.SOCK_STREAM)
        if has_name:
            client.bind(listener.getsockname()[:-1] + b"\0" if family == UNIX else ("127.9.8.7", 0))
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        transport = await made.get()
        shown = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        expected = client.getpeername(), client.getsockname()
        assert shown == expected
        sock = transport.get_extra_info("socket")
        assert shown == (sock.getsockname(), sock.getpeername())
        transport.abort()
        client.close()
        server.close()
        await asyncio.sleep(0)

    for name in free_names(family):
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(name)
            except OSError as exc:
                assert exc.errno == errno.EADDRNOTAVAIL  # not all systems have all of 127/8
                continue
            listener.listen()
            listener.setblocking(False)
            has_name = isinstance(name, bytes) or (family == INET and int(name[0].split(".")[1]) % 2 == 0)
            run(names(listener, has_name))
