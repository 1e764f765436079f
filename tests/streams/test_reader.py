"""StreamReader: what is fed comes out, in order and once; what is unusual is done by asyncio's own code."""

import asyncio
import gc
import inspect
import sys
import warnings
import weakref

import pytest

import asyncloop

EXACT = "readexactly() called while another coroutine is already waiting for incoming data"


@pytest.fixture
def reader(streams, loop):
    return streams.StreamReader(loop=loop)


@pytest.fixture
def small(streams, loop, transport):
    """A reader with a limit of 10 bytes and a transport."""
    reader = streams.StreamReader(10, loop)
    reader.set_transport(transport)
    return reader


def first(awaitable):
    """The result of an awaitable that does not wait."""
    with pytest.raises(StopIteration) as stopped:
        awaitable.send(None)
    return stopped.value.value


class TestInterface:
    def test_classes(self, reader, streams):
        assert isinstance(reader, asyncio.StreamReader)
        assert type(reader) is streams.StreamReader

    def test_attributes(self, reader, loop):
        assert reader._loop is loop
        assert (reader._limit, reader._buffer, type(reader._buffer)) == (65536, b"", bytearray)
        assert (reader._eof, reader._paused) == (False, False)
        assert (reader._waiter, reader._exception, reader._transport) == (None, None, None)

    def test_attributes_can_be_set_and_not_deleted(self, small):
        small._eof, small._paused, small._limit = True, True, 5
        assert (small._eof, small._paused, small._limit) == (True, True, 5)
        if type(small) is not asyncio.StreamReader:
            for name in "_eof", "_paused", "_limit", "_buffer", "_waiter", "_transport":
                with pytest.raises(AttributeError):
                    delattr(small, name)

    def test_repr(self, small, run):
        assert repr(small) == "<StreamReader limit=10 transport=<fake>>"
        small.feed_data(b"x" * 21)
        small.feed_eof()
        assert repr(small) == "<StreamReader 21 bytes eof limit=10 transport=<fake> paused>"

    def test_arguments(self, streams, loop):
        for limit in 0, -1:
            with pytest.raises(ValueError, match="Limit cannot be <= 0"):
                streams.StreamReader(limit, loop)
        with pytest.raises(TypeError):
            streams.StreamReader("x", loop)
        with pytest.raises(TypeError):
            streams.StreamReader(1, loop, 2)
        with pytest.raises(TypeError):
            streams.StreamReader(lop=loop)

    def test_the_current_loop_is_the_default(self, streams, loop, run):
        async def main():
            return streams.StreamReader()._loop

        assert run(main()) is loop

    def test_debug_mode_keeps_the_stack(self, streams, loop):
        loop.set_debug(True)
        reader = streams.StreamReader(loop=loop)
        assert reader._source_traceback[-1].name == "test_debug_mode_keeps_the_stack"
        loop.set_debug(False)
        assert streams.StreamReader(loop=loop)._source_traceback is None

    def test_what_read_returns_goes_wherever_a_coroutine_goes(self, reader, run, loop):
        reader.feed_data(b"a\nb\nc\nd\n")
        awaitable = reader.readline()
        assert asyncio.iscoroutine(awaitable)
        assert inspect.isawaitable(awaitable)
        assert (awaitable.__name__, awaitable.__qualname__) == ("readline", "StreamReader.readline")
        assert run(awaitable) == b"a\n"
        assert run(asyncio.wait_for(reader.readline(), 5)) == b"b\n"
        assert run(loop.create_task(reader.readline())) == b"c\n"
        assert loop.run_until_complete(asyncio.ensure_future(reader.readline(), loop=loop)) == b"d\n"

    def test_no_frame_where_the_data_is_there(self, reader, kind):
        if kind == "asyncio":
            pytest.skip("asyncio's methods are coroutines")
        reader.feed_data(b"x" * 30 + b"\n")
        first(reader.read(1))  # the first call looks for overridden methods
        called = set()
        sys.setprofile(lambda frame, event, arg: called.add(frame.f_code.co_name) if event == "call" else None)
        try:
            first(reader.read(10))
            first(reader.readexactly(10))
            first(reader.readuntil(b"x"))
            first(reader.readline())
        finally:
            sys.setprofile(None)
        assert not called & {"read", "readexactly", "readuntil", "readline", "_maybe_resume_transport"}

    def test_never_awaited(self, reader):
        with pytest.warns(RuntimeWarning, match="coroutine 'StreamReader.read' was never awaited"):
            reader.read()
            gc.collect()


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_cycles_are_collected(streams, loop, is_looked_at):
    reader = streams.StreamReader(loop=loop)
    reader.feed_data(b"x")
    reader.itself = reader
    reader._exception = OSError(reader)
    if is_looked_at:
        reader.buffer = reader._buffer
    alive = weakref.ref(reader)
    del reader
    gc.collect()
    assert alive() is None


