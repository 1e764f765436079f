"""Protocol methods that raise: what is reported, and what becomes of the connection."""

import asyncio
import contextlib
import inspect
import socket

import pytest


def raising(base, method, error):
    """A subclass of `base` whose `method` raises `error` after doing its work."""

    def fail(self, *args):
        getattr(base, method)(self, *args)
        raise error

    return type("Failing", (base,), {method: fail})


@pytest.fixture
def provoke(connect, settle):
    """provoke(protocol): connects, sends it data and the end of the stream; -> transport."""

    def provoke(protocol):
        transport, peer = connect(protocol)
        peer.sendall(b"data")
        settle()
        with contextlib.suppress(OSError):  # the transport may have gone already
            peer.shutdown(socket.SHUT_WR)
        settle()
        return transport

    return provoke


@pytest.mark.parametrize(
    ("buffered", "method"),
    [
        (False, "data_received"),
        (False, "eof_received"),
        (True, "get_buffer"),
        (True, "buffer_updated"),
        (True, "eof_received"),
    ],
)
def test_error_while_reading_is_reported_and_loses_the_connection(
    Recorder, BufferedRecorder, provoke, take_reports, buffered, method
):
    error = ZeroDivisionError("mine")
    protocol = raising(BufferedRecorder if buffered else Recorder, method, error)()
    transport = provoke(protocol)
    [report] = take_reports()
    assert report["message"] == f"Fatal error: protocol.{method}() call failed."
    assert report["exception"] is error
    assert report["transport"] is transport
    assert report["protocol"] is protocol
    assert protocol.lost == [error]
    assert protocol.calls[-2:] == [method, "connection_lost"]


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_oserror_while_reading_is_taken_for_the_networks(Recorder, provoke, method):
    """OSErrors are expected to happen to connections: connection_lost() is told, nobody else."""
    error = OSError("mine")
    protocol = raising(Recorder, method, error)()
    provoke(protocol)
    assert protocol.lost == [error]


def test_error_in_connection_made_is_reported_and_the_connection_lives(Recorder, provoke, take_reports):
    error = ZeroDivisionError("mine")
    protocol = raising(Recorder, "connection_made", error)()
    provoke(protocol)
    [report] = take_reports()
    assert report["exception"] is error
    assert report["message"].startswith("Exception in callback ")
    assert protocol.data == b"data"
    assert protocol.lost == [None]


@pytest.mark.parametrize("debug", [False, True])
def test_report_shows_the_arguments_as_asyncio_does(Recorder, provoke, take_reports, loop, debug):
    """From 3.13 on it shows them in debug mode only: they may be secret."""
    loop.set_debug(debug)
    provoke(raising(Recorder, "connection_made", ZeroDivisionError("mine"))())
    [report] = take_reports()
    always = "debug" not in inspect.signature(asyncio.format_helpers._format_callback_source).parameters
    assert ("(<" in report["message"]) is (debug or always)


def test_error_in_connection_lost_is_reported_and_the_socket_closed(Recorder, provoke, take_reports):
    error = ZeroDivisionError("mine")
    protocol = raising(Recorder, "connection_lost", error)()
    transport = provoke(protocol)
    [report] = take_reports()
    assert report["exception"] is error
    assert protocol.lost == [None]
    assert transport.get_extra_info("socket").fileno() == -1
    assert transport.get_protocol() is None


def test_error_in_connection_lost_after_the_last_send_is_reported(
    connect, Recorder, receive_all, stuff, eventually, take_reports
):
    error = ZeroDivisionError("mine")
    protocol = raising(Recorder, "connection_lost", error)()
    transport, peer = connect(protocol)
    written = stuff(transport)
    transport.close()
    assert len(receive_all(peer)) == written
    eventually(lambda: protocol.lost)
    assert [report["exception"] for report in take_reports()] == [error]
    assert transport.get_extra_info("socket").fileno() == -1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_interrupts_leave_the_loop(connect, Recorder, settle, error, method):
    protocol = raising(Recorder, method, error())()
    with pytest.raises(error):
        _, peer = connect(protocol)
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        settle()
    protocol.transport.abort()
    settle()  # the loop goes on afterwards


def test_missing_method_is_reported_as_its_error(connect, settle, take_reports):
    class Deaf:
        lost = None

        def connection_made(self, transport):
            pass

        def connection_lost(self, exc):
            self.lost = exc

    protocol = Deaf()
    _, peer = connect(protocol)
    peer.sendall(b"x")
    settle()
    [report] = take_reports()
    assert report["message"] == "Fatal error: protocol.data_received() call failed."
    assert isinstance(report["exception"], AttributeError)
    assert protocol.lost is report["exception"]


