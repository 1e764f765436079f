"""Connections, servers and their transports, plain and over TLS; datagrams."""

import asyncio
import contextlib
import os
import socket

import pytest

proves = pytest.mark.proves
HOST = "127.0.0.1"


@pytest.fixture
def serve(loop, Peer_):
    """async with serve(**options of create_server) as (address, accepted): accepted() waits for a protocol."""

    @contextlib.asynccontextmanager
    async def serve(host=HOST, port=0, method="create_server", **options):
        queue = asyncio.Queue()

        class Accepted(Peer_):
            def connection_made(self, transport):
                super().connection_made(transport)
                queue.put_nowait(self)

        place = (host, port) if method == "create_server" and "sock" not in options else ()
        server = await getattr(loop, method)(Accepted, *place, **options)
        taken = []

        async def accepted():
            taken.append(await queue.get())
            return taken[-1]

        accepted.server = server
        try:
            yield server.sockets[0].getsockname() if server.sockets else None, accepted
        finally:
            server.close()
            while not queue.empty():
                taken.append(queue.get_nowait())
            for peer in taken:
                peer.transport.abort()
                await peer.lost

    return serve


@pytest.fixture
def connected(loop, serve, Peer_):
    """async with connected(**options of create_connection) as (client, server): two protocols, connected."""

    @contextlib.asynccontextmanager
    async def connected(server={}, **options):  # noqa: B006
        async with serve(**server) as (address, accepted):
            if "sock" not in options:
                options = {"host": HOST, "port": address[1], **options}
            transport, client = await loop.create_connection(Peer_, **options)
            try:
                yield client, await accepted()
            finally:
                transport.abort()
                await client.lost

    return connected


@proves("loop.create_connection", "protocol_factory host port")
@proves("loop.create_server", "protocol_factory host port")
@proves("WriteTransport.write", "data")
def test_connect(run, connected):
    async def main():
        async with connected() as (client, server):
            client.transport.write(b"hello")
            assert await server.receive(5) == b"hello"
            server.transport.write(b"welcome")
            assert await client.receive(7) == b"welcome"

    run(main())


@proves("loop.create_connection", "family proto flags")
def test_connect_family(run, loop, connected):
    async def main():
        async with connected(host="localhost", family=socket.AF_INET) as (client, server):
            assert client.transport.get_extra_info("socket").family == socket.AF_INET
        for wrong in ({"proto": socket.IPPROTO_UDP}, {"flags": socket.AI_NUMERICHOST}):
            with pytest.raises(socket.gaierror):
                await loop.create_connection(asyncio.Protocol, "localhost", 1, **wrong)

    run(main())


@proves("loop.create_connection", "sock")
def test_connect_sock(run, loop, serve, Peer_):
    async def main():
        async with serve() as (address, accepted):
            sock = socket.create_connection(address)
            transport, client = await loop.create_connection(Peer_, sock=sock)
            assert transport.get_extra_info("sockname") == sock.getsockname()
            transport.close()
            await client.lost

    run(main())


@proves("loop.create_connection", "local_addr")
def test_connect_local_addr(run, connected):
    async def main():
        async with connected(local_addr=("127.0.0.3", 0)) as (client, server):
            assert server.transport.get_extra_info("peername")[0] == "127.0.0.3"

    run(main())


@proves("loop.create_connection", "happy_eyeballs_delay interleave")
def test_connect_happy_eyeballs(run, connected):
    async def main():
        async with connected(host="localhost", happy_eyeballs_delay=0.1, interleave=1) as (client, server):
            client.transport.write(b"x")
            assert await server.receive(1) == b"x"

    run(main())


@proves("loop.create_connection", "all_errors")
def test_connect_all_errors(run, loop):
    async def main():
        with socket.socket() as sock:  # bound and not listening: refuses
            sock.bind((HOST, 0))
            with pytest.raises(ExceptionGroup):
                await loop.create_connection(asyncio.Protocol, *sock.getsockname(), all_errors=True)

    run(main())


@proves("loop.create_connection", "ssl server_hostname ssl_handshake_timeout ssl_shutdown_timeout")
@proves("loop.create_server", "ssl")
@proves("BaseTransport.get_extra_info", "sslcontext peercert cipher compression ssl_object")
def test_connect_tls(run, connected, contexts):
    async def main():
        options = dict(server_hostname="localhost", ssl_handshake_timeout=5, ssl_shutdown_timeout=5)
        async with connected({"ssl": contexts[0]}, ssl=contexts[1], **options) as (client, server):
            get = client.transport.get_extra_info
            assert get("sslcontext") is contexts[1]
            assert get("peercert")["subject"] == ((("commonName", "localhost"),),)
            assert get("cipher") == get("ssl_object").cipher()
            assert get("compression") is None
            client.transport.write(b"hello")
            assert await server.receive(5) == b"hello"

    run(main())


