"""loop.start_tls()."""

import asyncio
import ssl
import sys

import pytest


@pytest.fixture
def plain(loop, run, make_pair, transports):
    """plain(protocol) -> (transport, peer): a connection without TLS, to a blocking socket."""

    def plain(protocol):
        near, far = make_pair()
        transport, _ = run(loop.create_connection(lambda: protocol, sock=near))
        transports.add(transport)
        return transport, far

    return plain


@pytest.fixture
def upgrade(loop, run, keep, transports, client_context, server_context):
    """upgrade(transport, protocol, peer, server_side) -> (TLS transport, SSLSocket)"""

    def upgrade(transport, protocol, peer, server_side=False, **options):
        context, peer_context = client_context, server_context
        names, peer_names = {"server_hostname": "localhost"}, {"server_side": True}
        if server_side:
            context, peer_context = peer_context, context
            names, peer_names = peer_names, names

        async def both():
            return await asyncio.gather(
                loop.start_tls(transport, protocol, context, **names, **options),
                asyncio.to_thread(peer_context.wrap_socket, peer, **peer_names),
            )

        over, sock = run(both())
        transports.add(over)
        return over, keep(sock)

    return upgrade


class TestUpgrade:
    @pytest.mark.parametrize("server_side", [False, True])
    def test_either_side_can_be_upgraded(self, plain, upgrade, Recorder, eventually, receive, server_side):
        protocol = Recorder()
        transport, peer = plain(protocol)
        transport.write(b"in the clear")
        assert receive(peer, 12) == b"in the clear"
        over, peer = upgrade(transport, protocol, peer, server_side)
        over.write(b"in secret")
        assert receive(peer, 9) == b"in secret"
        peer.sendall(b"an answer")
        eventually(lambda: protocol.data == b"an answer")
        assert protocol.calls == ["connection_made", "data_received"]  # not made once more

    def test_extra_info_has_context_and_peername(self, plain, upgrade, Recorder, client_context):
        transport, peer = plain(Recorder())
        peername = transport.get_extra_info("peername")
        over, _ = upgrade(transport, Recorder(), peer)
        assert over.get_extra_info("sslcontext") is client_context
        assert over.get_extra_info("peername") == peername

    def test_paused_transport_is_resumed(self, plain, upgrade, Recorder, eventually):
        protocol = Recorder()
        transport, peer = plain(protocol)
        transport.pause_reading()
        over, peer = upgrade(transport, protocol, peer)
        peer.sendall(b"resumed")
        eventually(lambda: protocol.data == b"resumed")

    def test_close_ends_both(self, run, plain, upgrade, Recorder, eventually):
        protocol = Recorder()
        transport, peer = plain(protocol)
        over, peer = upgrade(transport, protocol, peer)
        over.close()
        run(asyncio.to_thread(peer.unwrap))
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert transport.is_closing()

    def test_failure_closes_the_transport(self, loop, run, plain, Recorder, client_context, eventually):
        protocol = Recorder()
        transport, peer = plain(protocol)

        def answer():
            peer.recv(10_000)
            peer.sendall(b"nothing like TLS")

        async def both():
            answering = asyncio.ensure_future(asyncio.to_thread(answer))
            try:
                await loop.start_tls(transport, protocol, client_context, server_hostname="localhost")
            finally:
                await answering

        with pytest.raises(ssl.SSLError):
            run(both())
        assert transport.is_closing()

    def test_timeout_is_raised(self, loop, run, plain, Recorder, client_context):
        protocol = Recorder()
        transport, _ = plain(protocol)
        with pytest.raises(ConnectionAbortedError, match="^SSL handshake is taking longer than 0.05 seconds"):
            run(
                loop.start_tls(
                    transport, protocol, client_context, server_hostname="localhost", ssl_handshake_timeout=0.05
                )
            )


class TestResumedMeanwhile:
    """Somebody resumes reading after start_tls() has paused it, and before the new protocol's connection_made()."""

    @pytest.mark.parametrize("hello", ["is there", "comes"])
    @pytest.mark.parametrize("turns", [0, 1])
    def test_bytes_received_meanwhile_are_kept(
        self, loop, run, plain, transports, Recorder, client_context, server_context, eventually, hello, turns
    ):
        protocol = Recorder()
        transport, peer = plain(protocol)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def shake():
            while True:
                try:
                    return client.do_handshake()
                except ssl.SSLWantReadError:
                    incoming.write(peer.recv(100_000))
                finally:
                    peer.sendall(outgoing.read())

        async def upgrade():
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            upgrading = asyncio.ensure_future(
                loop.start_tls(transport, protocol, server_context, server_side=True, ssl_handshake_timeout=5)
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            loop.call_soon(transport.resume_reading)
            if hello == "comes":
                loop.call_soon(peer.sendall, outgoing.read())
            else:
                peer.sendall(outgoing.read())
            return (await asyncio.gather(upgrading, asyncio.to_thread(shake)))[0]

        over = run(upgrade())
        transports.add(over)
        client.write(b"in secret")
        peer.sendall(outgoing.read())
        eventually(lambda: protocol.data == b"in secret")
        over.write(b"an answer")
        while True:
            try:
                assert client.read(100) == b"an answer"
                break
            except ssl.SSLWantReadError:
                incoming.write(peer.recv(100_000))


class TestArguments:
    def test_context_is_required(self, loop, run, plain, Recorder):
        transport, _ = plain(Recorder())
        with pytest.raises(TypeError, match="^sslcontext is expected to be an instance of ssl.SSLContext, got None$"):
            run(loop.start_tls(transport, Recorder(), None))

    def test_transport_of_another_type_is_refused(self, loop, run, client_context):
        with pytest.raises(TypeError, match=r"^transport <object object at .*> is not supported by start_tls\(\)$"):
            run(loop.start_tls(object(), asyncio.Protocol(), client_context))

    @pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
    def test_timeouts_must_be_positive(self, loop, run, plain, Recorder, client_context, name):
        transport, _ = plain(Recorder())
        with pytest.raises(ValueError, match=f"^{name} should be a positive number, got 0$"):
            run(loop.start_tls(transport, Recorder(), client_context, server_hostname="localhost", **{name: 0}))


SINCE_314 = sys.version_info >= (3, 14)


class TestStreams:
    @pytest.fixture(autouse=True)
    def stock_leaves_it_in_the_stream(self, kind):
        if kind == "asyncio" and not SINCE_314:
            pytest.skip("asyncio does so from 3.14 on")

    def test_hello_that_is_in_the_stream_is_used(self, run, client_context, server_context):
        async def serve(reader, writer):
            await reader._wait_for_data("test")
            await writer.start_tls(server_context)
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await asyncio.wait_for(writer.start_tls(client_context, server_hostname="localhost"), 20)
            writer.write(b"in secret\n")
            assert await reader.readline() == b"in secret\n"
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

        run(main())
