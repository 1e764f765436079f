"""Certificates made for the session, and TLS connections between a loop under test and blocking sockets in threads."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import weakref
from pathlib import Path

import pytest

import asyncloop
from asyncloop import _core


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
        self.buffer = bytearray(self.size)
        return memoryview(self.buffer)  # asyncio's TLS slices it, to fill it piece by piece

    def buffer_updated(self, nbytes):
        self.calls.append("buffer_updated")
        self.data += self.buffer[:nbytes]


def pytest_collection_modifyitems(items):
    """Take out the second engine of asyncio's own loop, which has none of ours."""
    here = Path(__file__).parent
    params = [item.callspec.params if here in item.path.parents else {} for item in items]
    kinds = [(param.get("kind"), param.get("engine")) for param in params]
    items[:] = [item for item, kind in zip(items, kinds, strict=True) if kind != ("asyncio", "ssl")]


@pytest.fixture(params=["openssl", "ssl"], autouse=True)
def engine(request):
    """Which of the two engines new TLS connections have. Each test runs with both of them."""
    before = asyncloop.tls_engine
    if _core._tls_engine(request.param) != request.param:
        pytest.skip("this Python's OpenSSL is not known")
    yield request.param
    _core._tls_engine(before)


@pytest.fixture
def Recorder():
    return RecordingProtocol


@pytest.fixture
def BufferedRecorder():
    return RecordingBufferedProtocol


def strict(context):
    """Make a peer's context call an end without a goodbye an error, which the contexts of early 3.11 do not."""
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


class Certificate:
    """A self-signed certificate with its key, in one file."""

    def __init__(self, folder, name):
        self.path = Path(folder) / f"{name}.pem"
        key = Path(folder) / f"{name}.key"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", self.path]
        subprocess.run(command, check=True, capture_output=True)
        self.path.write_text(self.path.read_text() + key.read_text())

    def server_context(self, clients=None):
        """A context for servers; those who connect must show the certificate `clients`, if given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.path)
        return context

    def client_context(self, own=None, is_strict=False):
        """A context for clients that trust this certificate and show `own`, if given; strict() makes it strict."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path)
        if own is not None:
            context.load_cert_chain(own.path)
        return strict(context) if is_strict else context


@pytest.fixture(scope="session")
def make_certificate(tmp_path_factory):
    """make_certificate(name) -> a Certificate for that host name."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    made = {}
    return lambda name: made.get(name) or made.setdefault(name, Certificate(folder, name))


@pytest.fixture
def certificate(make_certificate):
    return make_certificate("localhost")


@pytest.fixture
def other_certificate(make_certificate):
    return make_certificate("elsewhere")


@pytest.fixture
def server_context(certificate):
    return certificate.server_context()


@pytest.fixture
def client_context(certificate):
    return certificate.client_context()


@pytest.fixture
def keep():
    """keep(sock) -> the socket, with a timeout, closed after the test."""
    kept = []

    def keep(sock):
        sock.settimeout(20)
        kept.append(sock)
        return sock

    yield keep
    for sock in kept:
        sock.close()


@pytest.fixture
def make_pair(keep):
    """make_pair() -> two connected TCP sockets: the loop's, non-blocking, and the peer's."""

    def make_pair():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        keep(far)
        near.setblocking(False)
        return near, far

    return make_pair


@pytest.fixture
def transports(loop, run):
    """A set of transports, which are aborted after the test if they are still open."""
    transports = weakref.WeakSet()
    yield transports
    if not loop.is_closed():
        for transport in list(transports):
            if transport.get_protocol() is not None:
                transport.abort()
        run(asyncio.sleep(0.01))


@pytest.fixture
def connect(loop, run, make_pair, keep, transports, client_context, server_context):
    """connect(protocol) -> (transport, peer): a client of the loop, and the blocking SSLSocket of its server.

    The contexts are `context` and `peer_context`; all other arguments go to create_connection().
    """

    def connect(protocol, *, context=client_context, peer_context=server_context, **options):
        near, far = make_pair()

        async def both():
            shaking = asyncio.to_thread(strict(peer_context).wrap_socket, far, server_side=True)
            making = loop.create_connection(
                lambda: protocol, sock=near, ssl=context, **{"server_hostname": "localhost"} | options
            )
            return await asyncio.gather(making, shaking)

        (transport, _), peer = run(both())
        transports.add(transport)
        return transport, keep(peer)

    return connect


@pytest.fixture
def accept(loop, run, make_pair, keep, transports, client_context, server_context):
    """accept(protocol) -> (transport, peer): the same with the loop as the server, by connect_accepted_socket()."""

    def accept(protocol, *, context=server_context, peer_context=client_context, **options):
        near, far = make_pair()

        async def both():
            shaking = asyncio.to_thread(strict(peer_context).wrap_socket, far, server_hostname="localhost")
            making = loop.connect_accepted_socket(lambda: protocol, near, ssl=context, **options)
            return await asyncio.gather(making, shaking)

        (transport, _), peer = run(both())
        transports.add(transport)
        return transport, keep(peer)

    return accept


@pytest.fixture(params=["client", "server"])
def either(request, connect, accept):
    """connect() and accept(), one after the other."""
    return connect if request.param == "client" else accept


@pytest.fixture
def serve(loop, run, server_context):
    """serve(factory, ...) -> a TLS server on a free port of 127.0.0.1, closed after the test."""
    servers = []

    def serve(factory, *, context=server_context, **options):
        server = run(loop.create_server(factory, "127.0.0.1", 0, ssl=context, **options))
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.close()
    run(asyncio.sleep(0.01))


@pytest.fixture
def dial(run, keep, client_context):
    """dial(server) -> a blocking SSLSocket connected to the server, closed after the test."""

    def dial(server, *, context=client_context, server_hostname="localhost"):
        sock = keep(socket.create_connection(server.sockets[0].getsockname()))
        return keep(run(asyncio.to_thread(context.wrap_socket, sock, server_hostname=server_hostname)))

    return dial


@pytest.fixture
def Client(Recorder, run):
    """A protocol class that keeps its instances; their transports are aborted after the test."""

    class Client(Recorder):
        made = []

        def __init__(self):
            super().__init__()
            self.made.append(self)

    yield Client
    for client in Client.made:
        if client.transport is not None and not client.lost:
            client.transport.abort()
    run(asyncio.sleep(0.01))


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
    return lambda: run(asyncio.sleep(0.03))


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
def no_goodbye():
    """Expects that a blocking peer, whose context is strict(), meets an end without a goodbye."""
    return pytest.raises(
        (ssl.SSLError, ConnectionError), match="(?i)eof|reset|broken pipe"
    )  # 3.11.2 has no SSLEOFError for it


@pytest.fixture
def take_reports(loop):
    """Takes what the loop's exception handler was given, so that it does not fail the test."""

    def take():
        reports = loop.unhandled[:]
        loop.unhandled.clear()
        return reports

    return take
