"""Datagram transports: what comes in, what goes out, what fails, and how they end."""

import asyncio
import contextlib
import errno
import gc
import random
import socket
import sys
import warnings
import weakref

import pytest
import stock

SENDS_EMPTY = sys.version_info >= (3, 13)
HEADER = 8 if sys.version_info >= (3, 13) else 0  # what flow control counts for each datagram besides its bytes


class Datagrams(asyncio.DatagramProtocol):
    """Notes what it is told; `on_datagram` and `on_error` are called with the protocol afterwards."""

    def __init__(self, on_datagram=None, on_error=None):
        self.on_datagram = on_datagram
        self.on_error = on_error
        self.received = []
        self.senders = []
        self.errors = []
        self.flow = []
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.append(data)
        self.senders.append(addr)
        if self.on_datagram:
            self.on_datagram(self)

    def error_received(self, exc):
        self.errors.append(exc)
        if self.on_error:
            self.on_error(self)

    def pause_writing(self):
        self.flow.append("pause")

    def resume_writing(self):
        self.flow.append("resume")

    def connection_lost(self, exc):
        self.lost.append(exc)


@pytest.fixture
def endpoint(loop, run):
    """endpoint(protocol, **as of create_datagram_endpoint) -> transport, which is aborted after the test."""
    made = weakref.WeakSet()

    def endpoint(protocol, **kwargs):
        if not kwargs:
            kwargs = {"local_addr": ("127.0.0.1", 0)}
        transport, _ = run(loop.create_datagram_endpoint(lambda: protocol, **kwargs))
        made.add(transport)
        return transport

    yield endpoint
    if not loop.is_closed():
        for transport in list(made):
            if not transport.is_closing():
                transport.abort()
        run(asyncio.sleep(0))


