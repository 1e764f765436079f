"""A transport under test and, at its other end, a plain blocking socket that the loop knows nothing of."""

import asyncio
import socket
import weakref

import pytest


class Recording:
    """Notes the name of every protocol call, and what came with it."""

    def __init__(self):
        self.calls = []
        self.transport = None
        self.data = bytearray()
        self.lost = []  # what connection_lost() was given
        self.keep_open = None  # what eof_received() returns

    def connection_made(self, transport):
        self.calls.append("connection_made")
        self.transport = transport

    def eof_received(self):
        self.calls.append("eof_received")
        return self.keep_open

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        self.lost.append(exc)

    def pause_writing(self):
        self.calls.append("pause_writing")

    def resume_writing(self):
        self.calls.append("resume_writing")


class RecordingProtocol(Recording, asyncio.Protocol):
    def data_received(self, data):
        self.calls.append("data_received")
        self.data += data


class RecordingBufferedProtocol(Recording, asyncio.BufferedProtocol):
    size = 1000

    def get_buffer(self, sizehint):
        self.calls.append("get_buffer")
        self.buffer = bytearray(self.size)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.calls.append("buffer_updated")
        self.data += self.buffer[:nbytes]


@pytest.fixture
def Recorder():
    return RecordingProtocol


@pytest.fixture
def BufferedRecorder():
    return RecordingBufferedProtocol


def make_tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


@pytest.fixture
def tcp_pair():
    """Two connected TCP sockets, closed after the test: the first non-blocking, the second with a timeout."""
    near, far = make_tcp_pair()
    near.setblocking(False)
    far.settimeout(20)
    with near, far:
        yield near, far


@pytest.fixture
def connect(loop, run):
    """connect(protocol) -> (transport, peer): the peer is a blocking socket with a timeout, closed after the test."""
    transports = weakref.WeakSet()  # weak: some tests drop theirs
    peers = []

    def connect(protocol):
        near, far = make_tcp_pair()
        near.setblocking(False)
        far.settimeout(20)
        peers.append(far)
        transport, _ = run(loop.create_connection(lambda: protocol, sock=near))
        transports.add(transport)
        return transport, far

    yield connect
    if not loop.is_closed():
        for transport in list(transports):
            if transport.get_protocol() is not None:  # else it is closed already
                transport.abort()
        run(asyncio.sleep(0))
    for peer in peers:
        peer.close()


@pytest.fixture
def eventually(run):
    """Turns the loop until a condition holds."""

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.001)

    return lambda condition: run(until(condition))


@pytest.fixture
def settle(run):
    """Turns the loop long enough for whatever is going to happen to have happened."""
    return lambda: run(asyncio.sleep(0.02))


@pytest.fixture
def receive(run):
    """receive(peer, n) -> n bytes, or less at the end of the stream, read by a thread while the loop turns."""

    def read(peer, n):
        pieces = []
        while n > 0 and (piece := peer.recv(min(n, 1 << 20))):
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)

    return lambda peer, n: run(asyncio.to_thread(read, peer, n))


@pytest.fixture
def receive_all(receive):
    """receive_all(peer) -> everything up to the end of the stream."""
    return lambda peer: receive(peer, 1 << 40)


@pytest.fixture
def take_reports(loop):
    """Takes what the loop's exception handler was given, so that it does not fail the test."""

    def take():
        reports = loop.unhandled[:]
        loop.unhandled.clear()
        return reports

    return take


@pytest.fixture
def stuff():
    """stuff(transport) writes until the kernel takes no more and part of it stays in the transport."""

    def stuff(transport):
        written = 0
        while transport.get_write_buffer_size() == 0:
            transport.write(bytes(1 << 20))
            written += 1 << 20
        return written

    return stuff