class TestRead:
    def test_a_message_as_it_was_fed(self, reader, run):
        reader.feed_data(b"hello")
        assert run(reader.read(100)) == b"hello"
        assert reader._buffer == b""

    def test_parts(self, reader, run):
        for message in b"abc", b"defg", b"", b"h":
            reader.feed_data(message)
        assert [run(reader.read(n)) for n in (2, 4, 1, 10)] == [b"ab", b"cdef", b"g", b"h"]

    def test_nothing(self, reader, run):
        assert run(reader.read(0)) == b""
        assert run(reader.readexactly(0)) == b""

    def test_all(self, small, run, loop, transport):
        task = loop.create_task(small.read())
        for _ in range(3):
            run(asyncio.sleep(0))
            small.feed_data(b"0123456789abcdefghijklmn")
        small.feed_eof()
        assert run(task) == b"0123456789abcdefghijklmn" * 3
        assert run(small.read(-1)) == b""
        assert transport.calls == ["pause", "resume"] * 3

    def test_all_of_one_block(self, reader, run):
        reader.feed_data(b"x")
        reader.feed_eof()
        assert run(reader.read(-5)) == b"x"

    @pytest.mark.parametrize("size", [10**30, 2**63 - 1, 2**63])
    def test_sizes_beyond_any(self, reader, run, size):
        reader.feed_data(b"abc")
        assert run(reader.read(size)) == b"abc"
        reader.feed_data(b"abc")
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError) as raised:
            run(reader.readexactly(size))
        assert (raised.value.partial, raised.value.expected) == (b"abc", size)

    def test_sizes_that_are_none(self, reader, run):
        reader.feed_data(b"abc")
        with pytest.raises(TypeError):
            run(reader.read("x"))
        with pytest.raises(TypeError):
            run(reader.readexactly(None))
        with pytest.raises(TypeError):
            reader.readexactly()
        with pytest.raises(TypeError):
            reader.read(1, 2)
        assert run(reader.read(n=True)) == b"a"
        assert run(reader.readexactly(n=2)) == b"bc"

    def test_negative_sizes(self, reader, run):
        with pytest.raises(ValueError, match="readexactly size can not be less than zero"):
            run(reader.readexactly(-1))

    def test_readexactly_waits_for_all(self, reader, run, loop):
        task = loop.create_task(reader.readexactly(6))
        for data in b"ab", b"cd", b"efgh":
            run(asyncio.sleep(0))
            assert not task.done()
            reader.feed_data(data)
        assert run(task) == b"abcdef"
        assert run(reader.read(9)) == b"gh"

    def test_readexactly_at_the_end(self, reader, run):
        reader.feed_data(b"abc")
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError, match="3 bytes read on a total of 5 expected bytes") as raised:
            run(reader.readexactly(5))
        assert (raised.value.partial, raised.value.expected) == (b"abc", 5)
        assert reader.at_eof()

    def test_large_messages(self, reader, run):
        for size in 1, 1000, 65536, 300_000:
            data = bytes(range(256)) * (size // 256 + 1)
            for start in range(0, len(data), 7001):
                reader.feed_data(data[start : start + 7001])
            assert run(reader.readexactly(size)) == data[:size]
            assert run(reader.read(len(data))) == data[size:]

    def test_other_types_are_fed(self, reader, run):
        reader.feed_data(bytearray(b"ab"))
        reader.feed_data(memoryview(b"cd"))
        reader.feed_data(b"")
        reader.feed_data(bytearray())
        with pytest.raises(TypeError):
            reader.feed_data("x")
        assert run(reader.read(9)) == b"abcd"

    def test_what_is_returned_is_not_changed_later(self, reader, run):
        taken = []
        for i in range(50):
            reader.feed_data(b"%d" % i * 40)
            taken.append(run(reader.read(10 + i)))
        taken.append(run(reader.readexactly(len(reader._buffer))))
        assert b"".join(taken) == b"".join(b"%d" % i * 40 for i in range(50))


class TestLines:
    def test_lines(self, reader, run):
        reader.feed_data(b"a\n\nbc\nrest")
        assert [run(reader.readline()) for _ in range(3)] == [b"a\n", b"\n", b"bc\n"]
        reader.feed_eof()
        assert [run(reader.readline()) for _ in range(2)] == [b"rest", b""]

    def test_a_line_in_pieces(self, reader, run, loop):
        task = loop.create_task(reader.readline())
        for data in b"ab", b"cd", b"e\nfg":
            run(asyncio.sleep(0))
            reader.feed_data(data)
        assert run(task) == b"abcde\n"

    def test_separators(self, reader, run):
        reader.feed_data(b"a--b----c\r\nd")
        assert run(reader.readuntil(b"--")) == b"a--"
        assert run(reader.readuntil(separator=b"---")) == b"b---"
        assert run(reader.readuntil()) == b"-c\r\n"
        with pytest.raises(ValueError, match="Separator should be at least one-byte string"):
            run(reader.readuntil(b""))
        reader.feed_data(b"e")
        assert run(reader.readuntil(bytearray(b"e"))) == b"de"

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="readuntil() takes a tuple from 3.13 on")
    def test_a_tuple_of_separators(self, reader, run):
        reader.feed_data(b"abcd")
        assert run(reader.readuntil((b"d", b"b"))) == b"ab"
        with pytest.raises(ValueError, match="Separator should contain at least one element"):
            run(reader.readuntil(()))

    def test_a_separator_in_pieces(self, reader, run, loop):
        task = loop.create_task(reader.readuntil(b"ABC"))
        for data in b"xA", b"B", b"AB", b"Cx":
            run(asyncio.sleep(0))
            reader.feed_data(data)
        assert run(task) == b"xABABC"

    def test_incomplete(self, reader, run):
        reader.feed_data(b"ab")
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError) as raised:
            run(reader.readuntil(b"c"))
        assert (raised.value.partial, raised.value.expected) == (b"ab", None)

    def test_limit_without_separator(self, small, run):
        small.feed_data(b"0123456789a")
        with pytest.raises(asyncio.LimitOverrunError, match="Separator is not found, and chunk exceed the limit") as e:
            run(small.readuntil(b"\n"))
        assert e.value.consumed == 11
        assert small._buffer == b"0123456789a"
        with pytest.raises(ValueError, match="Separator is not found, and chunk exceed the limit") as e:
            run(small.readline())
        assert type(e.value.__context__) is asyncio.LimitOverrunError
        assert small._buffer == b""

    def test_limit_with_separator(self, small, run, transport):
        small.feed_data(b"0123456789ab\ncd\n12345678")
        with pytest.raises(asyncio.LimitOverrunError, match="Separator is found, but chunk is longer than limit") as e:
            run(small.readuntil(b"\n"))
        assert e.value.consumed == 12
        with pytest.raises(ValueError, match="Separator is found, but chunk is longer than limit") as e:
            run(small.readline())
        assert type(e.value.__context__) is asyncio.LimitOverrunError
        assert run(small.readline()) == b"cd\n"
        assert transport.calls == ["pause", "resume"]

    def test_iteration(self, reader, run):
        async def lines():
            return [line async for line in reader]

        reader.feed_data(b"a\nb\nc")
        reader.feed_eof()
        assert run(lines()) == [b"a\n", b"b\n", b"c"]

    def test_iteration_waits(self, reader, run, loop):
        async def lines():
            return [line async for line in reader]

        task = loop.create_task(lines())
        for data in b"a", b"\nb", b"\n":
            run(asyncio.sleep(0))
            reader.feed_data(data)
        run(asyncio.sleep(0))
        reader.feed_eof()
        assert run(task) == [b"a\n", b"b\n"]


