"""A TLS transport between a protocol and a peer that speaks TLS through blocking sockets."""

import asyncio
import gc
import os
import ssl
import weakref

import pytest

DATA = os.urandom(1 << 20)  # of several TLS records, and more than the kernel buffers


class TestData:
    def test_a_message_arrives_each_way(self, either, Recorder, eventually, receive):
        protocol = Recorder()
        transport, peer = either(protocol)
        transport.write(b"ping")
        assert receive(peer, 4) == b"ping"
        peer.sendall(b"pong")
        eventually(lambda: protocol.data == b"pong")
        assert protocol.calls == ["connection_made", "data_received"]
        assert protocol.transport is transport

    def test_much_data_arrives_each_way(self, run, either, Recorder, eventually, receive):
        protocol = Recorder()
        transport, peer = either(protocol)
        transport.write(DATA)
        assert receive(peer, len(DATA)) == DATA
        run(asyncio.to_thread(peer.sendall, DATA))
        eventually(lambda: len(protocol.data) == len(DATA))
        assert protocol.data == DATA

    def test_buffered_protocol_gets_the_data(self, run, either, BufferedRecorder, eventually):
        protocol = BufferedRecorder()
        _, peer = either(protocol)
        run(asyncio.to_thread(peer.sendall, DATA[:100_000]))
        eventually(lambda: len(protocol.data) == 100_000)
        assert protocol.data == DATA[:100_000]
        assert set(protocol.calls) == {"connection_made", "buffer_updated"}

    def test_writelines_sends_the_pieces_in_order(self, connect, Recorder, receive):
        transport, peer = connect(Recorder())
        transport.writelines([b"one ", bytearray(b"two "), memoryview(b"three")])
        assert receive(peer, 13) == b"one two three"

    @pytest.mark.parametrize("items", [[1], [None], [b"x", 1]])
    def test_writelines_of_other_types_ends_the_connection(self, connect, Recorder, eventually, take_reports, items):
        """With the next that comes, as it stays in the backlog."""
        protocol = Recorder()
        transport, peer = connect(protocol)
        with pytest.raises(TypeError):
            transport.writelines(items)
        peer.sendall(b"next")
        eventually(lambda: protocol.lost)
        assert {type(report["exception"]) for report in take_reports()} == {TypeError}

    def test_connection_made_may_write(self, connect, Recorder, receive):
        class Eager(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(b"at once")

        _, peer = connect(Eager())
        assert receive(peer, 7) == b"at once"

    @pytest.mark.parametrize("data", ["text", 1, None])
    def test_write_takes_bytes_only(self, connect, Recorder, data):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got"):
            transport.write(data)

    def test_paused_transport_delivers_when_resumed(self, connect, Recorder, eventually, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        peer.sendall(b"later")
        settle()
        assert protocol.data == b""
        transport.resume_reading()
        eventually(lambda: protocol.data == b"later")

    def test_writing_is_paused_while_the_peer_does_not_read(self, connect, Recorder, eventually, receive):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = 0
        while "pause_writing" not in protocol.calls:
            transport.write(DATA)
            written += len(DATA)
        assert transport.get_write_buffer_size() > 0
        assert receive(peer, written) == DATA * (written // len(DATA))
        eventually(lambda: transport.get_write_buffer_size() == 0)
        assert protocol.calls[1:] == ["pause_writing", "resume_writing"]

    def test_write_buffer_limits_can_be_set(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(high=1, low=2)

    @pytest.mark.parametrize("limits", [(1, 0), (5000, 1000), (200_000, 0)])
    @pytest.mark.parametrize("is_paused", [False, True])
    def test_reading_goes_on_within_a_record(self, run, connect, Recorder, eventually, limits, is_paused):
        """Whatever the limits of the read buffer: the end of a record comes only if somebody reads it."""
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.set_read_buffer_limits(*limits)

        async def send():
            sending = asyncio.ensure_future(asyncio.to_thread(peer.sendall, DATA))
            if is_paused:
                transport.pause_reading()
                await asyncio.sleep(0.01)
                transport.resume_reading()
            await sending

        run(send())
        eventually(lambda: len(protocol.data) == len(DATA))
        assert protocol.data == DATA
        assert transport.get_read_buffer_size() == 0

    def test_bytes_that_are_sent_at_once_are_not_in_the_buffer(self, connect, Recorder, eventually):
        class Answering(Recorder):
            def data_received(self, data):
                self.transport.write(b"answer")
                self.waiting = self.transport.get_write_buffer_size()
                super().data_received(data)

        protocol = Answering()
        _, peer = connect(protocol)
        peer.sendall(b"ask")
        eventually(lambda: protocol.data)
        assert protocol.waiting == 0

    @pytest.mark.parametrize("size", [1000, 100_000])
    def test_writing_in_data_received_is_paused_within_it(self, connect, Recorder, eventually, size):
        class Greedy(Recorder):
            def data_received(self, data):
                while "pause_writing" not in self.calls and self.written < 20_000_000:
                    self.transport.write(bytes(size))
                    self.written += size
                super().data_received(data)

        protocol = Greedy()
        protocol.written = 0
        _, peer = connect(protocol)
        peer.sendall(b"ask")
        eventually(lambda: protocol.data)
        assert protocol.written < 20_000_000

    def test_a_limit_of_zero_is_looked_at_by_each_write(self, connect, Recorder, eventually):
        class Answering(Recorder):
            def data_received(self, data):
                self.calls.clear()
                self.transport.write(b"none")
                self.transport.set_write_buffer_limits(0)
                self.transport.write(b"one")
                self.transport.write(b"two")
                self.within = list(self.calls)
                super().data_received(data)

        protocol = Answering()
        _, peer = connect(protocol)
        peer.sendall(b"ask")
        eventually(lambda: protocol.data)
        assert protocol.within == ["pause_writing", "resume_writing", "pause_writing"]

    def test_protocol_can_be_replaced(self, connect, Recorder, eventually):
        first, second = Recorder(), Recorder()
        transport, peer = connect(first)
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        peer.sendall(b"for the second")
        eventually(lambda: second.data)
        assert first.data == b""


class TestExtraInfo:
    def test_client_has_context_certificate_and_cipher(self, connect, Recorder, client_context, certificate):
        transport, peer = connect(Recorder())
        info = transport.get_extra_info
        assert info("sslcontext") is client_context
        assert info("peercert")["subject"] == ((("commonName", "localhost"),),)
        assert info("cipher")[0] == peer.cipher()[0]
        assert info("compression") is None
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("ssl_object").version() == peer.version()

    def test_names_and_socket_of_the_transport_below_are_there(self, either, Recorder):
        transport, peer = either(Recorder())
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()
        assert transport.get_extra_info("socket").fileno() >= 0
        assert transport.get_extra_info("nothing of the kind") is None
        assert transport.get_extra_info("nothing of the kind", 1) == 1

    def test_client_without_a_certificate_has_none(self, accept, Recorder):
        transport, _ = accept(Recorder())
        assert transport.get_extra_info("peercert") is None

    def test_client_with_a_certificate_is_named(self, accept, Recorder, certificate, other_certificate):
        transport, _ = accept(
            Recorder(),
            context=certificate.server_context(clients=other_certificate),
            peer_context=certificate.client_context(own=other_certificate),
        )
        assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "elsewhere"),),)

    def test_application_protocol_is_the_common_one(self, either, Recorder, client_context, server_context):
        client_context.set_alpn_protocols(["h2", "http/1.1"])
        server_context.set_alpn_protocols(["http/1.1"])
        transport, peer = either(Recorder())
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert peer.selected_alpn_protocol() == "http/1.1"

    def test_server_name_callback_is_called(self, accept, Recorder, server_context):
        asked = []
        server_context.sni_callback = lambda sock, name, context: asked.append((name, context))
        accept(Recorder())
        assert asked == [("localhost", server_context)]

    def test_is_an_asyncio_transport(self, either, Recorder):
        transport, _ = either(Recorder())
        assert isinstance(transport, asyncio.Transport)
        assert transport._ssl_protocol is not None  # libraries look at it


class TestEnd:
    def test_close_says_goodbye(self, run, either, Recorder, eventually):
        """The peer gets what was written, then an orderly end; it answers with its own."""
        protocol = Recorder()
        transport, peer = either(protocol)
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()

        def end():
            data = peer.recv(100)
            rest = peer.recv(1)
            peer.unwrap()
            return data, rest

        assert run(asyncio.to_thread(end)) == (b"last words", b"")
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert transport.get_protocol() is None

    def test_close_may_be_repeated(self, run, connect, Recorder, eventually):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.close()
        transport.close()
        run(asyncio.to_thread(peer.unwrap))
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]

    def test_peer_says_goodbye(self, run, either, Recorder, eventually):
        protocol = Recorder()
        transport, peer = either(protocol)
        peer.sendall(b"last words")
        run(asyncio.to_thread(peer.unwrap))
        eventually(lambda: protocol.lost)
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert protocol.data == b"last words"
        assert protocol.lost == [None]
        assert transport.is_closing()

    def test_keeping_it_open_has_no_effect(self, run, connect, Recorder, eventually, caplog):
        protocol = Recorder()
        protocol.keep_open = True
        _, peer = connect(protocol)
        run(asyncio.to_thread(peer.unwrap))
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert "returning true from eof_received() has no effect when using ssl" in caplog.text

    def test_peer_goes_without_goodbye(self, connect, Recorder, eventually, take_reports):
        protocol = Recorder()
        _, peer = connect(protocol)
        peer.close()
        eventually(lambda: protocol.lost)
        assert protocol.calls[-1] == "connection_lost"
        assert len(protocol.lost) == 1
        assert take_reports() == []

    def test_abort_sends_no_goodbye(self, either, Recorder, eventually, no_goodbye):
        protocol = Recorder()
        transport, peer = either(protocol)
        transport.abort()
        assert transport.is_closing()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        peer.suppress_ragged_eofs = False
        with no_goodbye:
            peer.recv(1)

    def test_abort_drops_queued_bytes(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, _ = connect(protocol)
        while transport.get_write_buffer_size() == 0:
            transport.write(DATA)
        transport.abort()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]

    def test_writes_after_the_end_are_dropped(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, _ = connect(protocol)
        transport.abort()
        transport.write(b"into the void")
        eventually(lambda: protocol.lost)
        transport.write(b"into the void")

    def test_half_close_is_refused(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            transport.write_eof()

    def test_shutdown_timeout_is_a_timeout_error(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, _ = connect(protocol, ssl_shutdown_timeout=0.05)
        transport.close()  # and the peer, which does not read, has no answer
        eventually(lambda: protocol.lost)
        [exc] = protocol.lost
        assert isinstance(exc, TimeoutError)
        assert str(exc) == "SSL shutdown timed out"

    def test_data_received_that_fails_ends_the_connection(self, connect, Recorder, eventually, take_reports):
        error = ZeroDivisionError()

        class Failing(Recorder):
            def data_received(self, data):
                raise error

        protocol = Failing()
        _, peer = connect(protocol)
        peer.sendall(b"x")
        eventually(lambda: protocol.lost)
        assert protocol.lost == [error]
        [report] = take_reports()
        assert report["message"] == "Fatal error on SSL protocol"
        assert report["exception"] is error

    def test_data_that_cannot_be_sent_ends_the_connection(self, connect, Recorder, eventually, receive, take_reports):
        class Failing(Recorder):
            def data_received(self, data):
                self.transport.write(b"this is sent")
                self.transport.write(memoryview(b"this is not contiguous")[::2])

        protocol = Failing()
        _, peer = connect(protocol)
        peer.sendall(b"data")
        eventually(lambda: protocol.lost)
        [exc] = protocol.lost
        assert isinstance(exc, BufferError)
        assert receive(peer, 12) == b"this is sent"
        # Twice: it stays queued, and is tried again when data_received() has returned.
        assert [type(report["exception"]) for report in take_reports()] == [BufferError, BufferError]

    @pytest.mark.parametrize(
        "buffer", [b"readonly", "text", memoryview(bytearray(20))[::2]], ids=["bytes", "str", "steps"]
    )
    def test_a_buffer_that_takes_no_data_ends_the_connection(
        self, connect, BufferedRecorder, eventually, take_reports, buffer
    ):
        protocol = BufferedRecorder()
        _, peer = connect(protocol)
        protocol.get_buffer = lambda sizehint: buffer
        protocol.transport.set_protocol(protocol)
        peer.sendall(b"data")
        eventually(lambda: protocol.lost)
        [exc] = protocol.lost
        assert isinstance(exc, TypeError)
        assert "argument 2 must be read-write bytes-like object, not " + type(buffer).__name__ in str(exc)
        [report] = take_reports()
        assert report["message"] == "Fatal error on SSL protocol"

    def test_a_broken_record_ends_the_connection(self, connect, Recorder, eventually, take_reports):
        protocol = Recorder()
        _, peer = connect(protocol)
        with os.fdopen(os.dup(peer.fileno()), "wb", buffering=0) as raw:
            raw.write(b"no TLS record at all")
        eventually(lambda: protocol.lost)
        [exc] = protocol.lost
        assert isinstance(exc, ssl.SSLError)
        assert take_reports() == []  # an OSError is what connections die of

    @pytest.mark.parametrize(
        "header",
        [b"\x17\x03\x03\xff\xff", b"\x17\x09\x09\x40\x00", b"\x63\x03\x03\x00\x20"],
        ids=["length", "version", "type"],
    )
    def test_a_header_that_no_record_has_is_not_waited_behind(self, connect, Recorder, eventually, header):
        protocol = Recorder()
        _, peer = connect(protocol)
        peer.sendall(b"first")
        eventually(lambda: protocol.data)
        with os.fdopen(os.dup(peer.fileno()), "wb", buffering=0) as raw:
            raw.write(header + b"x" * 20)
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], ssl.SSLError)

    def test_a_broken_record_does_not_resume_writing(self, run, connect, BufferedRecorder, eventually):
        protocol = BufferedRecorder()
        transport, peer = connect(protocol)
        transport.set_write_buffer_limits(0)
        assert protocol.calls[-1] == "pause_writing"
        with os.fdopen(os.dup(peer.fileno()), "wb", buffering=0) as raw:
            raw.write(b"no TLS record at all")
        eventually(lambda: protocol.lost)
        assert protocol.calls[-2:] == ["pause_writing", "connection_lost"]

    def test_closed_transport_leaves_no_cycle(self, run, either, Recorder, eventually):
        protocol = Recorder()
        transport, peer = either(protocol)
        gone, lost = [weakref.ref(transport), weakref.ref(protocol)], protocol.lost
        transport.close()
        run(asyncio.to_thread(peer.unwrap))
        eventually(lambda: lost)
        run(asyncio.sleep(0))
        del transport, protocol
        gc.collect()
        assert [ref() for ref in gone] == [None, None]


def test_an_sslobject_class_may_keep_its_arguments(run, either, Recorder, eventually, receive, request):
    """A context's own: what it does to that later, nobody is handed or sees."""
    kept = []

    class Keeping(ssl.SSLObject):
        def read(self, len=1024, buffer=None):
            if buffer is not None:
                kept.append(buffer)
            return super().read(len, buffer)

        def write(self, data):
            kept.append(data)
            return super().write(data)

    contexts = [request.getfixturevalue(name) for name in ("client_context", "server_context")]
    for context in contexts:
        context.sslobject_class = Keeping
    protocol = Recorder()
    data = [os.urandom(1000) for _ in range(3)]
    received = []
    protocol.data_received = received.append
    transport, peer = either(protocol)
    for i, piece in enumerate(data):
        peer.sendall(piece)
        eventually(lambda: sum(map(len, received)) == 1000 * (i + 1))  # noqa: B023
    for view in kept:
        if not isinstance(view, bytes) and not view.readonly:
            view[:4] = b"XXXX"
    assert b"".join(received) == b"".join(data)
    big = os.urandom(50_000)
    transport.write(big)
    assert receive(peer, 50_000) == big
    kept = [view for view in kept if isinstance(view, memoryview) and view.obj is None]
    assert kept == []  # each view keeps alive what it is of


@pytest.mark.parametrize("Buffered", [False, True])
def test_an_sslobject_class_may_read_less_than_it_could(
    run, connect, Recorder, BufferedRecorder, eventually, client_context, Buffered
):
    class Slow(ssl.SSLObject):
        def read(self, len=1024, buffer=None):
            return super().read(min(len, 10), *(() if buffer is None else (buffer,)))

    client_context.sslobject_class = Slow
    protocol = (BufferedRecorder if Buffered else Recorder)()
    _, peer = connect(protocol)
    peer.sendall(DATA[:900])
    eventually(lambda: protocol.data == DATA[:900])