@proves("loop.create_connection", "ssl_handshake_timeout")
def test_connect_handshake_timeout(run, loop, contexts):
    async def main():
        with socket.create_server((HOST, 0)) as silent, pytest.raises(ConnectionAbortedError):
            options = dict(ssl=contexts[1], server_hostname="localhost", ssl_handshake_timeout=0.05)
            await loop.create_connection(asyncio.Protocol, *silent.getsockname(), **options)

    run(main())


@proves("loop.create_server", "ssl_handshake_timeout ssl_shutdown_timeout")
def test_server_handshake_timeout(run, loop, serve, contexts):
    async def main():
        options = dict(ssl_handshake_timeout=0.05, ssl_shutdown_timeout=0.05)
        async with serve(ssl=contexts[0], **options) as (address, accepted):
            with socket.create_connection(address) as sock:
                sock.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert await loop.sock_recv(sock, 1) == b""

    run(main())


@proves("loop.create_server", "family flags")
def test_server_family(run, serve):
    async def main():
        async with serve("localhost", family=socket.AF_INET, flags=0) as (address, accepted):
            assert [sock.family for sock in accepted.server.sockets] == [socket.AF_INET]

    run(main())


@proves("loop.create_server", "sock")
def test_server_sock(run, serve):
    async def main():
        sock = socket.create_server((HOST, 0))
        async with serve(sock=sock) as (address, accepted):
            assert address == sock.getsockname()

    run(main())


@proves("loop.create_server", "backlog")
def test_server_backlog(run, serve):
    async def main():
        async with serve(backlog=7) as (address, accepted):
            with open("/proc/net/tcp") as table:
                assert any(f":{address[1]:04X} " in line for line in table)
            # what listen() was given is the send queue of a listening socket in TCP_INFO: tcpi_sacked
            info = accepted.server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
            assert int.from_bytes(info[28:32], "little") == 7

    run(main())


@pytest.mark.parametrize(
    "argument, option",
    [
        pytest.param(name, option, marks=proves("loop.create_server", name), id=name)
        for name, option in [
            ("reuse_address", "SO_REUSEADDR"), ("reuse_port", "SO_REUSEPORT"), ("keep_alive", "SO_KEEPALIVE"),
        ]
    ],
)  # fmt: skip
def test_server_option(run, serve, argument, option):
    async def main():
        for choice in (True, False):
            async with serve(**{argument: choice}) as (address, accepted):
                sock = accepted.server.sockets[0]
                assert bool(sock.getsockopt(socket.SOL_SOCKET, getattr(socket, option))) is choice

    run(main())


@proves("loop.create_server", "start_serving")
@proves("Server.start_serving")
@proves("Server.is_serving")
@proves("Server.get_loop")
@proves("Server.sockets")
@proves("Server.close")
@proves("Server.wait_closed")
def test_server(run, loop, serve):
    async def main():
        async with serve(start_serving=False) as (address, accepted):
            server = accepted.server
            assert not server.is_serving()
            await server.start_serving()
            assert server.is_serving()
            assert server.get_loop() is loop
            socket.create_connection(address).close()
            peer = await accepted()
            await peer.ended
            server.close()
            await peer.lost
            await server.wait_closed()
            assert len(server.sockets) == 0

    run(main())


@proves("Server.serve_forever")
def test_serve_forever(run, serve):
    async def main():
        async with serve(start_serving=False) as (address, accepted):
            task = asyncio.ensure_future(accepted.server.serve_forever())
            await asyncio.sleep(0.01)
            socket.create_connection(address).close()
            await accepted()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not accepted.server.is_serving()

    run(main())


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("close_clients", marks=proves("Server.close_clients")),
        pytest.param("abort_clients", marks=proves("Server.abort_clients")),
    ],
)
def test_server_ends_clients(run, connected, serve, loop, Peer_, end):
    async def main():
        async with serve() as (address, accepted):
            transport, client = await loop.create_connection(Peer_, *address)
            server = await accepted()
            getattr(accepted.server, end)()
            assert server.transport.is_closing()
            await client.lost
            await server.lost

    run(main())


