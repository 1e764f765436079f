"""Handshakes that fail, and what is refused before one begins."""

import asyncio
import gc
import socket
import ssl
import weakref

import pytest


@pytest.fixture
def fails(loop, run, make_pair):
    """fails(protocol, meanwhile, ...) -> the exception of create_connection(ssl=...); `meanwhile(peer)` runs in a
    thread, with a blocking socket."""

    def fails(protocol, meanwhile, context, **options):
        near, far = make_pair()

        def peer():
            try:
                meanwhile(far)
            except (ssl.SSLError, ConnectionError):
                pass

        async def attempt():
            connecting = loop.create_connection(
                lambda: protocol, sock=near, ssl=context, **{"server_hostname": "localhost"} | options
            )
            outcome, _ = await asyncio.gather(connecting, asyncio.to_thread(peer), return_exceptions=True)
            return outcome

        return run(attempt())

    return fails


class TestClient:
    def test_certificate_of_another_host_is_refused(self, fails, Recorder, client_context, server_context):
        protocol = Recorder()
        exc = fails(
            protocol,
            lambda peer: server_context.wrap_socket(peer, server_side=True),
            client_context,
            server_hostname="example.com",
        )
        assert isinstance(exc, ssl.SSLCertVerificationError)
        assert "Hostname mismatch" in str(exc)
        assert protocol.calls == []

    def test_certificate_of_an_unknown_authority_is_refused(self, fails, Recorder, other_certificate, server_context):
        exc = fails(
            Recorder(),
            lambda peer: server_context.wrap_socket(peer, server_side=True),
            other_certificate.client_context(),
        )
        assert isinstance(exc, ssl.SSLCertVerificationError)

    def test_peer_that_hangs_up_is_a_connection_reset_error(self, fails, Recorder, client_context):
        def hang_up(peer):
            peer.recv(10_000)
            peer.close()

        protocol = Recorder()
        exc = fails(protocol, hang_up, client_context)
        assert isinstance(exc, ConnectionResetError)
        assert protocol.calls == []

    def test_peer_that_does_not_speak_tls_is_an_ssl_error(self, fails, Recorder, client_context):
        def answer(peer):
            peer.recv(10_000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        exc = fails(Recorder(), answer, client_context)
        assert isinstance(exc, ssl.SSLError)

    def test_timeout_aborts_the_connection(self, fails, Recorder, client_context):
        exc = fails(Recorder(), lambda peer: None, client_context, ssl_handshake_timeout=0.05)
        assert type(exc) is ConnectionAbortedError
        assert str(exc) == "SSL handshake is taking longer than 0.05 seconds: aborting the connection"

    def test_cancel_closes_the_connection(self, loop, run, make_pair, Recorder, client_context):
        near, far = make_pair()
        protocol = Recorder()

        async def cancel():
            connecting = asyncio.ensure_future(
                loop.create_connection(lambda: protocol, sock=near, ssl=client_context, server_hostname="localhost")
            )
            await asyncio.sleep(0.02)
            connecting.cancel()
            await asyncio.wait([connecting])
            await asyncio.sleep(0.02)
            assert connecting.cancelled()

        run(cancel())
        assert protocol.calls == []
        assert far.recv(10_000)[:1] == b"\x16"  # its hello
        assert far.recv(10_000) == b""  # and it is gone

    def test_failure_leaves_nothing_behind(self, fails, Recorder, client_context, settle):
        protocol = Recorder()
        gone = weakref.ref(protocol)
        fails(protocol, lambda peer: peer.close(), client_context)
        settle()
        del protocol
        gc.collect()
        assert gone() is None


class TestServer:
    def test_client_that_does_not_speak_tls_costs_only_its_connection(self, serve, dial, keep, Client, eventually):
        server = serve(Client)
        stranger = keep(socket.create_connection(server.sockets[0].getsockname()))
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        dial(server).sendall(b"hello")
        eventually(lambda: len(Client.made) == 2 and Client.made[1].data == b"hello")
        assert Client.made[0].calls == []

    def test_client_that_refuses_our_certificate_makes_no_connection(
        self, serve, dial, Client, other_certificate, settle
    ):
        server = serve(Client)
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(server, context=other_certificate.client_context())
        settle()
        assert [client.calls for client in Client.made] == [[]]

    def test_client_without_the_required_certificate_is_refused(
        self, serve, keep, Client, certificate, other_certificate, settle, run, no_goodbye
    ):
        server = serve(Client, context=certificate.server_context(clients=other_certificate))
        sock = keep(socket.create_connection(server.sockets[0].getsockname()))

        def knock():
            peer = certificate.client_context(is_strict=True).wrap_socket(sock, server_hostname="localhost")
            peer.suppress_ragged_eofs = False
            keep(peer).recv(1)  # in TLS 1.3 the client's handshake is over before the server refuses

        with no_goodbye:
            run(asyncio.to_thread(knock))
        settle()
        assert [client.calls for client in Client.made] == [[]]

    def test_failure_is_reported_in_debug_mode(self, loop, serve, keep, Client, eventually, take_reports):
        server = serve(Client)
        loop.set_debug(True)
        stranger = keep(socket.create_connection(server.sockets[0].getsockname()))
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        eventually(lambda: loop.unhandled)
        loop.set_debug(False)
        [report] = take_reports()
        assert report["message"] == "Error on transport creation for incoming connection"
        assert isinstance(report["exception"], ssl.SSLError)
        assert report["protocol"] is Client.made[0]
        assert isinstance(report["transport"], asyncio.Transport)

    def test_timeout_closes_the_connection(self, serve, keep, Client, run):
        server = serve(Client, ssl_handshake_timeout=0.05)
        silent = keep(socket.create_connection(server.sockets[0].getsockname()))
        try:
            assert run(asyncio.to_thread(silent.recv, 1)) == b""
        except ConnectionResetError:
            pass
        assert [client.calls for client in Client.made] == [[]]

    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # stock leaves it to the collector
    def test_factory_that_fails_costs_only_that_connection(self, serve, keep, dial, Client, settle, eventually):
        failures = [ZeroDivisionError()]

        def factory():
            if failures:
                raise failures.pop()
            return Client()

        server = serve(factory)
        keep(socket.create_connection(server.sockets[0].getsockname()))
        settle()
        gc.collect()
        assert failures == []
        dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)

    def test_handshake_goes_on_after_the_server_is_closed(
        self, serve, keep, Client, settle, run, client_context, eventually
    ):
        server = serve(Client)
        sock = keep(socket.create_connection(server.sockets[0].getsockname()))
        eventually(lambda: Client.made)
        server.close()
        settle()
        peer = keep(run(asyncio.to_thread(client_context.wrap_socket, sock, server_hostname="localhost")))
        peer.sendall(b"served all the same")
        eventually(lambda: Client.made[0].data == b"served all the same")


