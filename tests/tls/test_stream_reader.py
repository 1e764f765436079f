"""asyncio's StreamReader behind TLS: net/test_stream_reader.py has what it does with what it is fed."""

import asyncio
import random
import sys

import pytest


@pytest.fixture
def stream(loop, either):
    """stream(...) -> (reader, transport, peer); takes the StreamReader's arguments."""

    def stream(**options):
        reader = asyncio.StreamReader(loop=loop, **options)
        transport, peer = either(asyncio.StreamReaderProtocol(reader, loop=loop))
        return reader, transport, peer

    return stream


@pytest.mark.parametrize("limit", [1000, 2**16])
def test_bulk_is_the_same_however_it_is_cut(stream, run, limit):
    reader, _, peer = stream(limit=limit)
    data = random.Random(limit).randbytes(2_000_000)

    async def read():
        sending = asyncio.create_task(asyncio.to_thread(peer.sendall, data))
        got = bytearray(await reader.readexactly(300_000))
        while len(got) < len(data):
            got += await reader.read(100_000)
        await sending
        return got

    assert run(read()) == data


def test_no_python_runs_between_the_plaintext_and_the_waiter(loop, stream, run, kind):
    if kind == "asyncio" or loop.get_debug():
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


def test_overridden_feed_data_is_called(stream, eventually):
    reader, _, peer = stream()
    peer.sendall(b"1")
    eventually(lambda: reader._buffer == b"1")
    got = []
    reader.feed_data = got.append
    peer.sendall(b"2")
    eventually(lambda: got)
    assert got == [b"2"]
    assert reader._buffer == b"1"


def test_subclass_of_the_protocol_that_finds_its_reader_otherwise(loop, either, eventually):
    class Protocol(asyncio.StreamReaderProtocol):
        @property
        def _stream_reader(self):
            return other

    reader, other = asyncio.StreamReader(loop=loop), asyncio.StreamReader(loop=loop)
    _, peer = either(Protocol(reader, loop=loop))
    peer.sendall(b"data")
    eventually(lambda: other._buffer == b"data")
    assert reader._buffer == b""


def test_reader_pauses_its_transport_above_twice_its_limit(stream, eventually, run):
    reader, transport, peer = stream(limit=10)
    peer.sendall(bytes(21))
    eventually(lambda: reader._paused)
    assert not transport.is_reading()
    assert run(reader.readexactly(21)) == bytes(21)
    assert transport.is_reading()


@pytest.mark.skipif(sys.flags.optimize > 0, reason="is asserted")
def test_data_after_feed_eof_ends_the_connection(loop, stream, eventually, take_reports):
    reader, _, peer = stream()
    reader.feed_eof()
    peer.sendall(b"data")
    eventually(reader.exception)
    [report] = take_reports()
    assert str(report["exception"]) == "feed_data after feed_eof"
