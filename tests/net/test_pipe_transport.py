"""Pipe transports: both ends of pipes, FIFOs, sockets and terminals, at the other end a plain descriptor."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import pty
import socket
import sys
import tty
import warnings
import weakref

import pytest
import stock


@pytest.fixture
def pipe():
    """The two descriptors of a pipe as unbuffered files, closed after the test."""
    r, w = os.pipe()
    with contextlib.ExitStack() as stack:
        reader, writer = os.fdopen(r, "rb", 0), os.fdopen(w, "wb", 0)
        for file in (reader, writer):
            stack.callback(file.close)
        yield reader, writer


@pytest.fixture
def connect_reader(loop, run):
    """connect_reader(file, protocol) -> the transport; aborted after the test if the loop is still there."""
    transports = weakref.WeakSet()

    def connect(file, protocol):
        transport, _ = run(loop.connect_read_pipe(lambda: protocol, file))
        transports.add(transport)
        return transport

    yield connect
    finish(loop, run, transports)


@pytest.fixture
def connect_writer(loop, run):
    transports = weakref.WeakSet()

    def connect(file, protocol):
        transport, _ = run(loop.connect_write_pipe(lambda: protocol, file))
        transports.add(transport)
        return transport

    yield connect
    finish(loop, run, transports)


def finish(loop, run, transports):
    if loop.is_closed():
        return
    for transport in list(transports):
        if transport.get_protocol() is not None:
            getattr(transport, "abort", transport.close)()
    run(asyncio.sleep(0.001))


def fill(transport):
    """Write until the kernel takes no more and part of it stays in the transport; returns how much was written."""
    written = 0
    while transport.get_write_buffer_size() == 0:
        transport.write(bytes(50_000))
        written += 50_000
    return written


def is_blocking(file):
    return os.get_blocking(file.fileno())


class TestKinds:
    def test_are_asyncio_transports(self, pipe, connect_reader, connect_writer, Recorder):
        reader, writer = connect_reader(pipe[0], Recorder()), connect_writer(pipe[1], Recorder())
        assert isinstance(reader, asyncio.ReadTransport)
        assert not isinstance(reader, asyncio.WriteTransport)
        assert not hasattr(reader, "write") and not hasattr(reader, "abort")
        assert isinstance(writer, asyncio.WriteTransport)
        assert isinstance(writer, asyncio.transports._FlowControlMixin)

    def test_both_become_non_blocking_and_stay_so(self, pipe, connect_reader, Recorder, eventually):
        protocol = Recorder()
        copy = os.dup(pipe[0].fileno())
        try:
            assert is_blocking(pipe[0])
            transport = connect_reader(pipe[0], protocol)
            assert not is_blocking(pipe[0])
            transport.close()
            eventually(lambda: protocol.lost)
            assert not os.get_blocking(copy)
        finally:
            os.close(copy)

    def test_extra_info_is_the_pipe(self, pipe, connect_reader, connect_writer, Recorder, settle):
        reader, writer = connect_reader(pipe[0], Recorder()), connect_writer(pipe[1], Recorder())
        assert reader.get_extra_info("pipe") is pipe[0]
        assert writer.get_extra_info("pipe") is pipe[1]
        assert reader.get_extra_info("socket", 5) == 5
        writer.close()
        settle()
        assert writer.get_extra_info("pipe") is pipe[1]

    def test_extra_is_used(self, loop, pipe, Recorder, turn):
        extra = {"colour": "blue"}
        transport = loop._make_read_pipe_transport(pipe[0], Recorder(), None, extra)
        assert transport.get_extra_info("colour") == "blue"
        assert transport.get_extra_info("pipe") is pipe[0]
        transport.close()
        turn(3)

    @pytest.mark.parametrize("direction", ["read", "write"])
    def test_regular_file_is_refused(self, loop, run, tmp_path, direction, Recorder):
        message = {
            "read": "Pipe transport is for pipes/sockets only.",
            "write": "Pipe transport is only for pipes, sockets and character devices",
        }
        connect = {"read": loop.connect_read_pipe, "write": loop.connect_write_pipe}[direction]
        with warnings.catch_warnings(), open(tmp_path / "file", "wb+") as file:
            warnings.simplefilter("error")
            with pytest.raises(ValueError) as caught:
                run(connect(Recorder, file))
            assert str(caught.value) == message[direction]
            assert not file.closed
            assert is_blocking(file)
            gc.collect()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's cannot say who it was
    @pytest.mark.parametrize("fd", [9999, -1])  # -1 is that of a closed socket
    def test_closed_descriptor_is_refused(self, run, loop, Recorder, fd):
        class Closed:
            def fileno(self):
                return fd

            def close(self):
                pass

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's has taken the pipe over
            with pytest.raises(OSError) as caught:
                run(loop.connect_read_pipe(Recorder, Closed()))
            assert caught.value.errno == errno.EBADF
            del caught
            gc.collect()

    def test_object_without_fileno_is_refused(self, run, loop, Recorder, monkeypatch):
        monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)  # what asyncio's has begun has no repr
        with pytest.raises(AttributeError):
            run(loop.connect_read_pipe(Recorder, object()))
        gc.collect()

    def test_connection_made_comes_first(self, pipe, connect_reader, Recorder):
        protocol = Recorder()
        pipe[1].write(b"early")
        transport = connect_reader(pipe[0], protocol)
        assert protocol.calls[0] == "connection_made"
        assert protocol.transport is transport

    def test_takes_attributes_and_weak_references(self, pipe, connect_writer, Recorder):
        transport = connect_writer(pipe[1], Recorder())
        transport.remark = "mine"
        assert weakref.ref(transport)().remark == "mine"

    @pytest.mark.feature("epoll")
    def test_device_that_cannot_be_polled(self, loop, run, Recorder, reports):
        """It connects, and the failure to watch it is reported."""

        async def main():
            with open("/dev/null", "rb", 0) as null:
                transport, _ = await loop.connect_read_pipe(Recorder, null)
                transport.close()
                await asyncio.sleep(0.001)

        run(main())
        assert [type(report["exception"]) for report in reports()] == [PermissionError]

    def test_null_device_can_be_written(self, loop, run, Recorder):
        async def main():
            protocol = Recorder()
            transport, _ = await loop.connect_write_pipe(lambda: protocol, open("/dev/null", "wb", 0))
            transport.write(bytes(1 << 20))
            assert transport.get_write_buffer_size() == 0
            transport.close()
            await asyncio.sleep(0.001)
            assert protocol.lost == [None]

        run(main())

    def test_fifo_is_read_and_written(self, tmp_path, connect_reader, connect_writer, Recorder, eventually):
        path = tmp_path / "fifo"
        os.mkfifo(path)
        read_end = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
        write_end = os.fdopen(os.open(path, os.O_WRONLY), "wb", 0)
        protocol, writing = Recorder(), Recorder()
        connect_reader(read_end, protocol)
        transport = connect_writer(write_end, writing)
        transport.write(b"through the file system")
        eventually(lambda: protocol.data == b"through the file system")
        transport.close()
        eventually(lambda: protocol.lost and writing.lost)
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]

    def test_sockets_are_read_and_written(self, connect_reader, connect_writer, Recorder, eventually):
        a, b = socket.socketpair()
        protocol, writing = Recorder(), Recorder()
        connect_reader(a, protocol)
        transport = connect_writer(b, writing)
        transport.write(b"hello")
        eventually(lambda: protocol.data == b"hello")
        transport.close()
        eventually(lambda: protocol.lost)
        assert a.fileno() == b.fileno() == -1

    def test_terminal_read_and_written_through_one_file(self, connect_reader, connect_writer, Recorder, eventually):
        master, slave = pty.openpty()
        tty.setraw(slave)
        file = os.fdopen(master, "rb+", 0)
        reading, writing = Recorder(), Recorder()
        reader, writer = connect_reader(file, reading), connect_writer(file, writing)
        writer.write(b"to the slave")
        assert os.read(slave, 100) == b"to the slave"
        os.write(slave, b"to the master")
        eventually(lambda: reading.data == b"to the master")
        reader.pause_reading()
        writer.write(b"more")
        assert os.read(slave, 100) == b"more"
        os.close(slave)
        reader.resume_reading()
        eventually(lambda: reading.lost)
        assert reading.lost[0].errno == errno.EIO
        assert reading.calls.count("eof_received") == 0


class TestReading:
    def test_small_and_large_data_arrive(self, run, pipe, connect_reader, Recorder, eventually):
        protocol = Recorder()
        connect_reader(pipe[0], protocol)
        sent = bytes(range(256)) * 8000
        os.write(pipe[1].fileno(), sent[:3])
        eventually(lambda: len(protocol.data) == 3)

        def write():
            rest = memoryview(sent)[3:]
            while rest:
                rest = rest[os.write(pipe[1].fileno(), rest) :]

        run(asyncio.to_thread(write))
        eventually(lambda: len(protocol.data) == len(sent))
        assert protocol.data == sent

    def test_large_pipe_is_read_in_pieces_of_256_kib_at_most(self, pipe, connect_reader, Recorder, eventually):
        fcntl = pytest.importorskip("fcntl")
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 20)
        sizes = []

        class Sizes(Recorder):
            def data_received(self, data):
                sizes.append(len(data))

        os.write(pipe[1].fileno(), bytes(1 << 20))
        connect_reader(pipe[0], Sizes())
        eventually(lambda: sum(sizes) == 1 << 20)
        assert max(sizes) <= 256 * 1024
        os.write(pipe[1].fileno(), b"x")
        eventually(lambda: sizes[-1] == 1)

    def test_end_of_stream_closes_the_transport(self, pipe, connect_reader, Recorder, eventually):
        protocol = Recorder()
        protocol.keep_open = True  # of no effect on a pipe
        transport = connect_reader(pipe[0], protocol)
        pipe[1].write(b"last words")
        pipe[1].close()
        eventually(lambda: protocol.lost)
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert protocol.lost == [None]
        assert protocol.data == b"last words"
        assert transport.is_closing()
        assert pipe[0].closed
        assert transport.get_protocol() is None

    def test_paused_pipe_is_read_when_resumed(self, pipe, connect_reader, Recorder, eventually, settle):
        protocol = Recorder()
        transport = connect_reader(pipe[0], protocol)
        transport.pause_reading()
        transport.pause_reading()
        pipe[1].write(b"later")
        settle()
        assert protocol.data == b""
        transport.resume_reading()
        transport.resume_reading()
        eventually(lambda: protocol.data == b"later")

    @pytest.mark.stock_needs(stock.PIPES_TELL, reason="stock's pipe transports have no is_reading()")
    def test_tells_whether_it_reads(self, pipe, connect_reader, Recorder):
        transport = connect_reader(pipe[0], Recorder())
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        transport.resume_reading()
        assert transport.is_reading()
        transport.close()
        assert not transport.is_reading()

    @pytest.mark.stock_needs(stock.PAUSES_EARLY, reason="stock starts reading all the same")
    def test_paused_in_connection_made(self, pipe, connect_reader, Recorder, eventually, settle):
        class Pauses(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.pause_reading()

        protocol = Pauses()
        pipe[1].write(b"waiting")
        transport = connect_reader(pipe[0], protocol)
        settle()
        assert protocol.data == b""
        transport.resume_reading()
        eventually(lambda: protocol.data == b"waiting")

    def test_closed_in_data_received(self, pipe, connect_reader, Recorder, eventually, settle):
        class Closes(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.close()
                self.transport.close()

        protocol = Closes()
        connect_reader(pipe[0], protocol)
        pipe[1].write(b"one")
        eventually(lambda: protocol.lost)
        settle()
        assert protocol.calls == ["connection_made", "data_received", "connection_lost"]

    def test_failure_of_data_received_is_reported_and_ends_nothing(
        self, pipe, connect_reader, Recorder, eventually, take_reports
    ):
        class Fails(Recorder):
            def data_received(self, data):
                super().data_received(data)
                if data == b"bad":
                    raise ValueError("no")

        protocol = Fails()
        transport = connect_reader(pipe[0], protocol)
        pipe[1].write(b"bad")
        eventually(lambda: protocol.data)
        pipe[1].write(b"good")
        eventually(lambda: protocol.data == b"badgood")
        (report,) = take_reports()
        assert report["message"].startswith("Exception in callback ")
        assert "_read_ready()" in report["message"]
        assert str(report["exception"]) == "no"
        assert not transport.is_closing()

    @pytest.mark.parametrize("method", ["connection_made", "eof_received", "connection_lost"])
    def test_failures_are_reported_and_the_pipe_is_closed(
        self, method, pipe, connect_reader, Recorder, eventually, take_reports
    ):
        protocol = Recorder()

        def fail(*args):
            getattr(Recorder, method)(protocol, *args)
            raise ValueError(method)

        setattr(protocol, method, fail)
        connect_reader(pipe[0], protocol)
        pipe[1].close()
        eventually(lambda: pipe[0].closed)
        assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]
        (report,) = take_reports()
        assert str(report["exception"]) == method
        assert report["message"].startswith("Exception in callback ")

    def test_error_is_reported(self, pipe, connect_reader, Recorder, eventually, take_reports):
        """Any but EIO: here that of a socket whose other end is closed with unread data."""
        near, far = socket.socketpair()
        near.send(b"unread")
        protocol = Recorder()
        connect_reader(near, protocol)
        far.close()
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], ConnectionResetError)
        (report,) = take_reports()
        assert report["message"] == "Fatal read error on pipe transport"
        assert report["transport"] is protocol.transport
        assert report["protocol"] is protocol

    def test_base_exceptions_leave_the_loop(self, loop, run, pipe, connect_reader, Recorder):
        class Leaves(Recorder):
            def data_received(self, data):
                raise KeyboardInterrupt

        connect_reader(pipe[0], Leaves())
        pipe[1].write(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.sleep(5))

    def test_protocol_can_be_replaced(self, pipe, connect_reader, Recorder, eventually):
        first, second = Recorder(), Recorder()
        transport = connect_reader(pipe[0], first)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        pipe[1].write(b"x")
        eventually(lambda: second.data == b"x")
        assert first.calls == ["connection_made"]


class TestWriting:
    def test_bytes_like_objects_are_written(self, pipe, connect_writer, Recorder):
        transport = connect_writer(pipe[1], Recorder())
        transport.write(b"a")
        transport.write(bytearray(b"b"))
        transport.write(memoryview(b"c"))
        transport.write(data=b"d")
        transport.write(b"")
        transport.writelines([b"e", b"f"])
        assert os.read(pipe[0].fileno(), 100) == b"abcdef"

    @pytest.mark.parametrize("wrong", ["text", 5, None, [b"x"]])
    def test_other_types_are_refused(self, pipe, connect_writer, Recorder, wrong):
        transport = connect_writer(pipe[1], Recorder())
        with pytest.raises(AssertionError) as caught:
            transport.write(wrong)
        assert str(caught.value).startswith(repr(wrong))
        assert not transport.is_closing()

    def test_buffer_that_is_not_contiguous_ends_the_pipe(
        self, pipe, connect_writer, Recorder, eventually, take_reports
    ):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        transport.write(memoryview(b"abcdef")[::2])
        eventually(lambda: protocol.lost)
        (report,) = take_reports()
        assert report["message"] == "Fatal write error on pipe transport"
        assert protocol.lost == [report["exception"]]

    def test_queued_bytes_arrive_in_order(self, run, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        pieces = [bytes([i % 256]) * (i * 7 % 5000) for i in range(1000)]
        for piece in pieces:
            transport.write(piece)
        queued = transport.get_write_buffer_size()
        assert 0 < queued < sum(map(len, pieces))
        transport.close()
        assert transport.is_closing()

        def read_all():
            got = b""
            while data := os.read(pipe[0].fileno(), 1 << 16):
                got += data
            return got

        assert run(asyncio.to_thread(read_all)) == b"".join(pieces)
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert pipe[1].closed

    def test_resume_writing_comes_when_all_is_written(self, run, pipe, connect_writer, Recorder, eventually):
        """Resumed when all is written, not at the low mark."""
        resumed_at = []

        class Watching(Recorder):
            def resume_writing(self):
                super().resume_writing()
                resumed_at.append(self.transport.get_write_buffer_size())

        protocol = Watching()
        transport = connect_writer(pipe[1], protocol)
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.set_write_buffer_limits(high=1000, low=500)
        assert transport.get_write_buffer_limits() == (500, 1000)
        written = fill(transport)
        assert protocol.calls == ["connection_made", "pause_writing"]
        got = 0
        while got < written:
            got += len(os.read(pipe[0].fileno(), 3000))
            run(asyncio.sleep(0))
        eventually(lambda: resumed_at)
        assert resumed_at == [0]

    def test_write_eof_closes(self, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        assert transport.can_write_eof()
        transport.write(b"all")
        transport.write_eof()
        transport.write_eof()
        transport.close()
        assert transport.is_closing()
        eventually(lambda: protocol.lost)
        assert pipe[0].read() == b"all"
        assert protocol.calls == ["connection_made", "connection_lost"]

    def test_abort_drops_queued_bytes(self, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        written = fill(transport)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert len(pipe[0].read()) < written

    def test_abort_after_close(self, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        fill(transport)
        transport.close()
        transport.abort()
        eventually(lambda: protocol.lost)
        assert protocol.calls.count("connection_lost") == 1

    def test_reader_that_closes_is_noticed(self, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        connect_writer(pipe[1], protocol)
        pipe[0].close()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]
        assert pipe[1].closed

    def test_reader_that_closes_with_bytes_queued(self, pipe, connect_writer, Recorder, eventually):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        fill(transport)
        pipe[0].close()
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], BrokenPipeError)
        assert transport.get_write_buffer_size() == 0

    def test_reader_that_closes_is_noticed_after_a_close_in_connection_made(
        self, pipe, connect_writer, Recorder, eventually
    ):
        class Hasty(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                fill(transport)
                transport.close()

        protocol = Hasty()
        connect_writer(pipe[1], protocol)
        pipe[0].close()
        eventually(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], BrokenPipeError)
        assert protocol.lost[0].errno is None  # the end of the reader ends it, not the failure of a write

    def test_write_to_a_pipe_without_reader(self, pipe, connect_writer, Recorder, eventually, caplog):
        protocol = Recorder()
        transport = connect_writer(pipe[1], protocol)
        pipe[0].close()
        transport.write(b"x")
        assert transport.is_closing()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.write(b"x")
            assert not caplog.records
            transport.write(b"x")
        assert [record.message for record in caplog.records] == [
            "pipe closed by peer or os.write(pipe, data) raised exception."
        ]
        eventually(lambda: protocol.lost)
        assert protocol.lost[0].errno == errno.EPIPE

    def test_writes_after_close_are_counted(self, pipe, connect_writer, Recorder, settle, caplog):
        transport = connect_writer(pipe[1], Recorder())
        transport.close()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(5):
                transport.write(b"x")
            assert not caplog.records
            transport.write(b"x")
        assert len(caplog.records) == 1
        settle()
        transport.write(b"x")
        assert pipe[0].read() == b""

    def test_socket_that_gets_data_counts_as_closed(self, connect_writer, Recorder, eventually):
        a, b = socket.socketpair()
        with b:
            protocol = Recorder()
            connect_writer(a, protocol)
            b.send(b"unexpected")
            eventually(lambda: protocol.lost)
            assert protocol.lost == [None]

    def test_closed_in_resume_writing(self, run, pipe, connect_writer, Recorder, eventually, settle, take_reports):
        class Closes(Recorder):
            def resume_writing(self):
                super().resume_writing()
                self.transport.abort()

        protocol = Closes()
        transport = connect_writer(pipe[1], protocol)
        transport.set_write_buffer_limits(high=10)
        written = fill(transport)
        got = 0
        while got < written:
            got += len(os.read(pipe[0].fileno(), 1 << 16))
            run(asyncio.sleep(0))
        eventually(lambda: protocol.lost)
        settle()
        take_reports()  # asyncio trips over ending it twice
        assert protocol.calls.count("connection_lost") == 1

    def test_writes_in_resume_writing(self, run, pipe, connect_writer, Recorder, eventually):
        class Writes(Recorder):
            def resume_writing(self):
                if self.calls.count("resume_writing") < 3:
                    fill(self.transport)
                super().resume_writing()

        protocol = Writes()
        transport = connect_writer(pipe[1], protocol)
        transport.set_write_buffer_limits(high=10)
        fill(transport)

        async def read():
            while protocol.calls.count("resume_writing") < 4:
                with contextlib.suppress(BlockingIOError):
                    os.read(pipe[0].fileno(), 1 << 16)
                await asyncio.sleep(0)

        os.set_blocking(pipe[0].fileno(), False)
        run(read())
        assert protocol.calls.count("pause_writing") == 4


class TestDebug:
    def test_steps_are_logged(self, loop, run, pipe, connect_reader, connect_writer, Recorder, eventually, caplog):
        loop.set_debug(True)
        loop.slow_callback_duration = 100
        reading, writing = Recorder(), Recorder()
        with caplog.at_level(logging.DEBUG, "asyncio"):
            reader = connect_reader(pipe[0], reading)
            writer = connect_writer(pipe[1], writing)
            reader.pause_reading()
            reader.resume_reading()
            writer.close()
            eventually(lambda: reading.lost and writing.lost)
        said = [
            (r.levelname, r.message.split(" ", 2)[0] if r.message[0] != "<" else r.message.rpartition("> ")[2])
            for r in caplog.records
            if r.message[0] == "<"
        ]
        assert said == [("DEBUG", "pauses reading"), ("DEBUG", "resumes reading"), ("INFO", "was closed by peer")]
        assert any(r.message.startswith("Read pipe ") for r in caplog.records)

    def test_repr_tells_descriptor_and_state(self, pipe, connect_reader, connect_writer, Recorder, settle):
        fds = [file.fileno() for file in pipe]
        reader, writer = connect_reader(pipe[0], Recorder()), connect_writer(pipe[1], Recorder())
        assert repr(reader).endswith(f"Transport fd={fds[0]} polling>")
        assert repr(writer).endswith(f"Transport fd={fds[1]} idle bufsize=0>")
        reader.pause_reading()
        assert repr(reader).endswith(f"Transport fd={fds[0]} idle>")
        fill(writer)
        assert f"fd={fds[1]} polling bufsize={writer.get_write_buffer_size()}>" in repr(writer)
        writer.abort()
        assert f"Transport closing fd={fds[1]} idle bufsize=0>" in repr(writer)
        settle()
        assert repr(writer).endswith(f"Transport closed fd={fds[1]} closed>")


class TestLifetime:
    def test_dropped_unclosed_warns_and_closes(self, loop, pipe, connect_writer, connect_reader, Recorder):
        protocol = Recorder()
        transport = connect_reader(pipe[0], protocol)
        transport.pause_reading()  # what reads is kept by the loop
        text = repr(transport)
        protocol.transport = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport
            gc.collect()
        assert [str(w.message) for w in caught] == [f"unclosed transport {text}"]
        assert caught[0].category is ResourceWarning
        assert pipe[0].closed

    def test_loop_closed_first(self, loop, pipe, connect_reader, connect_writer, Recorder):
        reading, writing = Recorder(), Recorder()
        reader, writer = connect_reader(pipe[0], reading), connect_writer(pipe[1], writing)
        loop.close()
        for transport in (reader, writer):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                transport.close()
        reading.transport = writing.transport = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del reader, writer, transport
            gc.collect()
        assert pipe[0].closed and pipe[1].closed

    def test_not_made_on_a_closed_loop(self, loop, pipe, Recorder):
        loop.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's has taken the pipe over
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                loop._make_read_pipe_transport(pipe[0], Recorder())
            gc.collect()

    def test_cycle_is_collected(self, loop, pipe, connect_reader, Recorder, eventually):
        protocol = Recorder()
        transport = connect_reader(pipe[0], protocol)
        reference = weakref.ref(protocol)
        transport.itself = transport
        transport.close()
        lost = protocol.lost
        eventually(lambda: lost)
        del transport, protocol
        gc.collect()
        assert reference() is None
