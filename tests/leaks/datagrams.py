"""Datagram transports, at the other end a plain socket: every way to live and to end."""

import asyncio
import contextlib
import gc
import os
import socket
import tempfile
import warnings


class _Protocol(asyncio.DatagramProtocol):
    fails = ""  # the method that raises

    def __init__(self):
        self.received = []
        self.errors = 0
        self.lost = asyncio.get_running_loop().create_future()

    def _did(self, method):
        if method == self.fails:
            raise ValueError(method)

    def connection_made(self, transport):
        self.transport = transport
        self._did("connection_made")

    def datagram_received(self, data, addr):
        self.received.append((data, addr))
        self._did("datagram_received")

    def error_received(self, exc):
        self.errors += 1
        self._did("error_received")

    def connection_lost(self, exc):
        self.lost.set_result(exc)
        self._did("connection_lost")


@contextlib.asynccontextmanager
async def _endpoint(factory=_Protocol, **kwargs):
    """-> (transport, protocol, its address, a plain peer); at the end the transport must have been closed."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        kwargs = kwargs or {"local_addr": ("127.0.0.1", 0)}
        if "remote_addr" in kwargs:
            kwargs["remote_addr"] = peer.getsockname()
        transport, protocol = await loop.create_datagram_endpoint(factory, **kwargs)
        loop.set_exception_handler(lambda loop, context: None)
        yield transport, protocol, transport.get_extra_info("sockname"), peer
        if not transport.is_closing():
            transport.close()
        await protocol.lost
        await asyncio.sleep(0)


async def back_and_forth():
    async with _endpoint() as (transport, protocol, address, peer):
        for i in range(20):
            peer.sendto(bytes(i), address)
            while len(protocol.received) <= i:
                await asyncio.sleep(0)
            transport.sendto(*protocol.received[-1])


async def connected():
    async with _endpoint(remote_addr=True) as (transport, _, _, peer):
        for data in (b"x", bytearray(b"x"), memoryview(b"x"), b""):
            transport.sendto(data)
            transport.sendto(data, peer.getsockname())


async def many_at_once():
    async with _endpoint() as (_, protocol, address, peer):
        for _ in range(4):
            for _ in range(50):
                peer.sendto(b"hello", address)
            while len(protocol.received) % 50 or not protocol.received:
                await asyncio.sleep(0)
            await asyncio.sleep(0)


async def many_senders():
    async with _endpoint() as (_, protocol, address, _):
        for _ in range(60):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", address)
        while len(protocol.received) < 60:
            await asyncio.sleep(0)


async def _ended_in_the_middle(how):
    class Ending(_Protocol):
        def datagram_received(self, data, addr):
            self.received.append(data)
            if len(self.received) == 5:
                getattr(self.transport, how)()

    async with _endpoint(Ending) as (_, protocol, address, peer):
        for _ in range(30):
            peer.sendto(b"hello", address)
        while len(protocol.received) < 5:
            await asyncio.sleep(0)


async def closed_in_the_middle():
    await _ended_in_the_middle("close")


async def aborted_in_the_middle():
    await _ended_in_the_middle("abort")


async def paused_in_the_middle():
    await _ended_in_the_middle("pause_reading")


async def failing_datagram_received():
    async with _endpoint(type("Failing", (_Protocol,), {"fails": "datagram_received"})) as (_, protocol, address, peer):
        for _ in range(30):
            peer.sendto(b"hello", address)
        while len(protocol.received) < 30:
            await asyncio.sleep(0)


async def failing_connection_lost():
    async with _endpoint(type("Failing", (_Protocol,), {"fails": "connection_lost"})):
        pass


async def errors():
    async with _endpoint() as (transport, _, _, _):
        transport.sendto(bytes(70000), ("127.0.0.1", 9))
        transport.sendto(b"x", ("255.255.255.255", 9))
        for data, address in (("x", ("127.0.0.1", 9)), (5, None)):
            with contextlib.suppress(TypeError):
                transport.sendto(data, address)


async def wrong_address():
    for address in (None, ("127.0.0.1", 70000), 5):
        async with _endpoint() as (transport, _, _, _):
            transport.sendto(b"x", address)


async def wrong_address_for_a_connected_one():
    async with _endpoint(remote_addr=True) as (transport, _, _, _):
        with contextlib.suppress(ValueError):
            transport.sendto(b"x", ("127.0.0.1", 9))


async def refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # A port that nobody else can get, and that refuses all datagrams but those of the port it is connected with.
        sock.bind(("127.0.0.1", 0))
        sock.connect(("127.0.0.1", 9))
        address = sock.getsockname()
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(_Protocol, remote_addr=address)
        transport.sendto(b"x")
        while not protocol.errors:
            await asyncio.sleep(0)
        transport.close()
        transport.sendto(b"x")
        await protocol.lost


async def _queued(end):
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        path = os.path.join(place, "inbox")
        inbox.bind(path)
        inbox.setblocking(False)
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            _Protocol, family=socket.AF_UNIX, local_addr=os.path.join(place, "outbox")
        )
        while transport.get_write_buffer_size() < 1000:
            transport.sendto(bytearray(10), path)
        transport.sendto(b"x", path)
        end(transport)
        while not protocol.lost.done():
            with contextlib.suppress(BlockingIOError):
                inbox.recv(100)
            await asyncio.sleep(0)


async def queued_and_closed():
    await _queued(lambda transport: transport.close())


async def queued_and_aborted():
    await _queued(lambda transport: transport.abort())


async def extra_info_and_repr():
    async with _endpoint() as (transport, _, _, _):
        for name in ("socket", "peername", "sockname", "nonsense"):
            transport.get_extra_info(name)
        repr(transport)
        transport.remark = transport
        transport.set_protocol(transport.get_protocol())
        transport.set_write_buffer_limits(high=10)
        transport.close()
        repr(transport)


async def dropped_without_closing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            _Protocol, local_addr=("127.0.0.1", 0)
        )
        with contextlib.suppress(NotImplementedError):  # stock of 3.11.2: then the loop's end drops it
            transport.pause_reading()
        await asyncio.sleep(0)
        del transport, protocol
        gc.collect()


def open_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport, protocol = loop.run_until_complete(
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        )
        loop.close()
        del transport, protocol
        gc.collect()
