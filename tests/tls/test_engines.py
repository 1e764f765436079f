"""Two engines encrypt and decrypt (src/tls/engine.h): which one a connection has, and that a program cannot tell."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

import asyncloop

DATA = bytes(range(256)) * 1024  # of 16 TLS records
TELL = "import os; os.environ['ASYNCLOOP_TLS_ENGINE'] = {!r}; import asyncloop; print(asyncloop.tls_engine)"


class TestChoice:
    def test_engine_is_told(self, engine):
        assert asyncloop.tls_engine == engine

    @pytest.mark.parametrize(("value", "told"), [("ssl", "ssl"), ("openssl", "openssl"), ("", "openssl")])
    def test_variable_chooses_the_ssl_module(self, script, value, told):
        assert script(TELL.format(value), names=False).stdout.strip() == told

    def test_a_process_without_ssl_has_no_openssl(self, script):
        done = script(
            "import sys; sys.modules['_ssl'] = None; import asyncloop; print(asyncloop.tls_engine)", names=False
        )
        assert done.stdout.strip() == "ssl"


class TestCallbacks:
    def test_each_message_is_reported(self, connect, Recorder, eventually, receive, client_context):
        seen = []
        client_context._msg_callback = lambda conn, direction, version, kind, message, data: seen.append(direction)
        protocol = Recorder()
        transport, peer = connect(protocol)
        seen.clear()
        peer.sendall(b"data")
        eventually(lambda: protocol.data == b"data")
        assert "read" in seen
        seen.clear()
        transport.write(b"answer")
        assert receive(peer, 6) == b"answer"
        assert set(seen) == {"write"}

    def test_a_report_that_fails_ends_the_connection(self, connect, Recorder, eventually, client_context, take_reports):
        error = ZeroDivisionError()
        fails = False

        def callback(*args):
            if fails:
                raise error

        client_context._msg_callback = callback
        protocol = Recorder()
        _, peer = connect(protocol)
        fails = True
        peer.sendall(b"data")
        eventually(lambda: protocol.lost)
        assert protocol.lost == [error]
        assert [report["exception"] for report in take_reports()] == [error]
        error.__traceback__ = None  # the context has the callback, which has the error, whose frames have the rest

    def test_keys_are_logged(self, connect, Recorder, eventually, tmp_path, client_context):
        client_context.keylog_filename = tmp_path / "keys"
        protocol = Recorder()
        _, peer = connect(protocol)
        peer.sendall(b"data")
        eventually(lambda: protocol.data == b"data")
        kinds = {line.split()[0] for line in (tmp_path / "keys").read_text().splitlines() if line[0] != "#"}
        assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= kinds

    def test_a_server_may_change_its_context(self, accept, Recorder, eventually, server_context, certificate):
        other = certificate.server_context()
        names = []

        def choose(sslobject, name, context):
            names.append(name)
            sslobject.context = other

        server_context.sni_callback = choose
        protocol = Recorder()
        transport, peer = accept(protocol)
        peer.sendall(b"data")
        eventually(lambda: protocol.data == b"data")
        assert names == ["localhost"]
        assert transport.get_extra_info("ssl_object").context is other


class TestSSLObject:
    def test_a_program_may_use_it(self, either, Recorder, eventually, receive):
        protocol = Recorder()
        transport, peer = either(protocol)
        used = transport.get_extra_info("ssl_object")
        assert used.pending() == 0
        assert used.cipher() == peer.cipher()
        assert used.version() == peer.version()
        with pytest.raises(ssl.SSLWantReadError):
            used.read(1)
        used.write(b"one ")
        transport.write(b"two ")
        used.write(b"three ")
        transport.write(DATA)
        assert receive(peer, 14 + len(DATA)) == b"one two three " + DATA
        peer.sendall(b"data")
        eventually(lambda: protocol.data == b"data")

    def test_channel_bindings_agree(self, connect, Recorder, client_context):
        client_context.maximum_version = ssl.TLSVersion.TLSv1_2
        transport, peer = connect(Recorder())
        used = transport.get_extra_info("ssl_object")
        assert used.get_channel_binding("tls-unique") == peer.get_channel_binding("tls-unique") is not None

    def test_a_client_may_be_asked_for_its_certificate_later(
        self, run, accept, Recorder, eventually, certificate, other_certificate
    ):
        server, client = certificate.server_context(), certificate.client_context(other_certificate)
        server.load_verify_locations(other_certificate.path)
        server.verify_mode = ssl.CERT_OPTIONAL
        server.post_handshake_auth = client.post_handshake_auth = True
        protocol = Recorder()
        transport, peer = accept(protocol, context=server, peer_context=client)
        used = transport.get_extra_info("ssl_object")
        used.verify_client_post_handshake()
        transport.write(b"who are you?")
        assert run(asyncio.to_thread(peer.recv, 100)) == b"who are you?"
        peer.sendall(b"it is me")
        eventually(lambda: protocol.data == b"it is me")
        assert used.getpeercert()["subjectAltName"] == (("DNS", "elsewhere"),)


@pytest.mark.parametrize("command", [b"k", b"K"], ids=["ours", "theirs"])
def test_keys_may_change(run, serve, Client, eventually, command):
    """The openssl program changes its own keys, or asks for a change of ours as well."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")

    class Echo(Client):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(data)

    host, port = serve(Echo).sockets[0].getsockname()
    peer = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = bytearray()
    reading = threading.Thread(target=lambda: [printed.extend(line) for line in peer.stdout])
    reading.start()
    try:
        for i in range(3):
            line = b"line %d\n" % i
            peer.stdin.write(line)
            peer.stdin.flush()
            eventually(lambda: line in printed)  # noqa: B023
            peer.stdin.write(command + b"\n")
            peer.stdin.flush()
            eventually(lambda: printed.count(b"KEYUPDATE") == i + 1)  # noqa: B023
    finally:
        peer.stdin.close()
        peer.kill()
        peer.wait()
        reading.join()
        peer.stdout.close()
    eventually(lambda: Echo.made[0].lost)
    assert Echo.made[0].data == b"line 0\nline 1\nline 2\n"


