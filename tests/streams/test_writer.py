"""StreamWriter: it writes to its transport, and drain() waits while the protocol is paused."""

import asyncio
import gc

import pytest


class Transport:
    """Notes what is called."""

    def __init__(self):
        self.calls = []
        self.closing = False

    def write(self, data):
        self.calls.append(("write", data))
        return "ignored"

    def writelines(self, data):
        self.calls.append(("writelines", list(data)))

    def write_eof(self):
        self.calls.append(("write_eof",))

    def can_write_eof(self):
        return "perhaps"

    def close(self):
        self.calls.append(("close",))
        self.closing = True
        return "closed"

    def is_closing(self):
        return self.closing

    def get_extra_info(self, name, default=None):
        return {"name": "value"}.get(name, default)

    def __repr__(self):
        return "<fake>"


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def reader(streams, loop):
    return streams.StreamReader(loop=loop)


@pytest.fixture
def protocol(streams, loop, reader):
    return streams.StreamReaderProtocol(reader, loop=loop)


@pytest.fixture
def writer(streams, loop, transport, protocol, reader):
    writer = streams.StreamWriter(transport, protocol, reader, loop)
    yield writer
    transport.closing = True  # else it warns that it was not closed
    transport.is_closing = lambda: True


class TestInterface:
    def test_classes(self, writer, streams):
        assert isinstance(writer, asyncio.StreamWriter)
        assert type(writer) is streams.StreamWriter

    def test_attributes(self, writer, loop, transport, protocol, reader):
        assert (writer._loop, writer._transport, writer._protocol, writer._reader) == (
            loop,
            transport,
            protocol,
            reader,
        )
        assert writer.transport is transport
        with pytest.raises(AttributeError):
            writer.transport = None
        assert writer._complete_fut.result() is None
        assert writer._complete_fut is writer._complete_fut

    def test_repr(self, writer):
        assert repr(writer) == "<StreamWriter transport=<fake> reader=<StreamReader>>"

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # __del__() of what has failed
    def test_arguments(self, streams, loop, transport, protocol):
        with pytest.raises(TypeError):
            streams.StreamWriter(transport, protocol, None)
        with pytest.raises(AssertionError):
            streams.StreamWriter(transport, protocol, "reader", loop)
        gc.collect()
        transport.closing = True
        writer = streams.StreamWriter(transport=transport, protocol=protocol, reader=None, loop=loop)
        assert writer._reader is None

    def test_the_transport_does_it(self, writer, transport):
        assert writer.write(b"x") is None
        assert writer.writelines(iter([b"y", b"z"])) is None
        assert writer.write_eof() is None
        assert writer.can_write_eof() == "perhaps"
        assert writer.get_extra_info("name") == "value"
        assert writer.get_extra_info("other", 5) == 5
        assert writer.is_closing() is False
        assert writer.close() == "closed"
        assert writer.is_closing() is True
        assert transport.calls == [("write", b"x"), ("writelines", [b"y", b"z"]), ("write_eof",), ("close",)]

    def test_errors_of_the_transport(self, writer, transport):
        def write(data):
            raise OSError("no")

        transport.write = write
        with pytest.raises(OSError, match="no"):
            writer.write(b"x")

    def test_coroutines(self, writer, run):
        drain = writer.drain()
        assert asyncio.iscoroutine(drain)
        assert drain.__qualname__ == "StreamWriter.drain"
        assert run(asyncio.wait_for(drain, 5)) is None
        with pytest.warns(RuntimeWarning, match="coroutine 'StreamWriter.drain' was never awaited"):
            writer.drain()
            gc.collect()

    def test_overridden_methods(self, streams, loop, transport, protocol, reader, run, writer):
        called = []

        class Mine(streams.StreamWriter):
            async def drain(self):
                called.append("drain")
                await super().drain()

            def write(self, data):
                called.append("write")
                super().write(data)

        mine = Mine(transport, protocol, reader, loop)
        mine.write(b"x")
        run(mine.drain())
        assert called == ["write", "drain"]
        assert transport.calls == [("write", b"x")]
        transport.closing = True
        del mine

    def test_a_method_that_asyncio_is_given(self, writer, transport, monkeypatch):
        seen = []
        monkeypatch.setattr(asyncio.StreamWriter, "write", lambda self, data: seen.append(data))
        writer.write(b"x")
        assert (seen, transport.calls) == ([b"x"], [])