class TestGetBuffer:
    def test_returning_an_empty_buffer_is_an_error(self, connect, BufferedRecorder, settle, take_reports):
        protocol = BufferedRecorder()
        protocol.size = 0
        _, peer = connect(protocol)
        peer.sendall(b"x")
        settle()
        [report] = take_reports()
        assert report["message"] == "Fatal error: protocol.get_buffer() call failed."
        assert isinstance(report["exception"], RuntimeError)
        assert str(report["exception"]) == "get_buffer() returned an empty buffer"
        assert protocol.lost == [report["exception"]]

    def test_returning_no_buffer_is_an_error(self, connect, BufferedRecorder, settle, take_reports):
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                return None

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"x")
        settle()
        [report] = take_reports()
        assert report["message"] == "Fatal error: protocol.get_buffer() call failed."
        assert isinstance(report["exception"], TypeError)
        assert protocol.lost == [report["exception"]]

    def test_returning_a_read_only_buffer_is_an_error(self, connect, BufferedRecorder, settle, take_reports):
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                return b"read-only"

        protocol = Protocol()
        _, peer = connect(protocol)
        peer.sendall(b"x")
        settle()
        [report] = take_reports()
        assert report["message"] == "Fatal read error on socket transport"
        assert isinstance(report["exception"], TypeError)
        assert protocol.lost == [report["exception"]]


def test_order_of_all_calls(connect, Recorder, eventually):
    protocol = Recorder()
    _, peer = connect(protocol)
    peer.sendall(b"one")
    eventually(lambda: protocol.data == b"one")
    peer.sendall(b"two")
    eventually(lambda: protocol.data == b"onetwo")
    peer.close()
    eventually(lambda: protocol.lost)
    assert protocol.calls == ["connection_made", "data_received", "data_received", "eof_received", "connection_lost"]


def test_data_that_is_already_there_comes_after_connection_made(loop, run, tcp_pair, Recorder, eventually):
    near, far = tcp_pair
    far.sendall(b"early")
    far.shutdown(socket.SHUT_WR)
    _, protocol = run(loop.create_connection(Recorder, sock=near))
    eventually(lambda: protocol.lost)
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


def test_a_protocol_may_change_its_own_method(connect, Recorder, eventually):
    class Changing(Recorder):
        def data_received(self, data):
            super().data_received(b"first " + data)
            self.data_received = self.then

        def then(self, data):
            super().data_received(b" then " + data)

    protocol = Changing()
    transport, peer = connect(protocol)
    peer.sendall(b"1")
    eventually(lambda: protocol.data == b"first 1")
    peer.sendall(b"2")
    eventually(lambda: protocol.data == b"first 1 then 2")
    transport.abort()


def test_a_buffered_protocol_may_change_its_own_methods(connect, BufferedRecorder, eventually):
    protocol = BufferedRecorder()
    transport, peer = connect(protocol)
    peer.sendall(b"1")
    eventually(lambda: protocol.data == b"1")
    other, counts = bytearray(10), []
    protocol.get_buffer = lambda hint: other
    protocol.buffer_updated = counts.append
    peer.sendall(b"23")
    eventually(lambda: counts == [2])
    assert other[:2] == b"23"
    transport.abort()


@pytest.mark.parametrize("empty", [b"", [], memoryview(b""), bytearray()])
def test_an_empty_buffer_of_any_type_is_an_error(connect, BufferedRecorder, settle, take_reports, empty):
    protocol = BufferedRecorder()
    _, peer = connect(protocol)
    protocol.get_buffer = lambda hint: empty
    peer.sendall(b"x")
    settle()
    (report,) = take_reports()
    assert report["message"] == "Fatal error: protocol.get_buffer() call failed."
    assert repr(report["exception"]) == "RuntimeError('get_buffer() returned an empty buffer')"
    assert protocol.lost == [report["exception"]]


@pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio's wants an argument
@pytest.mark.parametrize("data", [b"x", b""])
def test_a_buffer_that_ends_the_connection_when_freed_is_reported(
    connect, BufferedRecorder, settle, take_reports, data
):
    class Buffer(bytearray):
        def __del__(self):
            transport._call_connection_lost()

    protocol = BufferedRecorder()
    transport, peer = connect(protocol)
    protocol.get_buffer = lambda hint: Buffer(10)
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    settle()
    assert transport.get_protocol() is None
    assert "buffer_updated" not in protocol.calls
    assert "eof_received" not in protocol.calls
    (report,) = take_reports()
    assert "is already entered" in str(report["exception"])
