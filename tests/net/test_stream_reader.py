"""asyncio's StreamReader at the end of a transport: fed by C as by its methods, and by these if they differ."""

import asyncio
import contextlib
import gc
import hashlib
import inspect
import random
import socket
import struct
import sys
import textwrap
import weakref

import pytest

BULK = 10_000_000


@pytest.fixture
def stream(loop, connect):
    """stream(...) -> (reader, transport, peer); takes the StreamReader's arguments and other classes."""

    def stream(Reader=asyncio.StreamReader, Protocol=asyncio.StreamReaderProtocol, **options):
        reader = Reader(loop=loop, **options)
        transport, peer = connect(Protocol(reader, loop=loop))
        return reader, transport, peer

    return stream


@pytest.fixture
def send(run):
    """send(peer, data) from a thread, while the loop turns."""
    return lambda peer, data: run(asyncio.to_thread(peer.sendall, data))


@pytest.fixture
def refused(take_reports):
    """Takes the one report of what data_received() has raised -> the exception."""

    def refused():
        [report] = take_reports()
        assert report["message"] == "Fatal error: protocol.data_received() call failed."
        return report["exception"]

    return refused


def random_bytes(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        (asyncio.StreamReaderProtocol.data_received, "23712f4ed97e219a"),
        (asyncio.StreamReader.feed_data, "710c28a00df50136"),
        (asyncio.StreamReader._wakeup_waiter, "ddc25d2a45344056"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_asyncios_methods_are_those_that_the_c_code_replaces(method, digest):
    source = textwrap.dedent(inspect.getsource(method))
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == digest, "compare with src/net/stream_reader.c"


def test_no_python_runs_between_the_socket_and_the_waiter(loop, stream, run, kind, Task):
    if Task is asyncio.Task or loop.get_debug():
        pytest.skip("goes through the methods")
    reader, _, peer = stream()
    called = set()

    async def read():
        waiting = loop.create_task(reader.read(10))
        await asyncio.sleep(0)
        peer.sendall(b"x")
        sys.setprofile(lambda frame, event, arg: called.add(frame.f_code.co_name))
        try:
            return await waiting
        finally:
            sys.setprofile(None)

    assert run(read()) == b"x"
    assert "_maybe_resume_transport" in called
    assert not called & {"data_received", "feed_data", "_wakeup_waiter"}


class TestReading:
    @pytest.mark.parametrize("seed", range(3))
    def test_bulk_is_the_same_however_it_is_cut(self, stream, run, seed):
        rng = random.Random(seed)
        reader, _, peer = stream(limit=rng.choice([1, 1000, 2**16, 2**20]))
        data = random_bytes(BULK, seed)

        def send():
            sent = 0
            while sent < BULK:
                size = rng.choice([1, 100, 5000, 70_000, 400_000])
                peer.sendall(data[sent : sent + size])
                sent += size
            peer.shutdown(socket.SHUT_WR)

        async def read():
            sending = asyncio.create_task(asyncio.to_thread(send))
            got = bytearray()
            while piece := await reader.read(rng.choice([1, 3000, 100_000, 1_000_000])):
                got += piece
            await sending
            return got

        assert run(read()) == data

    def test_one_piece_may_be_larger_than_the_limit(self, stream, run):
        reader, _, peer = stream()
        data = random_bytes(BULK)

        async def read():
            sending = asyncio.create_task(asyncio.to_thread(peer.sendall, data))
            got = await reader.readexactly(BULK)
            await sending
            return got

        assert run(read()) == data

    def test_messages_may_be_cut_anywhere(self, loop, stream, run):
        reader, _, peer = stream()

        async def read():
            got = []
            for part, reading in [
                (b"one\ntw", reader.readline()),
                (b"o\nend<", reader.readline()),
                (b">12", reader.readuntil(b"<>")),
                (b"345", reader.readexactly(5)),
            ]:
                peer.sendall(part)
                got.append(await reading)
            return got

        assert run(read()) == [b"one\n", b"two\n", b"end<>", b"12345"]

    def test_bytes_received_while_no_task_waits_are_kept(self, stream, eventually, run):
        reader, _, peer = stream()
        for i in range(10):
            peer.sendall(b"%d" % i)
            eventually(lambda i=i: len(reader._buffer) == i + 1)
        assert run(reader.read(100)) == b"0123456789"

    @pytest.mark.parametrize("size", [5, 3_000_000])
    def test_end_of_stream(self, stream, run, size):
        reader, _, peer = stream()
        data = random_bytes(size)

        def send():
            peer.sendall(data)
            peer.close()

        async def read():
            _, got = await asyncio.gather(asyncio.to_thread(send), reader.read())
            return got

        assert run(read()) == data
        assert reader.at_eof()

    @pytest.mark.parametrize("size", [5, 500_000])
    def test_connection_reset(self, stream, send, run, eventually, size):
        reader, _, peer = stream(limit=2**20)
        send(peer, bytes(size))
        eventually(lambda: len(reader._buffer) == size)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        eventually(reader.exception)
        assert isinstance(reader.exception(), ConnectionResetError)
        assert len(reader._buffer) == size

    def test_buffer_is_unchanged_if_another_reader_takes_the_bytes(self, loop, stream, send, eventually, settle):
        """The buffer, grown for it, is what it was."""
        reader, transport, peer = stream(limit=2**20)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**19)
        transport.pause_reading()
        send(peer, bytes(100_000))
        transport.resume_reading()  # takes it in two reads: what comes next is bulk
        eventually(lambda: len(reader._buffer) == 100_000)
        reader._waiter = waiter = loop.create_future()
        thief = sock.dup()
        stolen = []

        def steal():
            with contextlib.suppress(BlockingIOError):
                stolen.append(thief.recv(100))

        ready, other = socket.socketpair()
        with thief, ready, other:
            other.send(b"always")
            loop.add_reader(ready, int)  # so that each turn polls
            for _ in range(20):
                peer.sendall(b"12345")
                loop.call_soon(steal)  # runs before what the next poll finds
                settle()
                assert waiter.done() == (len(reader._buffer) > 100_000)
            loop.remove_reader(ready)
        assert len(reader._buffer) + len(b"".join(stolen)) == 100_100
        assert stolen


class TestWaiter:
    def test_is_woken_and_forgotten(self, loop, stream, run, eventually):
        reader, _, peer = stream()
        reader._waiter = waiter = loop.create_future()
        peer.sendall(b"data")
        eventually(waiter.done)
        assert waiter.result() is None
        assert reader._waiter is None
        assert reader._buffer == b"data"

    def test_cancelled_waiter_is_forgotten(self, loop, stream, run, eventually):
        reader, _, peer = stream()
        reader._waiter = waiter = loop.create_future()
        waiter.cancel()
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"data")
        assert reader._waiter is None
        assert waiter.cancelled()

    def test_reading_task_cancelled_when_data_comes(self, loop, stream, run):
        reader, _, peer = stream()

        async def read():
            task = loop.create_task(reader.readexactly(3))
            await asyncio.sleep(0)
            peer.sendall(b"abc")
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            return await reader.readexactly(3)

        assert run(read()) == b"abc"

    def test_done_waiter_is_an_invalid_state_error(self, loop, stream, eventually, refused):
        reader, _, peer = stream()
        reader._waiter = waiter = loop.create_future()
        waiter.set_result(None)
        peer.sendall(b"data")
        eventually(reader.exception)
        assert isinstance(refused(), asyncio.InvalidStateError)
        assert reader._waiter is None
        assert reader._buffer == b"data"

    def test_stock_future_is_woken(self, loop, stream, eventually):
        reader, _, peer = stream()
        reader._waiter = waiter = asyncio.Future(loop=loop)
        peer.sendall(b"data")
        eventually(waiter.done)
        assert reader._waiter is None
        assert reader._buffer == b"data"

    def test_object_that_acts_as_a_future_is_woken(self, stream, eventually):
        class Waiter:
            calls = []

            def cancelled(self):
                self.calls.append(("cancelled", reader._waiter, bytes(reader._buffer)))

            def set_result(self, result):
                self.calls.append(("set_result", result))
                reader._buffer.clear()

        reader, _, peer = stream(limit=1)
        reader._waiter = Waiter()
        peer.sendall(b"data")
        eventually(lambda: len(Waiter.calls) == 2)
        assert Waiter.calls == [("cancelled", None, b"data"), ("set_result", None)]
        assert not reader._paused  # it was empty again

    def test_overridden_call_soon_wakes_it(self, loop, stream, run):
        original = loop.call_soon

        def call_soon(callback, *args, **options):
            if reader._buffer:
                reader._limit = 100  # so that it is not above it any more
            return original(callback, *args, **options)

        async def read():
            waiting = loop.create_task(reader.readexactly(4))
            await asyncio.sleep(0)
            loop.call_soon = call_soon
            peer.sendall(b"datamore")
            got = await waiting
            loop.call_soon = original
            return got

        reader, transport, peer = stream(limit=1)
        transport.pause_reading = lambda: pytest.fail("paused")
        reader._transport = transport
        assert run(read()) == b"data"
        assert not reader._paused