class TestArguments:
    def test_nan_is_no_limit(self, loop, run, serve, Client, Recorder, client_context):
        server = serve(Client, ssl_handshake_timeout=float("nan"), ssl_shutdown_timeout=float("nan"))
        transport, _ = run(
            loop.create_connection(
                Recorder,
                *server.sockets[0].getsockname(),
                ssl=client_context,
                server_hostname="localhost",
                ssl_handshake_timeout=float("nan"),
                ssl_shutdown_timeout=float("nan"),
            )
        )
        assert transport.get_extra_info("cipher")
        transport.abort()

    @pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
    @pytest.mark.parametrize("value", [0, -1.5])
    def test_timeouts_are_positive(self, loop, run, make_pair, Recorder, client_context, name, value):
        near, _ = make_pair()
        with near, pytest.raises(ValueError, match=f"^{name} should be a positive number, got {value}$"):
            run(
                loop.create_connection(
                    Recorder, sock=near, ssl=client_context, server_hostname="localhost", **{name: value}
                )
            )

    def test_server_needs_a_context(self, loop, run):
        with pytest.raises(TypeError, match="^ssl argument must be an SSLContext or None$"):
            run(loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=True))

    def test_client_needs_a_host_name(self, loop, run, make_pair, client_context):
        near, _ = make_pair()
        with near, pytest.raises(ValueError, match="^You must set server_hostname when using ssl without a host$"):
            run(loop.create_connection(asyncio.Protocol, sock=near, ssl=client_context))

    def test_true_is_the_default_context(self, fails, Recorder, server_context):
        exc = fails(Recorder(), lambda peer: server_context.wrap_socket(peer, server_side=True), True)
        assert isinstance(exc, ssl.SSLCertVerificationError)  # which trusts nobody that we can be


class TestMetrics:
    @pytest.fixture(params=["asyncloop"])  # asyncio's loop has no metrics
    def kind(self, request):
        return request.param

    def test_a_handshake_is_counted_at_both_ends(self, loop, run, server_context, client_context):
        async def serve(reader, writer):
            writer.write(await reader.read(100))
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
            async with server:
                address = server.sockets[0].getsockname()
                reader, writer = await asyncio.open_connection(
                    *address, ssl=client_context, server_hostname="localhost"
                )
                writer.write(b"hello")
                assert await reader.read(100) == b"hello"
                writer.close()
                await writer.wait_closed()

        run(main())
        metrics = loop.metrics()
        assert metrics.tls_handshakes == 2
        assert metrics.bytes_in > 1000  # ciphertext

    def test_a_handshake_that_fails_is_not(self, loop, fails, Recorder, server_context):
        fails(Recorder(), lambda peer: server_context.wrap_socket(peer, server_side=True), True)
        assert loop.metrics().tls_handshakes == 0