@pytest.fixture
def peer():
    """A plain UDP socket on loopback, with a timeout."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def address_of(transport):
    return transport.get_extra_info("sockname")


def numbered(count):
    return [b"%d" % i for i in range(count)]


def send_all(peer, datagrams, address):
    for data in datagrams:
        peer.sendto(data, address)


class TestObject:
    def test_is_an_asyncio_transport(self, endpoint, kind):
        transport = endpoint(Datagrams())
        assert isinstance(transport, asyncio.BaseTransport)
        if kind == "asyncloop":  # asyncio's own became one in the course of 3.12
            assert isinstance(transport, asyncio.DatagramTransport)

    def test_connection_made_gets_it(self, endpoint):
        protocol = Datagrams()
        assert endpoint(protocol) is protocol.transport
        assert protocol.transport.get_protocol() is protocol

    def test_extra_info_has_socket_and_addresses(self, endpoint, peer):
        transport = endpoint(Datagrams(), local_addr=("127.0.0.1", 0), remote_addr=peer.getsockname())
        sock = transport.get_extra_info("socket")
        assert sock.type == socket.SOCK_DGRAM
        assert transport.get_extra_info("sockname") == sock.getsockname()
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("colour", "blue") == "blue"

    def test_has_no_peer_name(self, endpoint):
        transport = endpoint(Datagrams())
        assert transport.get_extra_info("peername", "default") is None

    def test_repr_tells_descriptor_and_state(self, endpoint):
        transport = endpoint(Datagrams())
        fd = transport.get_extra_info("socket").fileno()
        assert f"DatagramTransport fd={fd} read=polling write=<idle, bufsize=0>>" in repr(transport)
        transport.close()
        assert f"DatagramTransport closing fd={fd}" in repr(transport)

    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_repr_of_a_paused_one(self, endpoint):
        transport = endpoint(Datagrams())
        transport.pause_reading()
        assert "read=idle" in repr(transport)

    def test_has_attributes_and_weak_references(self, endpoint):
        transport = endpoint(Datagrams())
        transport.remark = "mine"
        assert transport.remark == "mine"
        assert weakref.ref(transport)() is transport

    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_dropped_unclosed_warns_and_closes(self, endpoint, run):
        protocol = Datagrams()
        transport = endpoint(protocol)
        transport.pause_reading()
        sock = transport.get_extra_info("socket")
        del protocol.transport
        with pytest.warns(ResourceWarning, match="unclosed transport .*DatagramTransport"):
            del transport
            run(asyncio.sleep(0))
            gc.collect()
        assert sock.fileno() == -1

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of asyncio's half-made transport
    def test_protocol_of_the_wrong_kind_fails_at_once(self, loop, run, peer):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(AttributeError):
            run(loop.create_datagram_endpoint(object, sock=sock))


class TestReceiving:
    def test_one_datagram_comes_with_its_sender(self, endpoint, peer, eventually):
        protocol = Datagrams()
        peer.sendto(b"hello", address_of(endpoint(protocol)))
        eventually(lambda: protocol.received)
        assert protocol.received == [b"hello"]
        assert protocol.senders == [peer.getsockname()]

    def test_empty_datagram_is_received(self, endpoint, peer, eventually):
        protocol = Datagrams()
        peer.sendto(b"", address_of(endpoint(protocol)))
        eventually(lambda: protocol.received)
        assert protocol.received == [b""]
        assert not protocol.transport.is_closing()

    def test_largest_datagram_is_received(self, endpoint, peer, eventually):
        protocol = Datagrams()
        data = random.randbytes(65507)
        address = address_of(endpoint(protocol))
        for _ in range(3):
            peer.sendto(data, address)
            eventually(lambda: protocol.received)
            assert protocol.received.pop() == data

    def test_many_come_in_order(self, endpoint, peer, eventually):
        protocol = Datagrams()
        address = address_of(endpoint(protocol))
        for count in (1, 2, 3, 7, 8, 9, 31, 32, 33, 100, 1, 1, 1, 40):
            protocol.received.clear()
            send_all(peer, numbered(count), address)
            eventually(lambda: len(protocol.received) >= count)  # noqa: B023
            assert protocol.received == numbered(count)

    @pytest.mark.feature("recvmmsg")
    def test_many_are_read_together(self, endpoint, peer, turn, kind):
        if kind == "asyncio":
            pytest.skip("asyncio reads one a turn")
        protocol = Datagrams()
        send_all(peer, numbered(100), address_of(endpoint(protocol)))
        turns = 0
        while len(protocol.received) < 100:
            turn()
            turns += 1
        assert protocol.received == numbered(100)
        assert turns < 50  # how many a turn takes depends on the machine's speed

    def test_datagrams_of_many_senders_have_their_senders(self, endpoint, eventually):
        protocol = Datagrams()
        address = address_of(endpoint(protocol))
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(50)]
            expected = []
            for _ in range(2):
                for peer in peers:
                    peer.sendto(b"x", address)
                    expected.append(("127.0.0.1", peer.getsockname()[1]))
            eventually(lambda: len(protocol.received) == 100)
            assert protocol.senders == expected

    @pytest.mark.parametrize("when", [1, 3, 20])
    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_paused_by_a_datagram(self, endpoint, peer, eventually, settle, when):
        def pause(protocol):
            if len(protocol.received) == when:
                protocol.transport.pause_reading()
                assert not protocol.transport.is_reading()

        protocol = Datagrams(pause)
        transport = endpoint(protocol)
        send_all(peer, numbered(40), address_of(transport))
        eventually(lambda: len(protocol.received) >= when)
        settle()
        assert protocol.received == numbered(when)
        peer.sendto(b"last", address_of(transport))
        transport.resume_reading()
        assert protocol.received == numbered(when)  # not from within
        eventually(lambda: len(protocol.received) == 41)
        assert protocol.received == [*numbered(40), b"last"]

    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_paused_again_and_again(self, endpoint, peer, eventually):
        protocol = Datagrams(lambda protocol: protocol.transport.pause_reading())
        transport = endpoint(protocol)
        send_all(peer, numbered(30), address_of(transport))
        for count in range(1, 31):
            eventually(lambda: len(protocol.received) == count)  # noqa: B023
            transport.resume_reading()
        assert protocol.received == numbered(30)

    @pytest.mark.parametrize("how", ["close", "abort"])
    @pytest.mark.parametrize("when", [1, 5, 20])
    def test_transport_may_be_ended_by_a_datagram(self, endpoint, peer, eventually, settle, how, when):
        def end(protocol):
            if len(protocol.received) == when:
                getattr(protocol.transport, how)()

        protocol = Datagrams(end)
        send_all(peer, numbered(40), address_of(endpoint(protocol)))
        eventually(lambda: protocol.lost)
        settle()
        assert protocol.received == numbered(when)
        assert protocol.lost == [None]

    @pytest.mark.parametrize("how", ["close", "abort"])
    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_ended_while_paused_in_the_middle(self, endpoint, peer, eventually, how):
        def pause(protocol):
            if len(protocol.received) == 5:
                protocol.transport.pause_reading()

        protocol = Datagrams(pause)
        transport = endpoint(protocol)
        send_all(peer, numbered(40), address_of(transport))
        eventually(lambda: len(protocol.received) == 5)
        getattr(transport, how)()
        transport.resume_reading()
        eventually(lambda: protocol.lost)
        assert protocol.received == numbered(5)

    @pytest.mark.parametrize("when", [1, 5, 20])
    def test_protocol_may_be_switched_by_a_datagram(self, endpoint, peer, eventually, when):
        second = Datagrams()

        def switch(protocol):
            if len(protocol.received) == when:
                protocol.transport.set_protocol(second)

        first = Datagrams(switch)
        send_all(peer, numbered(40), address_of(endpoint(first)))
        eventually(lambda: len(first.received) + len(second.received) == 40)
        assert first.received == numbered(40)[:when]
        assert second.received == numbered(40)[when:]

    @pytest.mark.parametrize("when", [1, 5, 20])
    def test_failing_protocol_is_reported_and_goes_on(self, endpoint, peer, eventually, take_reports, when):
        def fail(protocol):
            if len(protocol.received) in (when, when + 1):
                raise ValueError("no")

        protocol = Datagrams(fail)
        send_all(peer, numbered(40), address_of(endpoint(protocol)))
        eventually(lambda: len(protocol.received) == 40)
        assert protocol.received == numbered(40)
        reports = take_reports()
        assert len(reports) == 2
        for report in reports:
            assert type(report["exception"]) is ValueError
            assert report["message"].startswith("Exception in callback ")
            assert "DatagramTransport._read_ready()" in report["message"]
        assert not protocol.transport.is_closing()

    @pytest.mark.parametrize("when", [1, 5, 20])
    def test_keyboard_interrupt_leaves_the_loop_and_loses_nothing(self, endpoint, peer, loop, eventually, when):
        def interrupt(protocol):
            if len(protocol.received) == when:
                raise KeyboardInterrupt

        protocol = Datagrams(interrupt)
        send_all(peer, numbered(40), address_of(endpoint(protocol)))
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert protocol.received == numbered(when)
        eventually(lambda: len(protocol.received) == 40)
        assert protocol.received == numbered(40)

    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_pausing_in_debug_mode_loses_no_datagram(self, endpoint, peer, loop, eventually):
        loop.set_debug(True)

        def pause(protocol):
            if len(protocol.received) == 10:
                protocol.transport.pause_reading()

        protocol = Datagrams(pause)
        transport = endpoint(protocol)
        send_all(peer, numbered(40), address_of(transport))
        eventually(lambda: len(protocol.received) == 10)
        transport.resume_reading()
        eventually(lambda: len(protocol.received) == 40)
        assert protocol.received == numbered(40)


class TestSending:
    def test_datagram_goes_to_its_address(self, endpoint, peer):
        transport = endpoint(Datagrams())
        transport.sendto(b"hello", peer.getsockname())
        assert peer.recvfrom(100) == (b"hello", address_of(transport))

    def test_host_name_and_keywords_are_taken(self, endpoint, peer):
        transport = endpoint(Datagrams())
        transport.sendto(data=b"1", addr=("localhost", peer.getsockname()[1]))
        transport.sendto(b"2", addr=peer.getsockname())
        assert peer.recv(100) + peer.recv(100) == b"12"

    @pytest.mark.parametrize("kind_of", [bytes, bytearray, memoryview])
    def test_bytes_like_objects_are_sent(self, endpoint, peer, kind_of):
        endpoint(Datagrams()).sendto(kind_of(b"hello"), peer.getsockname())
        assert peer.recv(100) == b"hello"

    def test_answers_go_where_the_question_came_from(self, endpoint, peer, eventually):
        def answer(protocol):
            protocol.transport.sendto(protocol.received[-1], protocol.senders[-1])

        address = address_of(endpoint(Datagrams(answer)))
        send_all(peer, numbered(40), address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(20)
            other.sendto(b"other", address)
            got = []

            def all_are_back():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        got.append(peer.recv(100))
                return len(got) == 40

            peer.settimeout(0)
            eventually(all_are_back)
            assert got == numbered(40)
            assert other.recv(100) == b"other"

    def test_connected_endpoint_sends_without_an_address(self, endpoint, peer):
        transport = endpoint(Datagrams(), remote_addr=peer.getsockname())
        transport.sendto(b"1")
        transport.sendto(b"2", None)
        transport.sendto(b"3", peer.getsockname())
        assert [peer.recv(100) for _ in range(3)] == [b"1", b"2", b"3"]

    def test_broadcasting_endpoint_is_not_connected(self, endpoint, peer):
        transport = endpoint(Datagrams(), remote_addr=peer.getsockname(), allow_broadcast=True)
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        transport.sendto(b"1")
        assert peer.recv(100) == b"1"
        with pytest.raises(ValueError, match="Invalid address: must be None or "):
            transport.sendto(b"1", ("127.0.0.1", 1))

    def test_other_address_than_the_remote_one_is_refused(self, endpoint, peer):
        transport = endpoint(Datagrams(), remote_addr=peer.getsockname())
        with pytest.raises(ValueError) as info:
            transport.sendto(b"x", ("127.0.0.1", 1))
        assert str(info.value) == f"Invalid address: must be None or {peer.getsockname()}"

    @pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
    def test_wrong_type_is_refused(self, endpoint, peer, data):
        with pytest.raises(TypeError) as info:
            endpoint(Datagrams()).sendto(data, peer.getsockname())
        assert str(info.value) == f"data argument must be a bytes-like object, not {type(data).__name__!r}"

    def test_empty_datagram_is_sent_from_313_on(self, endpoint, peer):
        transport = endpoint(Datagrams())
        for data in (b"", bytearray(), memoryview(b"")):
            transport.sendto(data, peer.getsockname())
        transport.sendto(b"x", peer.getsockname())
        assert peer.recv(100) == (b"" if SENDS_EMPTY else b"x")

    def test_empty_datagram_to_another_address_is_refused_from_313_on(self, endpoint, peer):
        transport = endpoint(Datagrams(), remote_addr=peer.getsockname())
        if SENDS_EMPTY:
            with pytest.raises(ValueError):
                transport.sendto(b"", ("127.0.0.1", 1))
        else:
            transport.sendto(b"", ("127.0.0.1", 1))

    def test_nothing_stays_queued(self, endpoint, peer):
        transport = endpoint(Datagrams())
        for _ in range(10):
            transport.sendto(b"x", peer.getsockname())
            assert transport.get_write_buffer_size() == 0

    def test_random_traffic_arrives(self, endpoint, eventually):
        rng = random.Random(1)
        left, right = Datagrams(), Datagrams()
        one, two = endpoint(left), endpoint(right)
        to_left, to_right = [], []
        for _ in range(300):
            for _ in range(rng.randrange(20)):
                data = rng.randbytes(rng.randrange(1, 2000))
                if rng.random() < 0.5:
                    one.sendto(data, address_of(two))
                    to_right.append(data)
                else:
                    two.sendto(data, address_of(one))
                    to_left.append(data)
            eventually(lambda: len(left.received) == len(to_left) and len(right.received) == len(to_right))
        assert left.received == to_left
        assert right.received == to_right
        assert set(left.senders) == {address_of(two)}


class TestFailures:
    def test_refused_datagram_is_an_error(self, endpoint, eventually, peer):
        protocol = Datagrams()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            nobody = sock.getsockname()
        transport = endpoint(protocol, remote_addr=nobody)
        transport.sendto(b"x")
        eventually(lambda: protocol.errors)
        assert [type(exc) for exc in protocol.errors] == [ConnectionRefusedError]
        assert not transport.is_closing()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(nobody)
            sock.settimeout(20)
            transport.sendto(b"again")
            assert sock.recv(100) == b"again"

    def test_too_large_datagram_is_an_error(self, endpoint, peer):
        protocol = Datagrams()
        transport = endpoint(protocol)
        transport.sendto(bytes(70000), peer.getsockname())
        assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
        transport.sendto(b"x", peer.getsockname())
        assert peer.recv(100) == b"x"

    def test_destination_that_is_refused_leaves_the_rest(self, endpoint, peer):
        protocol = Datagrams()
        transport = endpoint(protocol)
        transport.sendto(b"x", ("255.255.255.255", 9))  # not allowed without allow_broadcast
        assert [type(exc) for exc in protocol.errors] == [PermissionError]
        transport.sendto(b"x", peer.getsockname())
        assert peer.recv(100) == b"x"
        assert protocol.lost == []

    def test_failing_error_received_reaches_the_sender(self, endpoint, peer):
        def fail(protocol):
            raise ValueError("no")

        transport = endpoint(Datagrams(on_error=fail))
        with pytest.raises(ValueError, match="no"):
            transport.sendto(bytes(70000), peer.getsockname())
        assert not transport.is_closing()

    def test_error_received_may_log_the_error_as_the_current_one(self, endpoint, peer):
        def note(protocol):
            current.append(sys.exc_info()[1])

        current = []
        protocol = Datagrams(on_error=note)
        endpoint(protocol).sendto(bytes(70000), peer.getsockname())
        assert current == protocol.errors
        assert sys.exc_info()[1] is None

    def test_failing_error_received_of_a_read_is_reported(self, endpoint, eventually, take_reports):
        def fail(protocol):
            raise ValueError("no")

        protocol = Datagrams(on_error=fail)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            nobody = sock.getsockname()
        transport = endpoint(protocol, remote_addr=nobody)
        transport.sendto(b"x")
        eventually(lambda: protocol.errors)
        (report,) = take_reports()
        assert str(report["exception"]) == "no"
        assert "DatagramTransport._read_ready()" in report["message"]
        assert not transport.is_closing()

    @pytest.mark.parametrize(
        "address, error",
        [
            (None, TypeError),
            ("127.0.0.1", TypeError),
            (("127.0.0.1",), TypeError),
            (["127.0.0.1", 1], TypeError),
            (("127.0.0.1", "1"), TypeError),
            (("127.0.0.1", 70000), OverflowError),
            (("127.0.0.1", -1), OverflowError),
            ((5, 1), TypeError),
        ],
    )
    def test_wrong_address_ends_the_endpoint(self, endpoint, eventually, take_reports, address, error):
        protocol = Datagrams()
        transport = endpoint(protocol)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(error) as info:
            sock.sendto(b"x", address)
        transport.sendto(b"x", address)
        eventually(lambda: protocol.lost)
        (report,) = take_reports()
        assert report["message"] == "Fatal write error on datagram transport"
        assert report["transport"] is transport
        assert report["protocol"] is protocol
        assert report["exception"] is protocol.lost[0]
        assert type(protocol.lost[0]) is error
        assert str(protocol.lost[0]) == str(info.value)

    def test_memoryview_with_gaps_ends_it(self, endpoint, peer, eventually, take_reports):
        protocol = Datagrams()
        endpoint(protocol).sendto(memoryview(b"abcdef")[::2], peer.getsockname())
        eventually(lambda: protocol.lost)
        assert type(take_reports()[0]["exception"]) is BufferError

    def test_failing_connection_made_is_reported(self, loop, run, take_reports):
        class Failing(Datagrams):
            def connection_made(self, transport):
                raise ValueError("no")

        transport, _ = run(loop.create_datagram_endpoint(Failing, local_addr=("127.0.0.1", 0)))
        assert "connection_made" in take_reports()[0]["message"]
        transport.abort()

    def test_failing_connection_lost_is_reported(self, endpoint, run, take_reports):
        class Failing(Datagrams):
            def connection_lost(self, exc):
                raise ValueError("no")

        transport = endpoint(Failing())
        sock = transport.get_extra_info("socket")
        transport.abort()
        run(asyncio.sleep(0))
        assert "_call_connection_lost" in take_reports()[0]["message"]
        assert sock.fileno() == -1


class TestEnd:
    @pytest.mark.parametrize("first", ["close", "abort"])
    @pytest.mark.parametrize("second", ["close", "abort"])
    def test_endpoint_ends_once(self, endpoint, settle, first, second):
        protocol = Datagrams()
        transport = endpoint(protocol)
        sock = transport.get_extra_info("socket")
        getattr(transport, first)()
        assert transport.is_closing()
        assert protocol.lost == []
        getattr(transport, second)()
        settle()
        assert protocol.lost == [None]
        assert sock.fileno() == -1
        assert transport.get_protocol() is None
        transport.close()

    @pytest.mark.stock_needs(stock.DATAGRAMS_PAUSE, reason="stock's datagram transports cannot pause")
    def test_pausing_a_lost_endpoint_does_nothing(self, endpoint, settle):
        transport = endpoint(Datagrams())
        transport.close()
        settle()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()

    @pytest.mark.parametrize("is_lost", [False, True])
    def test_sending_to_the_peer_afterwards_warns_from_the_fifth_on(self, endpoint, peer, settle, caplog, is_lost):
        transport = endpoint(Datagrams(), remote_addr=peer.getsockname())
        transport.abort()
        if is_lost:
            settle()
        for _ in range(4):
            transport.sendto(b"x")
        assert caplog.messages == []
        transport.sendto(b"x")
        assert caplog.messages == ["socket.send() raised exception."]
        settle()
        peer.settimeout(0)
        with pytest.raises(BlockingIOError):
            peer.recv(100)

    def test_sendto_an_address_after_close_is_sent_until_connection_lost(self, endpoint, peer):
        transport = endpoint(Datagrams())
        transport.close()
        transport.sendto(b"x", peer.getsockname())
        assert peer.recv(100) == b"x"

    def test_sendto_an_address_after_connection_lost_is_ignored(self, endpoint, peer, settle, kind, caplog):
        if kind == "asyncio":
            pytest.skip("asyncio fails with AttributeError: 'NoneType' object has no attribute ...")
        transport = endpoint(Datagrams())
        transport.close()
        settle()
        for _ in range(5):
            transport.sendto(b"x", peer.getsockname())
        assert caplog.messages == ["socket.send() raised exception."]

    def test_descriptor_is_closed_after_its_loop(self, endpoint, loop):
        protocol = Datagrams()
        transport = endpoint(protocol)
        sock = transport.get_extra_info("socket")
        loop.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del transport, protocol
            gc.collect()
        assert sock.fileno() == -1

    def test_leaves_no_cycle(self, endpoint, settle):
        protocol = Datagrams()
        transport = endpoint(protocol)
        transport.close()
        settle()
        gone = weakref.ref(transport)
        gc.collect()
        gc.disable()
        try:
            del transport, protocol.transport
            assert gone() is None
        finally:
            gc.enable()


class TestEndpoint:
    def test_given_socket_is_used(self, endpoint, peer):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        transport = endpoint(Datagrams(), sock=sock)
        transport.sendto(b"x", peer.getsockname())
        assert peer.recvfrom(100) == (b"x", sock.getsockname())

    def test_given_connected_socket_is_used(self, endpoint, peer):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(peer.getsockname())
        transport = endpoint(Datagrams(), sock=sock)
        transport.sendto(b"x")
        assert peer.recv(100) == b"x"

    @pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system has no SO_REUSEPORT")
    def test_reuse_port_shares_the_port(self, endpoint):
        first = endpoint(Datagrams(), local_addr=("127.0.0.1", 0), reuse_port=True)
        second = endpoint(Datagrams(), local_addr=address_of(first), reuse_port=True)
        assert address_of(first) == address_of(second)

    def test_descriptor_is_taken(self, endpoint, loop):
        transport = endpoint(Datagrams())
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(transport.get_extra_info("socket").fileno(), print)

    def test_ipv6_endpoint_sends_and_receives(self, endpoint, eventually):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            try:
                peer.bind(("::1", 0))
            except OSError:
                pytest.skip("no IPv6 here")
            peer.settimeout(20)
            protocol = Datagrams()
            transport = endpoint(protocol, local_addr=("::1", 0))
            peer.sendto(b"in", address_of(transport))
            eventually(lambda: protocol.received)
            assert protocol.senders == [peer.getsockname()]
            for address in (protocol.senders[0], peer.getsockname()[:2], ("::1", peer.getsockname()[1], 0, 0)):
                transport.sendto(b"out", address)
                assert peer.recvfrom(100) == (b"out", address_of(transport))

    @pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="the system has no netlink sockets")
    def test_family_that_only_the_socket_module_knows(self, endpoint, eventually):
        protocol = Datagrams()
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)
        transport = endpoint(protocol, sock=sock)
        # RTM_GETLINK with a dump: header (length, type, flags, sequence, port) and a family.
        request = (20).to_bytes(4, sys.byteorder) + (18).to_bytes(2, sys.byteorder)
        request += (0x301).to_bytes(2, sys.byteorder) + bytes(8) + bytes(4)
        transport.sendto(request, (0, 0))
        eventually(lambda: protocol.received)
        assert protocol.senders[0] == (0, 0)


@pytest.fixture
def inbox(tmp_path):
    """A plain Unix datagram socket with a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "inbox"))
        sock.settimeout(20)
        yield sock