class TestDrain:
    def test_nothing_to_wait_for(self, writer, run):
        for _ in range(3):
            with pytest.raises(StopIteration):
                writer.drain().send(None)

    def test_waits_while_paused(self, writer, protocol, run, loop):
        protocol.pause_writing()
        tasks = [loop.create_task(writer.drain()) for _ in range(3)]
        run(asyncio.sleep(0))
        tasks[1].cancel()
        run(asyncio.sleep(0))
        assert [task.done() for task in tasks] == [False, True, False]
        protocol.resume_writing()
        assert run(asyncio.gather(tasks[0], tasks[2])) == [None, None]
        assert not protocol._drain_waiters

    def test_lost_while_paused(self, writer, protocol, run, loop):
        protocol.pause_writing()
        task = loop.create_task(writer.drain())
        run(asyncio.sleep(0))
        protocol.connection_lost(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            run(task)

    def test_connection_lost(self, writer, protocol, run):
        protocol.connection_lost(None)
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            run(writer.drain())

    def test_exception_of_the_reader(self, writer, reader, run):
        error = OSError("gone")
        reader.set_exception(error)
        for _ in range(2):
            with pytest.raises(OSError, match="gone") as raised:
                run(writer.drain())
            assert raised.value is error

    def test_exception_of_an_overridden_reader(self, writer, reader, run):
        reader.exception = lambda: OSError("mine")
        with pytest.raises(OSError, match="mine"):
            run(writer.drain())
        reader.exception = lambda: "no exception"
        with pytest.raises(TypeError, match="exceptions must derive from BaseException"):
            run(writer.drain())

    def test_no_reader(self, streams, loop, transport, protocol, run):
        writer = streams.StreamWriter(transport, protocol, None, loop)
        run(writer.drain())
        transport.closing = True
        del writer

    def test_yields_once_while_it_closes(self, writer, transport, protocol, run, loop):
        transport.closing = True
        loop.call_soon(protocol.connection_lost, None)
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            run(writer.drain())
        drain = writer.drain()
        assert drain.send(None) is None
        with pytest.raises(ConnectionResetError):
            drain.send(None)

    def test_other_protocols(self, streams, loop, transport, run, writer):
        class Protocol:
            async def _drain_helper(self):
                await asyncio.sleep(0)
                return "ignored"

            def _get_close_waiter(self, stream):
                assert stream is other
                return asyncio.sleep(0, "ignored")

        other = streams.StreamWriter(transport, Protocol(), None, loop)
        assert run(other.drain()) is None
        assert run(other.wait_closed()) is None
        other._protocol._drain_helper = lambda: 5
        with pytest.raises(TypeError, match="await"):
            run(other.drain())
        transport.closing = True


class TestClose:
    def test_wait_closed(self, writer, protocol, run, loop):
        task = loop.create_task(writer.wait_closed())
        run(asyncio.sleep(0))
        assert not task.done()
        protocol.connection_lost(None)
        assert run(task) is None
        assert run(writer.wait_closed()) is None

    def test_wait_closed_with_an_error(self, writer, protocol, run):
        protocol.connection_lost(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            run(writer.wait_closed())

    def test_unclosed(self, streams, loop, transport, protocol, reader):
        if not hasattr(asyncio.StreamWriter, "__del__"):
            pytest.skip("asyncio's writers of this version do not warn")
        writer = streams.StreamWriter(transport, protocol, reader, loop)
        with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
            del writer
            gc.collect()
        assert transport.calls == [("close",)]


def test_not_initialised(streams, run, transport):
    writer = streams.StreamWriter.__new__(streams.StreamWriter)
    for call in lambda: writer.write(b"x"), writer.close, writer.is_closing, lambda: run(writer.drain()):
        with pytest.raises(AttributeError):
            call()
    transport.closing = True
    writer._transport = transport  # for __del__()