class TestLimit:
    @pytest.mark.parametrize(("size", "is_reading"), [(20, True), (21, False)])
    def test_reader_pauses_its_transport_above_twice_of_it(self, stream, eventually, settle, size, is_reading):
        reader, transport, peer = stream(limit=10)
        peer.sendall(bytes(size))
        eventually(lambda: len(reader._buffer) == size)
        assert transport.is_reading() == is_reading
        assert reader._paused == (not is_reading)
        peer.sendall(b"more")
        settle()
        assert len(reader._buffer) == size + (4 if is_reading else 0)

    def test_bulk_stops_too(self, stream, run, settle):
        reader, transport, peer = stream()

        async def fill():
            sending = asyncio.create_task(asyncio.to_thread(peer.sendall, bytes(BULK)))
            while transport.is_reading():
                await asyncio.sleep(0.001)
            size = len(reader._buffer)
            await asyncio.sleep(0.02)
            assert len(reader._buffer) == size
            await reader.readexactly(BULK)
            await sending
            return size

        assert 2 * 2**16 < run(fill()) <= 2 * 2**16 + 2**18  # no more than one read above it

    def test_goes_on_when_the_reader_has_caught_up(self, stream, eventually, run):
        reader, transport, peer = stream(limit=10)
        peer.sendall(bytes(30))
        eventually(lambda: reader._paused)
        run(reader.readexactly(19))
        assert reader._paused
        run(reader.readexactly(1))
        assert not reader._paused
        assert transport.is_reading()
        peer.sendall(b"more")
        eventually(lambda: len(reader._buffer) == 14)

    def test_paused_reader_is_fed_without_pausing_again(self, stream, eventually):
        class Transport:
            calls = 0

            def pause_reading(self):
                self.calls += 1

        reader, _, peer = stream(limit=1)
        reader._transport = other = Transport()
        for i in range(3):
            peer.sendall(b"123")
            eventually(lambda i=i: len(reader._buffer) == 3 * (i + 1))
        assert other.calls == 1

    def test_transport_that_cannot_be_paused_is_forgotten(self, stream, eventually):
        class Transport:
            def pause_reading(self):
                raise NotImplementedError

        reader, _, peer = stream(limit=1)
        reader._transport = Transport()
        for i in range(3):
            peer.sendall(b"123")
            eventually(lambda i=i: len(reader._buffer) == 3 * (i + 1))
            assert reader._transport is None
            assert not reader._paused

    def test_reader_without_a_transport_pauses_none(self, stream, eventually):
        reader, transport, peer = stream(limit=1)
        reader._transport = None
        peer.sendall(b"123")
        eventually(lambda: reader._buffer == b"123")
        assert transport.is_reading()

    def test_failure_to_pause_is_the_exception_of_the_reader(self, stream, eventually, refused):
        class Transport:
            def pause_reading(self):
                raise ZeroDivisionError

        reader, _, peer = stream(limit=1)
        reader._transport = Transport()
        peer.sendall(b"123")
        eventually(reader.exception)
        assert isinstance(refused(), ZeroDivisionError)
        assert not reader._paused

    def test_pause_reading_may_close_the_transport(self, stream, eventually):
        class Transport:
            def pause_reading(self):
                transport.abort()

        reader, transport, peer = stream(limit=1)
        reader._transport = Transport()
        peer.sendall(b"123")
        eventually(lambda: reader._eof)
        assert reader._paused
        assert reader._buffer == b"123"

    @pytest.mark.parametrize(
        ("limit", "is_full"), [(1.5, False), (1.4, True), (10**30, False), (True, True), (-(10**30), True)]
    )
    def test_limit_may_be_any_kind_of_number(self, stream, eventually, limit, is_full):
        reader, _, peer = stream()
        reader._limit = limit
        peer.sendall(b"123")
        eventually(lambda: reader._buffer == b"123")
        assert reader._paused == is_full

    def test_limit_that_is_no_number_is_a_type_error(self, stream, eventually, refused):
        reader, _, peer = stream()
        reader._limit = None
        peer.sendall(b"123")
        eventually(reader.exception)
        assert isinstance(refused(), TypeError)
        assert reader._buffer == b"123"