class TestFlowControl:
    def test_paused_above_twice_the_limit(self, small, run, transport):
        small.feed_data(b"x" * 20)
        assert transport.calls == []
        small.feed_data(b"x")
        small.feed_data(b"x")
        assert (transport.calls, small._paused) == (["pause"], True)
        run(small.read(11))
        assert transport.calls == ["pause"]
        run(small.read(1))
        assert (transport.calls, small._paused) == (["pause", "resume"], False)

    def test_whoever_waits_lets_it_go_on(self, small, run, transport, loop):
        task = loop.create_task(small.readexactly(50))
        for _ in range(2):
            small.feed_data(b"x" * 25)
            run(asyncio.sleep(0))
        assert transport.calls == ["pause", "resume"] * 2
        assert run(task) == b"x" * 50

    def test_a_transport_that_cannot_be_paused(self, small, transport):
        def pause_reading():
            transport.calls.append("pause")
            raise NotImplementedError

        transport.pause_reading = pause_reading
        for _ in range(3):
            small.feed_data(b"x" * 21)
        assert transport.calls == ["pause"]
        assert (small._transport, small._paused) == (None, False)

    def test_errors_of_the_transport(self, small, transport, run):
        def fail():
            raise OSError("no")

        transport.pause_reading = transport.resume_reading = fail
        with pytest.raises(OSError, match="no"):
            small.feed_data(b"x" * 21)
        assert not small._paused
        small._paused = True
        with pytest.raises(OSError, match="no"):
            run(small.read(20))
        assert small._buffer == b"x"


