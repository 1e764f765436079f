"""The write side: what is sent, in which order, what write_eof() ends and what bad arguments give."""

import array
import logging
import random
import socket
import sys

import pytest
import stock

CONNLOST_WARNING = "socket.send() raised exception."
BYTES = "a bytes, bytearray, or memoryview object" if sys.version_info >= (3, 14) else "a bytes-like object"
if sys.version_info[:2] == (3, 13):  # changed with one of its later patches, or never
    BYTES = "a bytes(-like|, bytearray, or memoryview) object"

newer_writelines = pytest.mark.skipif(
    not stock.WRITELINES_LOOKS, reason="writelines() here is write() of all, or does not look"
)


class TestWrite:
    @pytest.mark.parametrize("kind_of_bytes", [bytes, bytearray, memoryview])
    def test_takes_bytes_like_objects(self, connect, Recorder, receive, kind_of_bytes):
        transport, peer = connect(Recorder())
        transport.write(kind_of_bytes(b"hello"))
        assert receive(peer, 5) == b"hello"

    def test_returns_none(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.write(b"x") is None

    def test_sends_the_bytes_of_a_slice(self, connect, Recorder, receive):
        transport, peer = connect(Recorder())
        transport.write(memoryview(b"abcdefgh")[2:5])
        assert receive(peer, 3) == b"cde"

    @pytest.mark.parametrize("wrong", ["text", 1, None, [b"x"], array.array("b", [1])])
    def test_refuses_other_objects(self, connect, Recorder, wrong):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError, match=f"^data argument must be {BYTES}, not {type(wrong).__name__!r}$"):
            transport.write(wrong)
        assert not transport.is_closing()

    @pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
    def test_of_nothing_sends_nothing(self, connect, Recorder, receive_all, empty):
        transport, peer = connect(Recorder())
        transport.write(empty)
        assert transport.get_write_buffer_size() == 0
        transport.write(b"something")
        transport.write(empty)
        transport.close()
        assert receive_all(peer) == b"something"

    def test_without_a_running_loop_sends(self, connect, Recorder, receive):
        transport, peer = connect(Recorder())
        transport.write(b"one")
        transport.write(b"two")
        assert receive(peer, 6) == b"onetwo"

    def test_of_10000_single_bytes_keeps_the_order(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        data = random.Random(3).randbytes(10_000)
        for i in range(len(data)):
            transport.write(data[i : i + 1])
        transport.close()
        assert receive_all(peer) == data

    def test_of_50_megabytes_sends_all(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        data = random.Random(4).randbytes(1_000_000) * 50
        transport.write(data)
        transport.close()
        assert receive_all(peer) == data

    @pytest.mark.parametrize("seed", range(4))
    def test_keeps_the_order_of_small_and_large(self, connect, Recorder, receive_all, run, settle, seed):
        rng = random.Random(seed)
        transport, peer = connect(Recorder())
        expected = bytearray()
        for _ in range(150):
            data = rng.randbytes(rng.choice([1, 20, 3000, 100_000, 400_000]))
            expected += data
            if rng.random() < 0.3:
                cut = rng.randrange(len(data) + 1)
                transport.writelines([data[:cut], b"|", data[cut:]] if cut else [b"|", data])
                expected[len(expected) - len(data) :] = data[:cut] + b"|" + data[cut:]
            else:
                transport.write(data)
            if rng.random() < 0.05:
                settle()
        transport.close()
        assert receive_all(peer) == bytes(expected)

    def test_keeps_order_over_more_pieces_than_one_sendmsg_takes(self, connect, Recorder, receive_all, stuff):
        transport, peer = connect(Recorder())
        written = stuff(transport)
        expected = []
        for i in range(5000):
            expected.append(b"%06d" % i)
            transport.write(expected[-1])
        transport.close()
        assert receive_all(peer)[written:] == b"".join(expected)

    def test_buffer_may_be_reused_at_once(self, connect, Recorder, receive_all):
        """The kernel takes each of these writes at once, so nothing of the caller's buffer stays in use."""
        transport, peer = connect(Recorder())
        buffer = bytearray(8)
        for i in range(1000):
            buffer[:] = b"%08d" % i
            transport.write(buffer)
        transport.write(memoryview(buffer)[:4])
        buffer[:] = b"garbage!"
        buffer.clear()
        transport.close()
        assert receive_all(peer) == b"".join(b"%08d" % i for i in range(1000)) + b"0000"

    def test_bytes_that_the_kernel_takes_are_not_queued(self, connect, Recorder):
        transport, _ = connect(Recorder())
        for _ in range(10):
            transport.write(b"small")
            assert transport.get_write_buffer_size() == 0

    def test_buffer_size_counts_queued_bytes(self, connect, Recorder, stuff):
        transport, _ = connect(Recorder())
        stuff(transport)
        size = transport.get_write_buffer_size()
        assert size > 0
        transport.write(b"12345")
        transport.write(bytearray(5))
        assert transport.get_write_buffer_size() == size + 10

    def test_from_data_received_echoes(self, connect, Recorder, receive_all):
        class Echo(Recorder):
            def data_received(self, data):
                self.transport.write(data)

        _, peer = connect(Echo())
        for i in range(20):
            peer.sendall(b"%d," % i)
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b"".join(b"%d," % i for i in range(20))

    def test_from_connection_made_sends(self, connect, Recorder, receive):
        class Greeting(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(b"hello")
                transport.write(b" world")

        _, peer = connect(Greeting())
        assert receive(peer, 11) == b"hello world"

    def test_then_close_in_connection_made_sends_all(self, connect, Recorder, receive_all, eventually):
        class Short(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(bytes(3_000_000))
                transport.close()

        protocol = Short()
        _, peer = connect(protocol)
        assert len(receive_all(peer)) == 3_000_000
        eventually(lambda: protocol.lost == [None])


class TestWriteAfterTheEnd:
    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_is_ignored(self, connect, Recorder, receive_all, settle, how):
        protocol = Recorder()
        transport, peer = connect(protocol)
        getattr(transport, how)()
        transport.write(b"too late")
        settle()
        transport.write(b"much too late")
        assert receive_all(peer) == b""
        assert protocol.lost == [None]

    def test_warns_from_the_fifth_write_on(self, connect, Recorder, caplog):
        transport, _ = connect(Recorder())
        transport.abort()
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(4):
                transport.write(b"x")
            assert caplog.messages == []
            for _ in range(3):
                transport.write(b"x")
            assert caplog.messages == [CONNLOST_WARNING] * 3

    @newer_writelines
    def test_of_a_list_warns_whatever_its_items_are(self, connect, Recorder, caplog):
        transport, _ = connect(Recorder())
        transport.abort()
        for _ in range(4):
            transport.writelines(["no bytes"])
        transport.writelines([])
        assert caplog.messages == []
        transport.writelines([b""])
        assert caplog.messages == [CONNLOST_WARNING]

    def test_of_nothing_does_not_warn(self, connect, Recorder, caplog):
        transport, _ = connect(Recorder())
        transport.abort()
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(20):
                transport.write(b"")
        assert caplog.messages == []

    def test_still_refuses_wrong_types(self, connect, Recorder, settle):
        transport, _ = connect(Recorder())
        transport.abort()
        settle()
        with pytest.raises(TypeError, match=f"^data argument must be {BYTES}, not 'str'$"):
            transport.write("text")

    def test_to_a_peer_that_is_gone_loses_the_connection(self, connect, Recorder, eventually):
        protocol = Recorder()
        protocol.keep_open = True
        transport, peer = connect(protocol)
        peer.sendall(b"x")
        peer.close()
        eventually(lambda: "eof_received" in protocol.calls)

        def failed():
            transport.write(b"anybody there?")
            return protocol.lost

        eventually(failed)
        assert isinstance(protocol.lost[0], (BrokenPipeError, ConnectionResetError))
        assert len(protocol.lost) == 1


class TestWritelines:
    def test_sends_the_pieces_in_order(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.writelines([b"one ", bytearray(b"two "), memoryview(b"three")])
        transport.write(b"!")
        transport.close()
        assert receive_all(peer) == b"one two three!"

    def test_of_an_empty_list_sends_nothing(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.writelines([])
        transport.close()
        assert receive_all(peer) == b""

    @pytest.mark.stock_needs(stock.WRITELINES_DRAINS, reason="stock waits to send empty pieces for ever")
    def test_leaves_out_empty_pieces(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.writelines([b"", b""])
        transport.writelines([b"", b"a", b"", b"b", b""])
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert receive_all(peer) == b"ab"

    def test_takes_a_tuple(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.writelines((b"a", b"b"))
        transport.close()
        assert receive_all(peer) == b"ab"

    def test_takes_a_generator(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.writelines(b"%d" % i for i in range(10))
        transport.close()
        assert receive_all(peer) == b"0123456789"

    def test_of_many_and_large_pieces_keeps_the_order(self, connect, Recorder, receive_all):
        rng = random.Random(5)
        pieces = [rng.randbytes(rng.choice([1, 100, 20_000])) for _ in range(3000)]
        transport, peer = connect(Recorder())
        transport.writelines(pieces)
        transport.close()
        assert receive_all(peer) == b"".join(pieces)

    @pytest.mark.parametrize("wrong", [["text"], [b"x", 1], 5])
    def test_refuses_other_objects(self, connect, Recorder, wrong):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError):
            transport.writelines(wrong)
        assert not transport.is_closing()

    @newer_writelines
    @pytest.mark.stock_needs(stock.WRITELINES_SKIPS_FALSE, reason="it asks each item for its buffer")
    def test_skips_false_items(self, connect, Recorder, receive):
        transport, peer = connect(Recorder())
        transport.writelines([None, b"", b"x", 0, bytearray()])
        transport.writelines([None])
        assert receive(peer, 1) == b"x"
        assert transport.get_write_buffer_size() == 0

    def test_after_write_eof_is_refused(self, connect, Recorder):
        transport, _ = connect(Recorder())
        transport.write_eof()
        name = "write" if sys.version_info < (3, 12) else "writelines"
        with pytest.raises(RuntimeError, match=rf"Cannot call {name}\(\) after write_eof\(\)"):
            transport.writelines([b"x"])

    def test_writelines_of_none_after_write_eof_is_refused(self, connect, Recorder):
        transport, _ = connect(Recorder())
        transport.write_eof()
        with pytest.raises(TypeError if sys.version_info < (3, 12) else RuntimeError):
            transport.writelines(None)


class TestWriteEof:
    def test_is_possible(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.can_write_eof() is True

    def test_ends_the_stream_but_not_the_reading(self, connect, Recorder, receive_all, eventually):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.write(b"question")
        transport.write_eof()
        assert receive_all(peer) == b"question"
        assert not transport.is_closing()
        peer.sendall(b"answer")
        peer.close()
        eventually(lambda: protocol.lost)
        assert protocol.data == b"answer"
        assert protocol.lost == [None]

    def test_waits_for_queued_bytes(self, connect, Recorder, receive_all, settle, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = stuff(transport)
        transport.write(b"end")
        transport.write_eof()
        received = receive_all(peer)
        assert len(received) == written + 3
        assert received.endswith(b"end")
        assert protocol.lost == []

    def test_twice_is_once(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.write_eof()
        transport.write_eof()
        assert receive_all(peer) == b""

    @pytest.mark.parametrize("data", [b"x", b""])
    def test_allows_no_write_after_it(self, connect, Recorder, data):
        transport, _ = connect(Recorder())
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            transport.write(data)

    def test_checks_the_type_of_a_later_write_first(self, connect, Recorder):
        transport, _ = connect(Recorder())
        transport.write_eof()
        with pytest.raises(TypeError):
            transport.write("text")

    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_after_the_end_is_ignored(self, connect, Recorder, settle, how):
        protocol = Recorder()
        transport, _ = connect(protocol)
        getattr(transport, how)()
        transport.write_eof()
        settle()
        transport.write_eof()
        assert protocol.lost == [None]

    def test_then_close_sends_the_rest(self, connect, Recorder, receive_all, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = stuff(transport)
        transport.write_eof()
        transport.close()
        assert len(receive_all(peer)) == written
        assert protocol.lost == [None]


def test_arguments_can_be_named(connect, Recorder):
    protocol = Recorder()
    transport, peer = connect(protocol)
    transport.write(data=b"a")
    transport.writelines(list_of_data=[b"b", b"c"])
    transport.set_protocol(protocol=protocol)
    received = b""
    peer.settimeout(10)
    while received != b"abc":
        received += peer.recv(3)


class TestHostileData:
    @pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio's fails with an IndexError
    def test_bytes_that_abort_the_transport_when_they_are_freed(self, connect, Recorder, receive_all):
        class Aborting(bytes):
            def __del__(self):
                transport.abort()

        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.write(bytes(4 << 20))  # more than the kernel takes
        transport.write(Aborting(b"x" * 1000))
        transport.write(Aborting(b"y" * 1000))
        transport.write(b"z" * 1000)
        received = receive_all(peer)
        assert received[: 4 << 20] == bytes(4 << 20)
        assert protocol.lost == [None]

    @pytest.mark.parametrize("size", [0, 5])
    def test_a_released_memoryview_is_the_callers_mistake(self, connect, Recorder, settle, size):
        transport, _ = connect(Recorder())
        data = memoryview(bytes(size))
        data.release()
        with pytest.raises(ValueError, match="^operation forbidden on released memoryview object$"):
            transport.write(data)
        settle()
        assert not transport.is_closing()

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="joins them")
    def test_writelines_raises_the_type_error_of_memoryview(self, connect, Recorder):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError, match="^memoryview: a bytes-like object is required, not 'int'$"):
            transport.writelines([b"a", 1])

    @pytest.mark.skipif(sys.version_info >= (3, 12), reason="has a way of its own")
    def test_writelines_raises_the_type_error_of_join(self, connect, Recorder):
        transport, _ = connect(Recorder())
        with pytest.raises(TypeError, match="^sequence item 1: expected a bytes-like object, int found$"):
            transport.writelines([b"a", 1])
        with pytest.raises(TypeError, match="^can only join an iterable$"):
            transport.writelines(5)


def test_a_transport_may_take_the_descriptor_of_a_closing_one(loop, run, tcp_pair, Recorder, settle):
    """asyncio lets it: the first has no claim any more. Writing to it must not end the program."""
    near, _ = tcp_pair
    protocols = Recorder(), Recorder()
    first, _ = run(loop.create_connection(lambda: protocols[0], sock=near))
    first.write(bytes(4 << 20))
    first.close()
    second, _ = run(loop.create_connection(lambda: protocols[1], sock=near))
    first.write(b"more")
    settle()
    first.abort()
    second.abort()
    settle()
    assert protocols[0].lost == [None]


@pytest.mark.parametrize("kind", ["asyncloop"])  # with asyncio's the two go on sharing it
def test_a_transport_may_take_the_descriptor_of_one_that_says_it_is_closing(loop, run, tcp_pair, Recorder, settle):
    near, _ = tcp_pair
    protocols = Recorder(), Recorder()
    first, _ = run(loop.create_connection(lambda: protocols[0], sock=near))
    first.is_closing = lambda: True
    first.pause_reading()
    second, _ = run(loop.create_connection(lambda: protocols[1], sock=near))
    first.resume_reading()
    second.abort()
    settle()
    assert protocols[0].lost == [None]
