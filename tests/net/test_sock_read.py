"""The read side: what arrives, pausing, the end of the stream, errors of the network."""

import asyncio
import random
import socket
import struct

import pytest
import stock


def reset(peer):
    """Closes the peer's end so that the other gets ECONNRESET instead of an end of stream."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_data_comes_as_bytes(connect, Recorder, eventually):
    class Protocol(Recorder):
        def data_received(self, data):
            assert type(data) is bytes
            super().data_received(data)

    protocol = Protocol()
    _, peer = connect(protocol)
    peer.sendall(b"hello")
    eventually(lambda: protocol.data == b"hello")


def test_data_kept_by_the_protocol_does_not_change_later(connect, Recorder, eventually):
    kept = []

    class Keeping(Recorder):
        def data_received(self, data):
            kept.append(data)

    _, peer = connect(Keeping())
    for i in range(50):
        peer.sendall(b"%02d" % i * 100)
        eventually(lambda i=i: b"".join(kept).endswith(b"%02d" % i))
    assert b"".join(kept) == b"".join(b"%02d" % i * 100 for i in range(50))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("buffered", [False, True])
def test_stream_is_the_same_however_it_is_cut(connect, Recorder, BufferedRecorder, run, eventually, seed, buffered):
    rng = random.Random(seed)
    pieces = [rng.randbytes(rng.choice([1, 10, 1000, 70_000, 300_000])) for _ in range(40)]
    protocol = BufferedRecorder() if buffered else Recorder()
    if buffered:
        protocol.size = rng.choice([1000, 100_000, 1_000_000])
    _, peer = connect(protocol)

    def send():
        for piece in pieces:
            peer.sendall(piece)

    run(asyncio.to_thread(send))
    expected = b"".join(pieces)
    eventually(lambda: len(protocol.data) >= len(expected))
    assert protocol.data == expected


def test_data_before_the_end_of_stream_is_not_lost(connect, Recorder, run, eventually):
    protocol = Recorder()
    _, peer = connect(protocol)
    data = random.Random(0).randbytes(3_000_000)

    def send():
        peer.sendall(data)
        peer.close()

    run(asyncio.to_thread(send))
    eventually(lambda: protocol.lost)
    assert protocol.data == data
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]


def test_one_connection_cannot_starve_the_loop(loop, connect, Recorder, run, eventually):
    """A peer that sends without pause leaves callbacks their turn."""
    protocol = Recorder()
    _, peer = connect(protocol)
    peer.setblocking(True)
    turns = []

    def tick():
        turns.append(len(protocol.data))
        if not protocol.lost:
            loop.call_soon(tick)

    def send():
        peer.sendall(bytes(8_000_000))
        peer.close()

    loop.call_soon(tick)
    run(asyncio.to_thread(send))
    eventually(lambda: protocol.lost)
    assert len(set(turns)) > 5  # saw the stream in several states of completion


class TestEof:
    @pytest.mark.parametrize("answer", [None, False, 0])
    def test_closes_the_transport(self, connect, Recorder, eventually, answer):
        protocol = Recorder()
        protocol.keep_open = answer
        transport, peer = connect(protocol)
        peer.close()
        eventually(lambda: protocol.lost)
        assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]
        assert protocol.lost == [None]
        assert transport.is_closing()

    @pytest.mark.parametrize("answer", [True, 1])
    def test_keeps_the_write_side_open_if_the_protocol_wants_it(
        self, connect, Recorder, eventually, settle, receive, answer
    ):
        protocol = Recorder()
        protocol.keep_open = answer
        transport, peer = connect(protocol)
        peer.shutdown(socket.SHUT_WR)
        eventually(lambda: "eof_received" in protocol.calls)
        settle()
        assert protocol.calls == ["connection_made", "eof_received"]
        assert not transport.is_closing()
        transport.write(b"my last words")
        assert receive(peer, 13) == b"my last words"
        transport.close()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]

    def test_half_closed_transport_sends_much(self, connect, Recorder, eventually, receive_all):
        protocol = Recorder()
        protocol.keep_open = True
        transport, peer = connect(protocol)
        peer.shutdown(socket.SHUT_WR)
        eventually(lambda: "eof_received" in protocol.calls)
        data = random.Random(1).randbytes(5_000_000)
        transport.write(data)
        transport.close()
        assert receive_all(peer) == data
        assert protocol.calls.count("eof_received") == 1

    def test_closes_after_sending_queued_bytes(self, connect, Recorder, eventually, receive_all, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = stuff(transport)
        peer.shutdown(socket.SHUT_WR)
        eventually(lambda: "eof_received" in protocol.calls)
        assert len(receive_all(peer)) == written
        assert protocol.lost == [None]

    def test_reaches_a_buffered_protocol(self, connect, BufferedRecorder, eventually):
        protocol = BufferedRecorder()
        _, peer = connect(protocol)
        peer.sendall(b"end")
        peer.close()
        eventually(lambda: protocol.lost)
        assert protocol.data == b"end"
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]

    def test_close_from_eof_received(self, connect, Recorder, eventually):
        class Protocol(Recorder):
            def eof_received(self):
                super().eof_received()
                self.transport.close()
                return True

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.close()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]


class TestReset:
    def test_loses_the_connection_with_the_error(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, peer = connect(protocol)
        reset(peer)
        eventually(lambda: protocol.lost)
        [exc] = protocol.lost
        assert isinstance(exc, ConnectionResetError)
        assert protocol.calls == ["connection_made", "connection_lost"]
        assert transport.is_closing()

    def test_reaches_a_buffered_protocol(self, connect, BufferedRecorder, eventually):
        protocol = BufferedRecorder()
        _, peer = connect(protocol)
        reset(peer)
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], ConnectionResetError)

    def test_drops_queued_bytes(self, connect, Recorder, eventually, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        stuff(transport)
        reset(peer)
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], (ConnectionResetError, BrokenPipeError))
        assert transport.get_write_buffer_size() == 0

    def test_is_seen_when_reading_is_resumed(self, connect, Recorder, eventually, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.pause_reading()
        reset(peer)
        settle()
        assert protocol.lost == []
        transport.resume_reading()
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], ConnectionResetError)


class TestPauseReading:
    def test_stops_the_data(self, connect, Recorder, eventually, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        peer.sendall(b"wait")
        settle()
        assert protocol.data == b""
        transport.resume_reading()
        assert transport.is_reading()
        eventually(lambda: protocol.data == b"wait")

    def test_twice_is_once(self, connect, Recorder, eventually, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.pause_reading()
        transport.pause_reading()
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        peer.sendall(b"go")
        eventually(lambda: protocol.data == b"go")

    @pytest.mark.stock_needs(stock.PAUSES_EARLY, reason="stock starts reading all the same")
    def test_from_connection_made_holds_the_data_back(self, connect, Recorder, settle, eventually):
        class Protocol(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.pause_reading()

        protocol = Protocol()
        transport, peer = connect(protocol)
        peer.sendall(b"early")
        settle()
        assert protocol.data == b""
        transport.resume_reading()
        eventually(lambda: protocol.data == b"early")

    def test_from_data_received_lets_nothing_more_through(self, loop, connect, Recorder, eventually, run):
        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()

        protocol = Protocol()
        transport, peer = connect(protocol)
        data = random.Random(2).randbytes(2_000_000)
        sending = loop.run_in_executor(None, peer.sendall, data)
        while len(protocol.data) < len(data):
            before = protocol.calls.count("data_received")
            eventually(lambda before=before: protocol.calls.count("data_received") > before)
            assert protocol.calls.count("data_received") == before + 1
            transport.resume_reading()
        run(sending)
        assert protocol.data == data

    def test_and_resume_from_data_received_changes_nothing(self, connect, Recorder, eventually):
        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()
                self.transport.resume_reading()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"one")
        eventually(lambda: protocol.data == b"one")
        peer.sendall(b"two")
        eventually(lambda: protocol.data == b"onetwo")

    def test_hides_the_end_of_the_stream(self, connect, Recorder, eventually, settle):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.pause_reading()
        peer.close()
        settle()
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        eventually(lambda: protocol.lost)
        assert protocol.calls[1:] == ["eof_received", "connection_lost"]

    def test_does_not_hinder_writing(self, connect, Recorder, receive):
        transport, peer = connect(Recorder())
        transport.pause_reading()
        transport.write(b"out")
        assert receive(peer, 3) == b"out"

    def test_does_not_hinder_closing(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, _ = connect(protocol)
        transport.pause_reading()
        transport.close()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]


class TestFromDataReceived:
    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_ending_the_transport_is_the_last_call(self, connect, Recorder, run, settle, how):
        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                getattr(self.transport, how)()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(bytes(100_000))
        settle()
        assert protocol.calls == ["connection_made", "data_received", "connection_lost"]
        assert protocol.lost == [None]

    def test_the_loop_may_be_stopped(self, loop, connect, Recorder, eventually):
        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                loop.stop()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"one")
        loop.run_forever()
        assert protocol.data == b"one"
        protocol.transport.set_protocol(other := Recorder())
        peer.sendall(b"two")
        eventually(lambda: other.data == b"two")

    def test_closing_the_running_loop_is_refused(self, loop, connect, Recorder, eventually, take_reports):
        class Protocol(Recorder):
            def data_received(self, data):
                loop.close()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"close it")
        eventually(lambda: protocol.lost)
        [report] = take_reports()
        assert isinstance(report["exception"], RuntimeError)
        assert str(report["exception"]) == "Cannot close a running event loop"
        assert not loop.is_closed()

    def test_all_references_to_the_transport_may_be_dropped(self, connect, Recorder, settle):
        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.abort()
                self.transport = None

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"x")
        settle()
        assert protocol.lost == [None]

    def test_closing_another_transport_that_is_also_ready(self, connect, Recorder, settle):
        """Both are ready in the same turn; whichever is served first ends the other."""
        protocols = []

        class Protocol(Recorder):
            def data_received(self, data):
                super().data_received(data)
                for protocol in protocols:
                    if protocol is not self:
                        protocol.transport.abort()

        protocols += [Protocol(), Protocol()]
        peers = [connect(protocol)[1] for protocol in protocols]
        for peer in peers:
            peer.sendall(b"x")
        settle()
        assert sum("data_received" in protocol.calls for protocol in protocols) == 1
        assert sum(protocol.lost == [None] for protocol in protocols) == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_interrupts_leave_run_forever(self, loop, connect, Recorder, error):
        class Protocol(Recorder):
            def data_received(self, data):
                raise error

        _, peer = connect(Protocol())
        peer.sendall(b"x")
        with pytest.raises(error):
            loop.run_until_complete(asyncio.sleep(10))


class TestBufferedProtocol:
    def test_is_asked_with_no_size_hint(self, connect, BufferedRecorder, eventually):
        hints = []

        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                hints.append(sizehint)
                return super().get_buffer(sizehint)

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"x")
        eventually(lambda: protocol.data)
        assert set(hints) == {-1}

    def test_is_filled_no_further_than_its_buffer(self, connect, BufferedRecorder, eventually):
        protocol = BufferedRecorder()
        protocol.size = 7
        _, peer = connect(protocol)
        data = bytes(range(100))
        peer.sendall(data)
        eventually(lambda: len(protocol.data) == 100)
        assert protocol.data == data
        assert protocol.calls.count("buffer_updated") >= 15

    def test_may_hand_out_part_of_a_buffer(self, connect, BufferedRecorder, eventually):
        store = bytearray(100)

        class Protocol(BufferedRecorder):
            filled = 0

            def get_buffer(self, sizehint):
                return memoryview(store)[self.filled : self.filled + 3]

            def buffer_updated(self, nbytes):
                self.filled += nbytes

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"abcdefghij")
        eventually(lambda: protocol.filled == 10)
        assert store.startswith(b"abcdefghij\0")

    def test_gets_its_buffer_back_unlocked(self, connect, BufferedRecorder, eventually):
        """The transport holds no view of the buffer when buffer_updated() is called: it can be resized."""

        class Protocol(BufferedRecorder):
            def buffer_updated(self, nbytes):
                super().buffer_updated(nbytes)
                self.buffer.clear()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"resize me")
        eventually(lambda: protocol.data == b"resize me")

    @pytest.mark.parametrize("how", ["close", "abort", "pause_reading"])
    def test_may_stop_from_buffer_updated(self, connect, BufferedRecorder, eventually, settle, how):
        class Protocol(BufferedRecorder):
            size = 1

            def buffer_updated(self, nbytes):
                super().buffer_updated(nbytes)
                getattr(self.transport, how)()

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"abc")
        settle()
        assert protocol.data == b"a"

    def test_may_abort_from_get_buffer(self, connect, BufferedRecorder, settle):
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.transport.abort()
                return super().get_buffer(sizehint)

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"abc")
        settle()
        assert protocol.lost == [None]
        assert protocol.calls.count("connection_lost") == 1