@proves("BaseTransport.get_extra_info", "socket sockname peername default")
@proves("BaseTransport.get_protocol")
@proves("BaseTransport.set_protocol", "protocol")
@proves("BaseTransport.close")
@proves("BaseTransport.is_closing")
def test_base_transport(run, connected, Peer_):
    async def main():
        async with connected() as (client, server):
            transport = client.transport
            sock = transport.get_extra_info("socket")
            assert transport.get_extra_info("sockname") == sock.getsockname()
            assert transport.get_extra_info("peername") == sock.getpeername()
            assert transport.get_extra_info("no such", 7) == 7
            assert transport.get_protocol() is client
            other = Peer_()
            transport.set_protocol(other)
            assert transport.get_protocol() is other
            server.transport.write(b"x")
            assert await other.receive(1) == b"x"
            transport.set_protocol(client)
            assert not transport.is_closing()
            transport.close()
            assert transport.is_closing()
            assert await server.ended
            await client.lost

    run(main())


@proves("ReadTransport.is_reading")
@proves("ReadTransport.pause_reading")
@proves("ReadTransport.resume_reading")
def test_reading(run, connected):
    async def main():
        async with connected() as (client, server):
            assert server.transport.is_reading()
            server.transport.pause_reading()
            assert not server.transport.is_reading()
            client.transport.write(b"x")
            await asyncio.sleep(0.02)
            assert server.data == b""
            server.transport.resume_reading()
            assert await server.receive(1) == b"x"

    run(main())


@proves("WriteTransport.set_write_buffer_limits", "high low")
@proves("WriteTransport.get_write_buffer_limits")
@proves("WriteTransport.get_write_buffer_size")
@proves("WriteTransport.abort")
def test_write_buffer(run, connected):
    async def main():
        async with connected() as (client, server):
            client.transport.set_write_buffer_limits(high=100, low=10)
            assert client.transport.get_write_buffer_limits() == (10, 100)
            calls = []
            client.pause_writing = lambda: calls.append("pause")
            client.resume_writing = lambda: calls.append("resume")
            server.transport.pause_reading()
            client.transport.write(bytes(20_000_000))
            assert client.transport.get_write_buffer_size() > 0
            client.transport.abort()
            assert client.transport.is_closing()
            assert await client.lost is None

    run(main())


@proves("WriteTransport.can_write_eof")
@proves("WriteTransport.write_eof")
@proves("WriteTransport.writelines", "list_of_data")
def test_write_eof(run, connected):
    async def main():
        async with connected() as (client, server):
            client.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
            assert client.transport.can_write_eof() is True
            client.transport.write_eof()
            assert await server.ended
            assert server.data == b"abc"

    run(main())


@proves("loop.connect_accepted_socket", "protocol_factory sock")
def test_accepted_socket(run, loop, Peer_):
    async def main():
        a, b = socket.socketpair()
        with b:
            transport, peer = await loop.connect_accepted_socket(Peer_, a)
            b.send(b"hello")
            assert await peer.receive(5) == b"hello"
            transport.close()
            await peer.lost

    run(main())


@proves("loop.connect_accepted_socket", "ssl ssl_handshake_timeout ssl_shutdown_timeout")
def test_accepted_socket_handshake_timeout(run, loop, contexts):
    async def main():
        a, b = socket.socketpair()
        options = dict(ssl=contexts[0], ssl_handshake_timeout=0.05, ssl_shutdown_timeout=0.05)
        with b, pytest.raises(ConnectionAbortedError):
            await loop.connect_accepted_socket(asyncio.Protocol, a, **options)

    run(main())


@proves("loop.start_tls", "transport protocol sslcontext server_side server_hostname")
@proves("loop.start_tls", "ssl_handshake_timeout ssl_shutdown_timeout")
def test_start_tls(run, loop, connected, contexts):
    async def main():
        timeouts = dict(ssl_handshake_timeout=5, ssl_shutdown_timeout=5)
        async with connected() as (client, server):
            upgrades = [
                loop.start_tls(server.transport, server, contexts[0], server_side=True, **timeouts),
                loop.start_tls(client.transport, client, contexts[1], server_hostname="localhost", **timeouts),
            ]
            there, here = await asyncio.gather(*upgrades)
            here.write(b"hello")
            assert await server.receive(5) == b"hello"
            assert here.get_extra_info("peercert")
            here.close()
            there.close()
            await client.lost
            await server.lost

    run(main())


@proves("loop.sendfile", "transport file offset count")
def test_sendfile(run, loop, connected, tmp_path):
    async def main():
        (tmp_path / "f").write_bytes(b"0123456789")
        with open(tmp_path / "f", "rb") as file:
            async with connected() as (client, server):
                assert await loop.sendfile(client.transport, file, 2, 5) == 5
                assert await server.receive(5) == b"23456"

    run(main())