class TestUnusual:
    @pytest.mark.skipif(sys.flags.optimize > 0, reason="is asserted")
    def test_data_after_feed_eof_is_refused(self, stream, eventually, refused):
        reader, _, peer = stream()
        reader.feed_eof()
        peer.sendall(b"data")
        eventually(reader.exception)
        assert str(refused()) == "feed_data after feed_eof"
        assert reader._buffer == b""

    def test_data_for_a_freed_reader_is_dropped(self, stream, eventually, settle, receive):
        reader, transport, peer = stream()
        peer.sendall(b"data")
        eventually(lambda reader=reader: reader._buffer == b"data")
        gone = weakref.ref(reader)
        del reader
        gc.collect()
        assert gone() is None
        peer.sendall(b"for nobody")
        settle()
        transport.write(b"still here")
        assert receive(peer, 10) == b"still here"

    @pytest.mark.parametrize("size", [5, 400_000])
    def test_exported_buffer_is_a_buffer_error(self, stream, send, eventually, refused, size):
        reader, _, peer = stream(limit=2**20)
        send(peer, bytes(size))
        eventually(lambda: len(reader._buffer) == size)
        with memoryview(reader._buffer) as view:
            peer.sendall(b"more")
            eventually(reader.exception)
            assert len(view) == size
        assert isinstance(refused(), BufferError)
        assert len(reader._buffer) == size

    def test_extend_of_another_buffer_type_is_called(self, stream, eventually):
        class Buffer(bytearray):
            def extend(self, data):
                assert type(data) is bytes
                super().extend(data + b"!")

        reader, _, peer = stream()
        reader._buffer = Buffer()
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"data!")

    def test_reader_may_be_known_by_any_callable(self, stream, eventually):
        reader, transport, peer = stream()
        transport.get_protocol()._stream_reader_wr = lambda: reader
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"data")

    def test_data_goes_to_the_reader_of_the_protocol(self, loop, stream, eventually):
        reader, transport, peer = stream()
        other = asyncio.StreamReader(loop=loop)
        transport.get_protocol()._stream_reader_wr = asyncio.StreamReaderProtocol(other, loop=loop)._stream_reader_wr
        peer.sendall(b"data")
        eventually(lambda: other._buffer == b"data")
        assert reader._buffer == b""