class TestEnd:
    def test_eof_wakes(self, reader, run, loop):
        task = loop.create_task(reader.read(5))
        run(asyncio.sleep(0))
        reader.feed_eof()
        assert run(task) == b""
        assert reader.at_eof()

    def test_at_eof(self, reader, run):
        reader.feed_data(b"x")
        assert reader.at_eof() is False
        reader.feed_eof()
        assert reader.at_eof() is False
        run(reader.read(1))
        assert reader.at_eof() is True
        reader._buffer.extend(b"x")
        assert reader.at_eof() is False

    def test_data_after_the_end(self, reader):
        reader.feed_eof()
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            reader.feed_data(b"x")

    def test_exception_wakes(self, reader, run, loop):
        error = OSError("gone")
        task = loop.create_task(reader.read(5))
        run(asyncio.sleep(0))
        reader.set_exception(error)
        with pytest.raises(OSError, match="gone"):
            run(task)
        assert reader.exception() is error
        for read in reader.read, reader.readline, reader.readuntil, reader.readexactly:
            with pytest.raises(OSError, match="gone"):
                run(read(5) if read in (reader.read, reader.readexactly) else read())

    def test_end_and_exception_before_the_task_runs(self, reader, run, loop):
        task = loop.create_task(reader.readexactly(5))
        run(asyncio.sleep(0))
        reader.feed_data(b"x")
        reader.feed_eof()
        reader.set_exception(OSError("gone"))
        with pytest.raises(asyncio.IncompleteReadError):
            run(task)


