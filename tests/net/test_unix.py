"""Unix stream sockets: create_unix_connection(), create_unix_server(), and the streams on top of them."""

import asyncio
import os
import pathlib
import socket
import sys

import pytest

CLEANS_UP = sys.version_info >= (3, 13)  # the path goes with its server


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "socket")


@pytest.fixture(params=["str", "bytes", "PathLike", "abstract str", "abstract bytes"])
def any_path(request, tmp_path):
    """A free address, and its form as getsockname() shows it."""
    path = str(tmp_path / "socket")
    name = f"\0asyncloop-test-{os.getpid()}-{tmp_path.name}"
    return {
        "str": (path, path),
        "bytes": (path.encode(), path),
        "PathLike": (pathlib.Path(path), path),
        "abstract str": (name, name.encode()),
        "abstract bytes": (name.encode(), name.encode()),
    }[request.param]


@pytest.fixture
def serve(loop, run, settle):
    """serve(factory, ...) -> a Unix server, closed after the test."""
    servers = []

    def serve(factory, *args, **options):
        server = run(loop.create_unix_server(factory, *args, **options))
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.close()
    settle()


@pytest.fixture
def dial(loop, run, Recorder, settle):
    """dial(path) -> a Recorder connected to it, aborted after the test."""
    clients = []

    def dial(*args, **options):
        _, client = run(loop.create_unix_connection(Recorder, *args, **options))
        clients.append(client)
        return client

    yield dial
    for client in clients:
        client.transport.abort()
    settle()


@pytest.fixture
def Server(Recorder, settle):
    """A protocol class that keeps its instances; their transports are aborted after the test."""

    class Server(Recorder):
        made = []

        def __init__(self):
            super().__init__()
            self.made.append(self)

    yield Server
    for protocol in Server.made:
        if protocol.transport is not None and not protocol.lost:
            protocol.transport.abort()
    settle()