def noting(function, calls):
    """A function that does the same, and notes that it was called."""

    def note(*args):
        calls.append(args)
        return function(*args)

    return note


class TestOverridden:
    """Methods that differ from asyncio's are called, whenever they came and as long as they stay."""

    @pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter"])
    @pytest.mark.parametrize("where", ["reader", "class"])
    def test_methods_of_the_reader_are_called(self, monkeypatch, stream, eventually, name, where):
        reader, _, peer = stream()
        peer.sendall(b"1")
        eventually(lambda: reader._buffer == b"1")
        calls = []
        owner = reader if where == "reader" else asyncio.StreamReader
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, noting(getattr(owner, name), calls))
            peer.sendall(b"2")
            eventually(lambda: reader._buffer == b"12")
            assert len(calls) == 1
        peer.sendall(b"3")
        eventually(lambda: reader._buffer == b"123")
        assert len(calls) == 1

    def test_method_of_another_reader_is_called(self, loop, stream, eventually):
        reader, _, peer = stream()
        other = asyncio.StreamReader(loop=loop)
        reader.feed_data = other.feed_data
        peer.sendall(b"data")
        eventually(lambda: other._buffer == b"data")
        assert reader._buffer == b""

    @pytest.mark.parametrize("where", ["protocol", "class"])
    def test_data_received_is_called(self, monkeypatch, loop, connect, eventually, where):
        calls = []
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        owner = protocol if where == "protocol" else asyncio.StreamReaderProtocol
        monkeypatch.setattr(owner, "data_received", noting(owner.data_received, calls))
        _, peer = connect(protocol)
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"data")
        assert len(calls) == 1

    def test_protocol_takes_the_method_of_another(self, loop, connect, eventually):
        readers = [asyncio.StreamReader(loop=loop) for _ in range(2)]
        protocols = [asyncio.StreamReaderProtocol(reader, loop=loop) for reader in readers]
        protocols[0].data_received = protocols[1].data_received
        _, peer = connect(protocols[0])
        peer.sendall(b"data")
        eventually(lambda: readers[1]._buffer == b"data")
        assert readers[0]._buffer == b""

    def test_data_received_that_is_looked_up_by_code_that_closes(self, monkeypatch, stream, eventually, settle):
        def look(protocol):
            transport.abort()
            return lambda data: got.append(data)

        reader, transport, peer = stream()
        got = []
        monkeypatch.setattr(asyncio.StreamReaderProtocol, "data_received", property(look))
        peer.sendall(b"data")
        eventually(lambda: reader._eof)
        assert reader._buffer == b""

    @pytest.mark.parametrize("limit", [2**16, 1.5])
    def test_attribute_that_is_looked_up_by_code_that_closes(self, monkeypatch, stream, eventually, kind, limit):
        if kind == "asyncio":
            pytest.skip("has received when it looks")

        def look(reader):
            transport.abort()
            return limit

        reader, transport, peer = stream()
        monkeypatch.setattr(asyncio.StreamReader, "_limit", property(look), raising=False)
        peer.sendall(b"data")
        eventually(lambda: reader._eof)
        assert reader._buffer == b""

    def test_attribute_whose_look_up_fails(self, monkeypatch, stream, eventually, refused):
        def look(reader):
            raise ZeroDivisionError

        reader, _, peer = stream()
        monkeypatch.setattr(asyncio.StreamReader, "_limit", property(look), raising=False)
        peer.sendall(b"data")
        eventually(reader.exception)
        assert isinstance(refused(), ZeroDivisionError)

    def test_subclass_of_the_reader(self, stream, eventually):
        class Reader(asyncio.StreamReader):
            def feed_data(self, data):
                super().feed_data(data.upper())

        reader, _, peer = stream(Reader)
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"DATA")

    def test_subclass_of_the_protocol(self, stream, eventually):
        class Protocol(asyncio.StreamReaderProtocol):
            def data_received(self, data):
                super().data_received(data.upper())

        reader, _, peer = stream(Protocol=Protocol)
        peer.sendall(b"data")
        eventually(lambda: reader._buffer == b"DATA")

    def test_subclass_of_the_protocol_that_finds_its_reader_otherwise(self, loop, stream, eventually):
        class Protocol(asyncio.StreamReaderProtocol):
            @property
            def _stream_reader(self):
                return other

        other = asyncio.StreamReader(loop=loop)
        reader, _, peer = stream(Protocol=Protocol)
        peer.sendall(b"data")
        eventually(lambda: other._buffer == b"data")
        assert reader._buffer == b""


def test_set_protocol_away_and_back(stream, Recorder, eventually):
    reader, transport, peer = stream()
    protocol = transport.get_protocol()
    peer.sendall(b"1")
    eventually(lambda: reader._buffer == b"1")
    recorder = Recorder()
    transport.set_protocol(recorder)
    peer.sendall(b"2")
    eventually(lambda: recorder.data == b"2")
    transport.set_protocol(protocol)
    peer.sendall(b"3")
    eventually(lambda: reader._buffer == b"13")
