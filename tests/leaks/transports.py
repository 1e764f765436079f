"""Stream transports, at the other end a plain socket: every way to live and to end."""

import asyncio
import contextlib
import gc
import socket
import struct
import warnings


class _Protocol(asyncio.Protocol):
    fails = ""  # the method that raises
    keep_open = False

    def __init__(self):
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def _did(self, method):
        if method == self.fails:
            raise ValueError(method)

    def connection_made(self, transport):
        self.transport = transport
        self._did("connection_made")

    def data_received(self, data):
        self.received += data
        self._did("data_received")

    def eof_received(self):
        self._did("eof_received")
        return self.keep_open

    def connection_lost(self, exc):
        self.lost.set_result(exc)
        self._did("connection_lost")

    def pause_writing(self):
        self._did("pause_writing")

    def resume_writing(self):
        self._did("resume_writing")


class _Buffered(_Protocol, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self._did("get_buffer")
        self.buffer = bytearray(100)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.received += self.buffer[:nbytes]
        self._did("buffer_updated")


@contextlib.asynccontextmanager
async def _connected(factory=_Protocol):
    """-> (transport, protocol, the peer's socket); at the end the transport must have been lost."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with far:
        transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=near)
        yield transport, protocol, far
        await asyncio.wait_for(protocol.lost, 10)


async def closed():
    async with _connected() as (transport, _, _):
        transport.close()


async def aborted():
    async with _connected() as (transport, _, _):
        transport.abort()


async def echo():
    async with _connected() as (transport, protocol, peer):
        for _ in range(10):
            peer.send(b"hello")
            await asyncio.sleep(0)
            transport.write(b"hello")
        while len(protocol.received) < 50:
            await asyncio.sleep(0)
        transport.close()


async def buffered_protocol():
    async with _connected(_Buffered) as (transport, protocol, peer):
        peer.send(bytes(500))
        while len(protocol.received) < 500:
            await asyncio.sleep(0)
        transport.close()


async def large_reads():
    async with _connected() as (transport, protocol, peer):
        for _ in range(20):
            with contextlib.suppress(BlockingIOError):
                peer.send(bytes(200_000))
            await asyncio.sleep(0)
        transport.close()


async def large_write_to_a_slow_reader():
    async with _connected() as (transport, _, peer):
        transport.write(bytes(1_000_000))
        transport.writelines([bytes(1000), bytearray(1000), memoryview(bytes(1000))])
        transport.close()
        left = 1_003_000
        while left:
            with contextlib.suppress(BlockingIOError):
                left -= len(peer.recv(100_000))
            await asyncio.sleep(0)


async def many_small_writes():
    async with _connected() as (transport, _, peer):
        for _ in range(100):
            transport.write(b"x")
        transport.writelines([b"x"] * 100)
        await asyncio.sleep(0)
        peer.recv(1000)  # a Unix socket with so many messages is not writable, even if it would take more
        transport.close()


async def aborted_with_data_waiting():
    async with _connected() as (transport, _, _):
        transport.write(bytes(1_000_000))
        transport.write(bytearray(1_000_000))
        transport.abort()
        transport.write(b"too late")


async def end_of_stream():
    async with _connected() as (_, _, peer):
        peer.close()


async def end_of_stream_kept_open():
    class Half(_Protocol):
        keep_open = True

    async with _connected(Half) as (transport, _, peer):
        peer.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.001)
        transport.write(b"x")
        transport.write_eof()
        transport.close()


async def reset_by_the_peer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, protocol = await asyncio.get_running_loop().create_connection(_Protocol, *listener.getsockname())
        conn, _ = listener.accept()
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        await protocol.lost


async def paused_and_resumed():
    async with _connected() as (transport, protocol, peer):
        transport.pause_reading()
        peer.send(b"x")
        await asyncio.sleep(0)
        transport.resume_reading()
        while not protocol.received:
            await asyncio.sleep(0)
        transport.pause_reading()
        transport.close()


async def protocol_switched():
    async with _connected() as (transport, first, peer):
        second = _Buffered()
        transport.set_protocol(second)
        peer.send(b"x")
        while not second.received:
            await asyncio.sleep(0)
        transport.set_protocol(first)
        transport.close()


async def extra_info_and_repr():
    async with _connected() as (transport, _, _):
        for name in ("socket", "peername", "sockname", "nonsense"):
            transport.get_extra_info(name)
        transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        repr(transport)
        transport.remark = transport
        transport.get_protocol()
        transport.set_write_buffer_limits(high=10)
        transport.get_write_buffer_limits()
        transport.close()
        repr(transport)


async def bad_arguments():
    async with _connected() as (transport, _, _):
        for call, argument in ((transport.write, "text"), (transport.writelines, [1]), (transport.writelines, 5)):
            try:
                call(argument)
            except TypeError:
                pass
        try:
            transport.set_write_buffer_limits(high=1, low=2)
        except ValueError:
            pass
        transport.write_eof()
        try:
            transport.write(b"x")
        except RuntimeError:
            pass
        transport.close()


def _failing(base, method):
    return type("Failing", (base,), {"fails": method})


async def failing_connection_made():
    async with _connected(_failing(_Protocol, "connection_made")) as (transport, _, _):
        transport.close()


async def failing_data_received():
    async with _connected(_failing(_Protocol, "data_received")) as (_, _, peer):
        peer.send(b"x")


async def failing_eof_received():
    async with _connected(_failing(_Protocol, "eof_received")) as (_, _, peer):
        peer.close()


async def failing_connection_lost():
    async with _connected(_failing(_Protocol, "connection_lost")) as (transport, _, _):
        transport.close()


async def failing_get_buffer():
    async with _connected(_failing(_Buffered, "get_buffer")) as (_, _, peer):
        peer.send(b"x")


async def failing_buffer_updated():
    async with _connected(_failing(_Buffered, "buffer_updated")) as (_, _, peer):
        peer.send(b"x")


async def failing_flow_control():
    for method in ("pause_writing", "resume_writing"):
        async with _connected(_failing(_Protocol, method)) as (transport, _, peer):
            transport.write(bytes(1_000_000))
            transport.close()
            while not transport.is_closing() or transport.get_write_buffer_size():
                with contextlib.suppress(BlockingIOError):
                    peer.recv(100_000)
                await asyncio.sleep(0)


async def wrong_buffer():
    class Wrong(_Buffered):
        def get_buffer(self, sizehint):
            return bytearray()

    async with _connected(Wrong) as (_, _, peer):
        peer.send(b"x")


async def dropped_without_closing():
    near, far = socket.socketpair()
    near.setblocking(False)
    with far, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport, protocol = await asyncio.get_running_loop().create_connection(_Protocol, sock=near)
        transport.pause_reading()
        await asyncio.sleep(0)
        del transport, protocol, near
        gc.collect()


def open_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    with far, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport, protocol = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
        transport.write(bytes(1_000_000))
        loop.close()
        del transport, protocol, near
        gc.collect()