class TestConnections:
    def test_carry_bytes_both_ways(self, serve, dial, Server, path, eventually):
        serve(Server, path)
        client = dial(path)
        client.transport.write(b"ping")
        eventually(lambda: Server.made and Server.made[0].data == b"ping")
        Server.made[0].transport.write(b"pong")
        eventually(lambda: client.data == b"pong")

    def test_are_made_for_every_form_of_a_path(self, serve, dial, Server, any_path, eventually):
        address, shown = any_path
        server = serve(Server, address)
        assert server.sockets[0].getsockname() == shown
        client = dial(address)
        eventually(lambda: Server.made and Server.made[0].transport)
        assert client.transport.get_extra_info("peername") == shown
        assert client.transport.get_extra_info("sockname") == ""
        accepted = Server.made[0].transport
        assert accepted.get_extra_info("sockname") == shown
        assert accepted.get_extra_info("peername") == ""
        for transport in (client.transport, accepted):
            sock = transport.get_extra_info("socket")
            assert (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_STREAM)

    def test_end_one_half_at_a_time(self, serve, dial, Server, path, eventually):
        serve(Server, path)
        client = dial(path)
        eventually(lambda: Server.made and Server.made[0].transport)
        Server.made[0].keep_open = True
        assert client.transport.can_write_eof()
        client.transport.write(b"last words")
        client.transport.write_eof()
        eventually(lambda: "eof_received" in Server.made[0].calls)
        assert Server.made[0].data == b"last words"
        Server.made[0].transport.write(b"answer")
        Server.made[0].transport.close()
        eventually(lambda: client.lost)
        assert client.data == b"answer"
        assert client.lost == [None]

    def test_carry_more_than_the_kernel_buffers(self, serve, dial, Server, path, eventually):
        serve(Server, path)
        client = dial(path)
        data = os.urandom(1 << 20)
        client.transport.write(data)
        assert client.transport.get_write_buffer_size() > 0
        eventually(lambda: Server.made and len(Server.made[0].data) == len(data))
        assert Server.made[0].data == data
        assert client.calls.count("pause_writing") == client.calls.count("resume_writing") == 1

    def test_are_made_from_a_socket(self, loop, serve, dial, Server, path, eventually):
        serve(Server, path)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        client = dial(sock=sock)
        assert client.transport.get_extra_info("socket").fileno() == sock.fileno()
        assert not sock.getblocking()
        client.transport.write(b"x")
        eventually(lambda: Server.made and Server.made[0].data == b"x")

    def test_fail_if_no_socket_listens(self, loop, run, path):
        with pytest.raises(FileNotFoundError):
            run(loop.create_unix_connection(asyncio.Protocol, path))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
        with pytest.raises(ConnectionRefusedError):
            run(loop.create_unix_connection(asyncio.Protocol, path))

    @pytest.mark.parametrize(
        ("args", "options", "message"),
        [
            ((), {}, "no path and sock were specified"),
            (("x",), {"sock": object()}, "path and sock can not be specified at the same time"),
            (("x",), {"ssl": True}, "you have to pass server_hostname when using ssl"),
            (("x",), {"server_hostname": "h"}, "server_hostname is only meaningful with ssl"),
            (("x",), {"ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
            (("x",), {"ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
        ],
    )
    def test_check_their_arguments(self, loop, run, args, options, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            run(loop.create_unix_connection(asyncio.Protocol, *args, **options))

    def test_are_not_made_from_other_sockets(self, loop, run):
        with socket.socket() as sock, pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected, got"):
            run(loop.create_unix_connection(asyncio.Protocol, sock=sock))
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
            pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected, got"),
        ):
            run(loop.create_unix_connection(asyncio.Protocol, sock=sock))


class TestServer:
    def test_removes_a_socket_that_was_left_behind(self, serve, dial, Server, path, eventually):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        serve(Server, path)
        dial(path)
        eventually(lambda: Server.made)

    def test_does_not_remove_another_file(self, loop, run, path):
        pathlib.Path(path).write_text("precious")
        with pytest.raises(OSError, match=f"Address '{path}' is already in use") as info:
            run(loop.create_unix_server(asyncio.Protocol, path))
        assert info.value.__suppress_context__
        assert pathlib.Path(path).read_text() == "precious"

    def test_needs_a_directory(self, loop, run, tmp_path):
        with pytest.raises(FileNotFoundError):
            run(loop.create_unix_server(asyncio.Protocol, str(tmp_path / "none" / "socket")))

    def test_serves_a_socket_of_the_caller(self, serve, dial, Server, path, eventually):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        server = serve(Server, sock=sock)
        assert server.sockets[0].fileno() == sock.fileno()
        dial(path)
        eventually(lambda: Server.made)

    def test_starts_when_told_to(self, run, serve, dial, Server, path, eventually, loop):
        server = serve(Server, path, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            dial(path)
        run(server.start_serving())
        assert server.is_serving()
        dial(path)
        eventually(lambda: Server.made)

    @pytest.mark.parametrize(
        ("args", "options", "error", "message"),
        [
            ((), {}, ValueError, "path was not specified, and no sock specified"),
            (("x",), {"sock": object()}, ValueError, "path and sock can not be specified at the same time"),
            (("x",), {"ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
            (("x",), {"ssl_handshake_timeout": 1}, ValueError, "ssl_handshake_timeout is only meaningful with ssl"),
            (("x",), {"ssl_shutdown_timeout": 1}, ValueError, "ssl_shutdown_timeout is only meaningful with ssl"),
        ],
    )
    def test_checks_its_arguments(self, loop, run, args, options, error, message):
        with pytest.raises(error, match=f"^{message}$"):
            run(loop.create_unix_server(asyncio.Protocol, *args, **options))

    def test_is_not_made_from_other_sockets(self, loop, run):
        with socket.socket() as sock, pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected, got"):
            run(loop.create_unix_server(asyncio.Protocol, sock=sock))

    def test_closed_takes_its_path_along(self, loop, run, path):
        server = run(loop.create_unix_server(asyncio.Protocol, path))
        assert os.path.exists(path)
        server.close()
        assert os.path.exists(path) is not CLEANS_UP
        run(server.wait_closed())
        with pytest.raises(FileNotFoundError if CLEANS_UP else ConnectionRefusedError):
            run(loop.create_unix_connection(asyncio.Protocol, path))

    @pytest.mark.skipif(not CLEANS_UP, reason="an argument of Python 3.13")
    def test_closed_leaves_its_path_if_told_to(self, loop, run, path):
        run(loop.create_unix_server(asyncio.Protocol, path, cleanup_socket=False)).close()
        assert os.path.exists(path)

    def test_closed_leaves_the_path_of_another(self, loop, run, path):
        server = run(loop.create_unix_server(asyncio.Protocol, path))
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            server.close()
            assert os.path.exists(path)

    def test_closes_when_its_path_is_gone(self, loop, run, path):
        server = run(loop.create_unix_server(asyncio.Protocol, path))
        os.unlink(path)
        server.close()
        assert server.sockets == ()

    @pytest.mark.skipif(not CLEANS_UP, reason="behaviour of Python 3.13")
    def test_logs_a_path_that_cannot_be_removed(self, loop, run, path, caplog, monkeypatch):
        server = run(loop.create_unix_server(asyncio.Protocol, path))

        def refuse(path):
            raise PermissionError("no")

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            server.close()
        assert caplog.messages == [f"Unable to clean up listening UNIX socket {path!r}: PermissionError('no')"]


def test_streams_over_a_unix_socket(run, path):
    async def upper(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_unix_server(upper, path)
        reader, writer = await asyncio.open_unix_connection(path)
        assert writer.get_extra_info("peername") == path
        writer.write(b"hello\n")
        writer.write_eof()
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_loop_has_all_that_asyncios_code_for_unix_sockets_uses():
    """Its functions serve our loop unchanged: whatever they use of theirs, a new Python's included, is there."""
    import ast
    import inspect
    import textwrap
    from asyncio.unix_events import _UnixSelectorEventLoop as Stock

    import asyncloop

    loop = asyncloop.new_event_loop()
    ours = {name: inspect.unwrap(value) for name, value in inspect.getmembers(asyncloop.Loop, inspect.isfunction)}
    borrowed = [name for name, value in vars(Stock).items() if ours.get(name) is value]
    assert {"create_unix_connection", "create_unix_server"} <= set(borrowed)
    borrowed += ["_sock_sendfile_native", "_sock_sendfile_native_impl"]  # ours call theirs
    try:
        for name in borrowed:
            if not inspect.isfunction(getattr(Stock, name)):
                continue
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(getattr(Stock, name))))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    assert hasattr(loop, node.attr), f"{name}() uses self.{node.attr}"
    finally:
        loop.close()