def test_bytes_of_other_connections_do_not_mix(run, serve, Client, client_context):
    """Ciphertext of all of them goes through one buffer of the loop, and records end anywhere in it."""

    class Echo(Client):
        def data_received(self, data):
            self.transport.write(data)

    address = serve(Echo).sockets[0].getsockname()

    def receive(peer, size):
        came = bytearray()
        while len(came) < size and (part := peer.recv(1 << 16)):
            came += part
        return came

    def talk(seed):
        with (
            socket.create_connection(address) as sock,
            client_context.wrap_socket(sock, server_hostname="localhost") as peer,
        ):
            for _ in range(10):  # by turns: an SSLSocket is for one thread
                data = bytes([seed]) * 20_000
                peer.sendall(data)
                if receive(peer, len(data)) != data:
                    return False
            return True

    async def main():
        return await asyncio.gather(*(asyncio.to_thread(talk, seed) for seed in range(8)))

    assert run(main()) == [True] * 8


class TestStreams:
    """Their reader is fed without a call of data_received(), while that is asyncio's own."""

    @pytest.fixture
    def open_stream(self, run, make_pair, keep, client_context, server_context):
        def open_stream(**options):
            near, far = make_pair()

            async def both():
                shaking = asyncio.to_thread(server_context.wrap_socket, far, server_side=True)
                opening = asyncio.open_connection(sock=near, ssl=client_context, server_hostname="localhost", **options)
                return await asyncio.gather(opening, shaking)

            (reader, writer), peer = run(both())
            writers.append(writer)
            return reader, writer, keep(peer)

        writers = []
        yield open_stream
        for writer in writers:
            writer.transport.abort()
        run(asyncio.sleep(0.01))

    def test_lines_arrive_and_the_end(self, run, open_stream, eventually):
        reader, _, peer = open_stream()
        peer.sendall(b"one\ntwo\nrest")
        assert run(reader.readline()) == b"one\n"
        assert run(reader.readuntil(b"w")) == b"tw"
        peer.sendall(b"!")
        run(asyncio.to_thread(peer.shutdown, socket.SHUT_WR))
        assert run(reader.read()) == b"o\nrest!"
        assert reader.at_eof()

    def test_a_reader_who_waits_is_woken_by_a_part(self, run, open_stream):
        reader, _, peer = open_stream()

        async def main():
            waiting = asyncio.ensure_future(reader.readexactly(6))
            await asyncio.sleep(0.01)
            for part in (b"one", b"two"):
                peer.sendall(part)
                await asyncio.sleep(0.01)
            return await waiting

        assert run(main()) == b"onetwo"

    def test_a_full_reader_pauses_the_transport(self, run, open_stream, eventually):
        reader, writer, peer = open_stream(limit=1000)
        sending = threading.Thread(target=peer.sendall, args=(DATA,))
        sending.start()
        eventually(lambda: not writer.transport.is_reading())
        assert len(reader._buffer) > 2000
        assert run(reader.readexactly(len(DATA))) == DATA
        sending.join()

    def test_a_method_that_is_replaced_is_called(self, open_stream, eventually):
        reader, writer, peer = open_stream()
        protocol = writer.transport.get_protocol()
        got = []
        protocol.data_received = got.append
        peer.sendall(b"data")
        eventually(lambda: got)
        assert got == [b"data"]
        assert not reader._buffer
        del protocol.data_received