class TestWaiting:
    def test_a_second_reader_is_refused(self, reader, run, loop):
        task = loop.create_task(reader.read(5))
        run(asyncio.sleep(0))
        assert isinstance(reader._waiter, asyncio.Future)
        with pytest.raises(RuntimeError, match=EXACT.replace("(", r"\(").replace(")", r"\)")):
            run(reader.readexactly(5))
        for awaitable in reader.readline(), reader.readuntil(b"x"):
            with pytest.raises(RuntimeError, match=r"readuntil\(\) called while another"):
                run(awaitable)
        reader.feed_data(b"x")
        assert run(task) == b"x"
        assert reader._waiter is None

    @pytest.mark.parametrize("method", ["read", "readline", "readexactly"])
    def test_cancelled_readers_lose_nothing(self, reader, run, loop, method):
        reader.feed_data(b"abc")
        task = loop.create_task(reader.readexactly(8) if method == "readexactly" else reader.readline())
        run(asyncio.sleep(0))
        reader.feed_data(b"def\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            run(task)
        assert reader._waiter is None
        assert run(reader.read(100)) == b"abcdef\n"

    def test_close_while_it_waits(self, reader, run):
        async def main():
            awaitable = reader.read(5)
            future = awaitable.send(None)
            assert future is reader._waiter
            awaitable.close()
            assert reader._waiter is None
            reader.feed_data(b"x")
            assert await reader.read(5) == b"x"

        run(main())

    def test_a_loop_that_makes_its_own_futures(self, reader, run, loop):
        made = []

        def create_future():
            made.append(asyncio.Future(loop=loop))
            return made[-1]

        loop.create_future = create_future
        task = loop.create_task(reader.read(5))
        run(asyncio.sleep(0))
        assert reader._waiter in made
        reader.feed_data(b"x")
        assert run(task) == b"x"

    def test_somebody_else_took_the_data(self, reader, run, loop):
        task = loop.create_task(reader.read(5))
        run(asyncio.sleep(0))
        reader.feed_data(b"x")
        assert first(reader.read(5)) == b"x"
        assert run(task) == b""


class TestBuffer:
    def test_the_program_extends_it(self, reader, run):
        reader.feed_data(b"ab")
        reader._buffer.extend(b"cd")
        assert run(reader.readexactly(4)) == b"abcd"

    def test_the_program_keeps_it(self, reader, run, loop):
        buffer = reader._buffer
        reader.feed_data(b"ab\ncd")
        assert buffer == b"ab\ncd"
        assert run(reader.readline()) == b"ab\n"
        assert (buffer, reader._buffer is buffer) == (b"cd", True)
        task = loop.create_task(reader.readexactly(4))
        run(asyncio.sleep(0))
        buffer += b"ef"
        reader.feed_data(b"gh")
        assert run(task) == b"cdef"
        assert buffer == b"gh"
        del buffer
        assert run(reader.read(5)) == b"gh"

    @pytest.mark.parametrize("method", ["read", "readline", "readexactly", "readuntil", "all"])
    def test_the_program_takes_it_while_a_task_waits(self, reader, run, loop, method):
        make = {"read": lambda: reader.read(9), "readexactly": lambda: reader.readexactly(2), "all": reader.read}
        task = loop.create_task(make.get(method, reader.readline)())
        run(asyncio.sleep(0))
        buffer = reader._buffer
        reader.feed_data(b"a")
        run(asyncio.sleep(0))
        if not task.done():
            reader.feed_data(b"\n")
            reader.feed_eof()
        assert run(task) == (b"a" if method == "read" else b"a\n")
        assert buffer == b""

    def test_the_program_sets_it(self, reader, run):
        reader.feed_data(b"ab")
        reader._buffer = bytearray(b"xyz")
        assert run(reader.read(2)) == b"xy"

        class Mine(bytearray):
            pass

        reader._buffer = Mine(b"mine\n")
        assert type(reader._buffer) is Mine
        assert run(reader.readline()) == b"mine\n"

    def test_a_view_of_it(self, reader, run):
        reader.feed_data(b"abc")
        with memoryview(reader._buffer) as view:
            with pytest.raises(BufferError):
                run(reader.read(2))
            assert view == b"abc"
        assert run(reader.read(2)) == b"ab"

    def test_limits_that_are_no_int(self, streams, loop, run):
        reader = streams.StreamReader(float("inf"), loop)
        reader.feed_data(b"ab\n")
        assert run(reader.readline()) == b"ab\n"
        reader._limit = 1
        reader.feed_data(b"abc\n")
        with pytest.raises(ValueError, match="chunk is longer than limit"):
            run(reader.readline())
        assert streams.StreamReader(2**100, loop)._limit == 2**100


class TestOverriding:
    @pytest.mark.parametrize("name", ["_wait_for_data", "_maybe_resume_transport", "_wakeup_waiter", "feed_data"])
    def test_a_method_of_a_subclass(self, streams, loop, run, name):
        called = []

        def method(self, *args):
            called.append(name)
            return getattr(streams.StreamReader, name)(self, *args)

        reader = type("Mine", (streams.StreamReader,), {name: method})(loop=loop)
        task = loop.create_task(reader.readline())
        run(asyncio.sleep(0))
        reader.feed_data(b"a\n")
        assert run(task) == b"a\n"
        assert called == [name]

    def test_read_of_a_subclass(self, streams, loop, run):
        class Mine(streams.StreamReader):
            async def read(self, n=-1):
                return b"<" + await super().read(n) + b">" if n > 0 else await super().read(n)

        reader = Mine(loop=loop)
        reader.feed_data(b"ab")
        assert run(reader.read(1)) == b"<a>"

    def test_a_method_that_is_set_later(self, reader, run):
        called = []

        def wakeup():
            called.append("wakeup")
            type(reader)._wakeup_waiter(reader)

        reader.feed_data(b"ab")
        assert run(reader.read(1)) == b"a"
        reader._wakeup_waiter = wakeup
        reader.feed_data(b"c")
        assert called == ["wakeup"]
        assert run(reader.read(5)) == b"bc"

    def test_a_method_that_asyncio_is_given(self, reader, run, monkeypatch):
        called = []

        def resume(self):
            called.append("resume")

        reader.feed_data(b"ab")
        assert run(reader.read(1)) == b"a"
        monkeypatch.setattr(asyncio.StreamReader, "_maybe_resume_transport", resume)
        assert run(reader.read(1)) == b"b"
        assert called == ["resume"]


class TestReentrancy:
    def test_a_transport_that_reads_when_it_goes_on(self, small, run, transport):
        def resume_reading():
            transport.calls.append("resume")
            small.feed_data(b"more")
            small._buffer.extend(b"!")

        transport.resume_reading = resume_reading
        small.feed_data(b"x" * 21)
        assert run(small.read(15)) == b"x" * 15
        assert run(small.read(15)) == b"x" * 6 + b"more!"

    def test_initialised_again(self, small, run, loop):
        task = loop.create_task(small.readexactly(5))
        run(asyncio.sleep(0))
        waiter = small._waiter
        small.__init__(20, loop)
        assert (small._limit, small._transport, small._waiter) == (20, None, None)
        waiter.set_result(None)
        run(asyncio.sleep(0))
        small.feed_data(b"12345")
        assert run(task) == b"12345"

    def test_not_initialised(self, streams, run):
        reader = streams.StreamReader.__new__(streams.StreamReader)
        with pytest.raises((AttributeError, TypeError)):
            run(reader.read(1))
        with pytest.raises((AttributeError, TypeError)):
            run(reader.readuntil(b"x"))

    def test_a_closed_loop(self, reader, loop):
        reader.feed_data(b"x")
        loop.close()
        assert first(reader.read(1)) == b"x"
        awaitable = reader.read(1)
        assert asyncio.isfuture(awaitable.send(None))
        awaitable.close()


def test_asyncloop_has_no_warning_of_its_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = asyncloop.new_event_loop()
        asyncloop.StreamReader(loop=loop)
        loop.close()