@pytest.fixture(params=["connected", "unconnected"])
def sender(request, endpoint, inbox, tmp_path):
    """sender(protocol) -> (transport, send): send(data) goes to the inbox."""

    def sender(protocol):
        local, remote = str(tmp_path / "outbox"), inbox.getsockname()
        if request.param == "connected":
            transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=local, remote_addr=remote)
            return transport, transport.sendto
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=local)
        return transport, lambda data: transport.sendto(data, remote)

    return sender


def fill(transport, send, size=100, queued=1):
    """Send numbered datagrams until `queued` of them stay in the transport; return all."""
    sent = []
    while transport.get_write_buffer_size() < queued * (size + HEADER):
        sent.append((b"%d " % len(sent)).ljust(size))
        send(sent[-1])
    return sent


def drain(inbox, eventually, count):
    got = []

    def read():
        with contextlib.suppress(BlockingIOError):
            got.append(inbox.recv(1 << 20))
        return len(got) == count

    inbox.settimeout(0)
    eventually(read)
    return got


class TestUnix:
    def test_path_is_the_address(self, endpoint, inbox, eventually, tmp_path):
        protocol = Datagrams()
        path = str(tmp_path / "mine")
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=path)
        transport.sendto(b"out", inbox.getsockname())
        assert inbox.recvfrom(100) == (b"out", path)
        for _ in range(3):
            inbox.sendto(b"in", path)
        eventually(lambda: len(protocol.received) == 3)
        assert protocol.senders == [inbox.getsockname()] * 3

    def test_sender_without_a_name_is_none(self, endpoint, eventually, tmp_path):
        protocol = Datagrams()
        path = str(tmp_path / "mine")
        endpoint(protocol, family=socket.AF_UNIX, local_addr=path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"x", path)
            eventually(lambda: protocol.received)
        assert protocol.senders == [None]

    def test_larger_than_udp_can(self, endpoint, inbox, eventually, tmp_path):
        protocol = Datagrams()
        path = str(tmp_path / "mine")
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=path)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        data = random.randbytes(150_000)
        for _ in range(3):
            inbox.sendto(data, path)
            eventually(lambda: protocol.received)
            assert protocol.received.pop() == data
        transport.sendto(data, inbox.getsockname())
        assert inbox.recv(1 << 20) == data

    def test_address_without_a_socket_is_an_error(self, endpoint, tmp_path):
        protocol = Datagrams()
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=str(tmp_path / "mine"))
        transport.sendto(b"x", str(tmp_path / "nobody"))
        assert [type(exc) for exc in protocol.errors] == [FileNotFoundError]
        assert not transport.is_closing()

    @pytest.mark.parametrize("address", ["", b""])
    def test_the_empty_address_is_refused(self, endpoint, tmp_path, address):
        """It is not the abstract name "\\0", which anybody may have."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            with contextlib.suppress(OSError):  # somebody else has it
                stranger.bind(b"\0")
            stranger.setblocking(False)
            protocol = Datagrams()
            transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=str(tmp_path / "mine"))
            transport.sendto(b"x", address)
            assert [exc.errno for exc in protocol.errors] == [errno.EINVAL]
            with pytest.raises(BlockingIOError):
                stranger.recv(1)
        assert not transport.is_closing()

    def test_queued_datagrams_are_sent_in_order(self, sender, inbox, eventually):
        transport, send = sender(Datagrams())
        sent = fill(transport, send, queued=100)
        assert transport.get_write_buffer_size() == 100 * (100 + HEADER)
        assert drain(inbox, eventually, len(sent)) == sent
        assert "write=<idle" in repr(transport)

    def test_queued_datagrams_of_all_sizes_arrive(self, sender, inbox, eventually):
        rng = random.Random(2)
        transport, send = sender(Datagrams())
        sent = fill(transport, send)
        for _ in range(200):
            data = rng.randbytes(rng.randrange(1, 3000))
            send(rng.choice([bytes, bytearray, memoryview])(data))
            sent.append(data)
        assert drain(inbox, eventually, len(sent)) == sent

    def test_queued_datagram_is_a_copy(self, sender, inbox, eventually):
        transport, send = sender(Datagrams())
        sent = fill(transport, send)
        data = bytearray(b"first")
        send(data)
        data[:] = b"other"
        assert drain(inbox, eventually, len(sent) + 1)[-1] == b"first"

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__() is new in 3.12")
    def test_buffer_that_sends_while_it_is_copied(self, sender, inbox, eventually):
        transport, send = sender(Datagrams())
        sent = fill(transport, send, queued=7)  # a place is left in the queue
        meanwhile = [b"first"]

        class Sending(bytearray):
            def __buffer__(self, flags):
                while meanwhile:
                    send(meanwhile.pop())
                return super().__buffer__(flags)

        send(Sending(b"second"))
        assert drain(inbox, eventually, len(sent) + 2) == [*sent, b"first", b"second"]

    def test_flow_control_pauses_and_resumes(self, sender, inbox, eventually):
        protocol = Datagrams()
        transport, send = sender(protocol)
        transport.set_write_buffer_limits(high=10 * (100 + HEADER), low=0)
        assert transport.get_write_buffer_limits() == (0, 10 * (100 + HEADER))
        sent = fill(transport, send, queued=10)
        assert protocol.flow == []
        sent.append(b"x")
        send(b"x")
        assert protocol.flow == ["pause"]
        drain(inbox, eventually, len(sent))
        if sys.version_info[:2] != (3, 13) or "asyncloop" in repr(transport):  # whose count drifts from the truth
            eventually(lambda: len(protocol.flow) == 2)
            assert protocol.flow == ["pause", "resume"]
            assert transport.get_write_buffer_size() == 0

    def test_close_sends_queued_datagrams(self, sender, inbox, eventually):
        protocol = Datagrams()
        transport, send = sender(protocol)
        sent = fill(transport, send, queued=50)
        transport.close()
        assert transport.is_closing()
        assert drain(inbox, eventually, len(sent)) == sent
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]

    def test_abort_drops_queued_datagrams(self, sender, inbox, eventually):
        protocol = Datagrams()
        transport, send = sender(protocol)
        sent = fill(transport, send, queued=50)
        transport.abort()
        assert transport.get_write_buffer_size() == 0 or "Selector" in repr(transport)  # which forgets to count
        eventually(lambda: protocol.lost)
        assert drain(inbox, eventually, len(sent) - 50) == sent[:-50]
        with pytest.raises(BlockingIOError):
            inbox.recv(100)

    def test_queued_datagrams_for_a_closed_socket_are_errors(self, endpoint, tmp_path, eventually):
        protocol = Datagrams()
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=str(tmp_path / "mine"))
        path = str(tmp_path / "leaving")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as leaving:
            leaving.bind(path)
            fill(transport, lambda data: transport.sendto(data, path), queued=5)
        eventually(lambda: len(protocol.errors) == 5)
        assert {type(exc) for exc in protocol.errors} == {ConnectionRefusedError}
        transport.close()
        eventually(lambda: protocol.lost)
        assert protocol.lost == [None]

    def test_failing_error_received_of_a_queued_datagram_is_reported(
        self, endpoint, tmp_path, eventually, take_reports
    ):
        def fail(protocol):
            raise ValueError("no")

        protocol = Datagrams(on_error=fail)
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=str(tmp_path / "mine"))
        path = str(tmp_path / "leaving")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as leaving:
            leaving.bind(path)
            fill(transport, lambda data: transport.sendto(data, path), queued=3)
        eventually(lambda: len(protocol.errors) == 3)
        reports = take_reports()
        assert len(reports) == 3
        assert all("DatagramTransport._sendto_ready()" in report["message"] for report in reports)
        assert not transport.is_closing()

    def test_wrong_address_behind_queued_datagrams_ends_the_endpoint(
        self, endpoint, inbox, tmp_path, eventually, take_reports
    ):
        protocol = Datagrams()
        transport = endpoint(protocol, family=socket.AF_UNIX, local_addr=str(tmp_path / "mine"))
        sent = fill(transport, lambda data: transport.sendto(data, inbox.getsockname()), queued=3)
        transport.sendto(b"x", 5)
        transport.sendto(b"x", inbox.getsockname())
        assert drain(inbox, eventually, len(sent)) == sent
        eventually(lambda: protocol.lost)
        assert type(protocol.lost[0]) is TypeError
        assert take_reports()[0]["message"] == "Fatal write error on datagram transport"

    def test_pair_without_names(self, endpoint, kind, eventually):
        if kind == "asyncio":
            pytest.skip("asyncio takes the peer '' for none and fails")
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with far:
            far.settimeout(20)
            protocol = Datagrams()
            transport = endpoint(protocol, sock=near)
            transport.sendto(b"out")
            assert far.recv(100) == b"out"
            far.send(b"in")
            eventually(lambda: protocol.received)
            assert protocol.received == [b"in"]


def test_callbacks_of_a_datagram_run_before_the_next_datagram(loop, run, endpoint):
    seen = []

    def on_datagram(protocol):
        seen.append(protocol.received[-1])
        loop.call_soon(seen.append, "then")

    protocol = Datagrams(on_datagram)
    transport = endpoint(protocol)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(transport.get_extra_info("sockname"))
        for batch in range(20):  # long enough to read several at a time
            del seen[:]
            data = [b"%d %d" % (batch, i) for i in range(10)]
            for datagram in data:
                sock.send(datagram)
            while len(seen) < 20:
                run(asyncio.sleep(0.001))
            assert seen == [item for datagram in data for item in (datagram, "then")]


def test_a_task_gets_each_datagram(loop, run, endpoint):
    async def main():
        def on_datagram(protocol):
            if not protocol.waiter.done():
                protocol.waiter.set_result(protocol.received[-1])

        protocol = Datagrams(on_datagram)
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, ("127.0.0.1", 0))
        protocol.waiter = loop.create_future()
        got = []

        async def take():
            while True:
                got.append(await protocol.waiter)
                protocol.waiter = loop.create_future()

        task = loop.create_task(take())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(transport.get_extra_info("sockname"))
            for batch in range(20):
                data = [b"%d %d" % (batch, i) for i in range(10)]
                for datagram in data:
                    sock.send(datagram)
                while len(protocol.received) < 10 * batch + 10:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0)
                assert got[-10:] == data
        task.cancel()
        transport.close()

    run(main())


def test_no_datagram_is_delivered_after_stop(loop, run, endpoint):
    protocol = Datagrams(lambda protocol: loop.stop())
    transport = endpoint(protocol)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(transport.get_extra_info("sockname"))
        for _ in range(20):
            for _ in range(10):
                sock.send(b"x")
            for _ in range(10):
                before = len(protocol.received)
                loop.run_forever()
                assert len(protocol.received) == before + 1


@pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio's first one fails with an AttributeError then
def test_a_datagram_transport_on_the_descriptor_of_a_closing_one(loop, run):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)

    async def main():
        first, protocol = await loop.create_datagram_endpoint(Datagrams, sock=near)
        for _ in range(1000):  # more than the kernel takes
            first.sendto(b"x" * 1000)
        first.close()
        second, _ = await loop.create_datagram_endpoint(Datagrams, sock=near)
        first.sendto(b"more")
        await asyncio.sleep(0.01)
        first.abort()
        second.abort()
        await asyncio.sleep(0.01)
        assert protocol.lost == [None]

    with near, far:
        run(main())


@pytest.mark.parametrize("kind", ["asyncloop"])  # with asyncio's the two go on sharing it
def test_a_datagram_transport_on_the_descriptor_of_one_that_says_it_is_closing(loop, run):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)

    async def main():
        first, protocol = await loop.create_datagram_endpoint(Datagrams, sock=near)
        first.is_closing = lambda: True
        first.pause_reading()
        second, _ = await loop.create_datagram_endpoint(Datagrams, sock=near)
        first.resume_reading()
        second.abort()
        await asyncio.sleep(0.01)
        assert protocol.lost == [None]

    with near, far:
        run(main())