@proves("loop.sendfile", "fallback")
def test_sendfile_fallback(run, loop, connected, contexts, tmp_path):
    async def main():
        (tmp_path / "f").write_bytes(b"0123456789")
        tls = dict(server={"ssl": contexts[0]}, ssl=contexts[1], server_hostname="localhost")
        with open(tmp_path / "f", "rb") as file:
            async with connected(**tls) as (client, server):
                with pytest.raises(RuntimeError):
                    await loop.sendfile(client.transport, file, fallback=False)
                assert await loop.sendfile(client.transport, file, fallback=True) == 10
                assert await server.receive(10) == b"0123456789"

    run(main())


@proves("loop.create_unix_server", "protocol_factory path backlog start_serving")
@proves("loop.create_unix_connection", "protocol_factory path")
def test_unix(run, loop, serve, Peer_, tmp_path):
    async def main():
        path = str(tmp_path / "s")
        async with serve(method="create_unix_server", path=path, backlog=7, start_serving=False) as (_, accepted):
            assert not accepted.server.is_serving()
            await accepted.server.start_serving()
            transport, client = await loop.create_unix_connection(Peer_, path)
            transport.write(b"hello")
            server = await accepted()
            assert await server.receive(5) == b"hello"
            transport.close()
            await client.lost

    run(main())


@proves("loop.create_unix_server", "sock")
@proves("loop.create_unix_connection", "sock")
def test_unix_sock(run, loop, serve, Peer_, tmp_path):
    async def main():
        listener, sock = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        async with serve(method="create_unix_server", sock=listener) as (path, accepted):
            sock.connect(path)
            transport, client = await loop.create_unix_connection(Peer_, sock=sock)
            await accepted()
            transport.close()
            await client.lost

    run(main())


@proves("loop.create_unix_server", "cleanup_socket")
def test_unix_cleanup(run, serve, tmp_path):
    async def main():
        for choice in (True, False):
            path = str(tmp_path / f"s{choice}")
            async with serve(method="create_unix_server", path=path, cleanup_socket=choice):
                assert os.path.exists(path)
            assert os.path.exists(path) is not choice

    run(main())


@proves("loop.create_unix_server", "ssl ssl_handshake_timeout ssl_shutdown_timeout")
@proves("loop.create_unix_connection", "ssl server_hostname ssl_handshake_timeout ssl_shutdown_timeout")
def test_unix_tls(run, loop, serve, Peer_, contexts, tmp_path):
    async def main():
        timeouts = dict(ssl_handshake_timeout=5, ssl_shutdown_timeout=5)
        path = str(tmp_path / "s")
        async with serve(method="create_unix_server", path=path, ssl=contexts[0], **timeouts) as (_, accepted):
            options = dict(ssl=contexts[1], server_hostname="localhost", **timeouts)
            transport, client = await loop.create_unix_connection(Peer_, path, **options)
            transport.write(b"hello")
            assert await (await accepted()).receive(5) == b"hello"
            transport.abort()
            await client.lost

    run(main())


@proves("loop.create_datagram_endpoint", "protocol_factory local_addr remote_addr")
@proves("DatagramTransport.sendto", "data addr")
@proves("DatagramTransport.abort")
def test_datagrams(run, loop, Peer_):
    async def main():
        a, server = await loop.create_datagram_endpoint(Peer_, local_addr=(HOST, 0))
        b, client = await loop.create_datagram_endpoint(Peer_, remote_addr=a.get_extra_info("sockname"))
        b.sendto(b"hello")
        assert await server.receive(5) == b"hello"
        a.sendto(b"welcome", b.get_extra_info("sockname"))
        assert await client.receive(7) == b"welcome"
        a.abort()
        b.abort()
        await server.lost
        await client.lost

    run(main())


@proves("loop.create_datagram_endpoint", "family proto flags reuse_port allow_broadcast")
def test_datagram_options(run, loop, Peer_):
    async def main():
        options = dict(family=socket.AF_INET, proto=socket.IPPROTO_UDP, flags=socket.AI_PASSIVE)
        for choice in (True, False):
            chosen = dict(reuse_port=choice, allow_broadcast=choice)
            transport, peer = await loop.create_datagram_endpoint(Peer_, local_addr=(HOST, 0), **options, **chosen)
            sock = transport.get_extra_info("socket")
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) is choice
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)) is choice
            transport.close()
            await peer.lost
        for wrong in ({"proto": socket.IPPROTO_TCP}, {"flags": socket.AI_NUMERICHOST}):
            with pytest.raises(socket.gaierror):
                await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("localhost", 0), **wrong)

    run(main())


@proves("loop.create_datagram_endpoint", "sock")
def test_datagram_sock(run, loop, Peer_):
    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((HOST, 0))
        transport, peer = await loop.create_datagram_endpoint(Peer_, sock=sock)
        assert transport.get_extra_info("sockname") == sock.getsockname()
        transport.close()
        await peer.lost

    run(main())
