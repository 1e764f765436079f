"""Messages written in parts, as a head and a body: they may leave in one piece, and nobody but the peer can tell."""

import asyncio
import gc
import os
import socket
import struct
import sys
import threading

import pytest

PART = b"0123456789"


def segments(sock):
    """Return how many TCP segments with data were sent."""
    return struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 156)[0]


@pytest.fixture
def turns(run):
    """turns(function, ...) calls each function in a turn of its own."""

    async def call(functions):
        for function in functions:
            function()
            await asyncio.sleep(0)

    return lambda *functions: run(call(functions))


@pytest.fixture
def parts(connect, Recorder, turns):
    """parts() -> (transport, peer) of a connection that was written to in parts, and how much of that went out."""

    def parts():
        transport, peer = connect(Recorder())
        turns(lambda: (transport.write(b"a"), transport.write(b"b")))
        assert peer.recv(2, socket.MSG_WAITALL) == b"ab"
        return transport, peer

    return parts


@pytest.fixture
def deserted(parts):
    """(transport, protocol) of such a connection, which the peer has reset; as it does not read, it does not know."""
    transport, peer = parts()
    transport.pause_reading()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    return transport, transport.get_protocol()


@pytest.fixture
def available():
    """available(peer) -> what can be read from it now, without the loop running."""

    def available(peer):
        peer.setblocking(False)
        try:
            return peer.recv(1 << 20)
        except BlockingIOError:
            return b""
        finally:
            peer.settimeout(20)

    return available


@pytest.mark.parametrize("count", [2, 3, 10, 5000])
def test_parts_arrive_in_order(parts, turns, receive, count):
    transport, peer = parts()
    sent = [b"%d " % i for i in range(count)]

    def write_all():
        for part in sent:
            transport.write(part)

    turns(write_all, write_all)
    expected = b"".join(sent) * 2
    assert receive(peer, len(expected)) == expected


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_a_buffer_may_change_after_the_write(parts, turns, receive, make):
    transport, peer = parts()
    buffers = [bytearray(b"first"), bytearray(b"second")]

    def write():
        for buffer in buffers:
            transport.write(buffer if make is bytearray else make(buffer))
            buffer[:] = b"x" * len(buffer)

    turns(write)
    assert receive(peer, 11) == b"firstsecond"


def test_large_and_small_parts(parts, turns, receive):
    transport, peer = parts()
    sent = [bytes([65 + i]) * size for i, size in enumerate([1, 100, 10_000, 10_000, 1, 100_000, 1, 20_000, 3])]

    def write():
        for part in sent:
            transport.write(part)
        transport.writelines([b"line ", b"line"])
        transport.write(b"end")

    turns(write)
    expected = b"".join(sent) + b"line lineend"
    assert receive(peer, len(expected)) == expected


def test_one_segment_a_message(kind, parts, turns, receive):
    """Not before it is known that they come in parts; and one write a turn goes at once again."""
    if kind == "asyncio":
        pytest.skip("asyncio sends each part")
    transport, peer = parts()
    sock = transport.get_extra_info("socket")
    before = segments(sock)
    turns(*[lambda: (transport.write(PART), transport.write(PART))] * 10)
    assert receive(peer, 200) == PART * 20
    assert segments(sock) - before == 10


def test_a_single_write_is_on_its_way_when_it_returns(parts, turns, available):
    transport, peer = parts()
    seen = []

    def write():
        transport.write(PART)
        seen.append(available(peer))

    turns(lambda: transport.write(b"x"), write, write)
    assert b"".join(seen).endswith(PART * 2)
    assert seen[1] == PART


class TestOthersWait:
    """One write each, by callbacks of one turn."""

    @pytest.fixture
    def pairs(self, connect, Recorder):
        return [connect(Recorder()) for _ in range(40)]

    @pytest.fixture
    def in_a_turn(self, loop, run):
        async def call(functions):
            for function in functions:
                loop.call_soon(function)
            await asyncio.sleep(0.001)  # so this task is not one of those who wait for their turn

        return lambda *functions: run(call(functions))

    def test_all_is_sent_when_the_turn_is_over(self, pairs, in_a_turn, available):
        for i in range(3):
            in_a_turn(*[lambda i=i, transport=transport: transport.write(b"%d" % i) for transport, _ in pairs])
            assert [available(peer) for _, peer in pairs] == [b"%d" % i] * len(pairs)

    def test_what_is_held_waits_for_few_others(self, pairs, in_a_turn, available):
        seen = []
        writes = [lambda transport=transport: transport.write(b"x") for transport, _ in pairs[:30]]
        in_a_turn(*writes, lambda: seen.extend(available(peer) for _, peer in pairs[:14]))
        assert seen == [b"x"] * 14

    def test_they_leave_together(self, kind, pairs, in_a_turn, available):
        if kind == "asyncio":
            pytest.skip("asyncio sends each at once")
        seen = []
        write = lambda transport, peer: (transport.write(b"x"), seen.append(available(peer)))  # noqa: E731
        in_a_turn(*[lambda pair=pair: write(*pair) for pair in pairs[:10]])
        assert seen == [b""] * 10
        assert [available(peer) for _, peer in pairs[:10]] == [b"x"] * 10

    def test_the_last_one_is_on_its_way_when_it_returns(self, pairs, in_a_turn, available):
        transport, peer = pairs[0]
        seen = []
        in_a_turn(lambda: None, lambda: (transport.write(b"x"), seen.append(available(peer))))
        assert seen == [b"x"]

    def test_what_was_written_first_leaves_first(self, pairs, in_a_turn, available):
        (first, its_peer), (last, other_peer) = pairs[:2]
        seen = []
        in_a_turn(
            lambda: first.write(b"x"),
            lambda: (last.write(b"y"), seen.append((available(other_peer), available(its_peer)))),
        )
        assert seen in ([(b"", b"")], [(b"y", b"x")])

    def test_what_is_large_is_on_its_way_when_it_returns(self, pairs, in_a_turn, available):
        transport, peer = pairs[0]
        seen = []
        in_a_turn(lambda: (transport.write(bytes(20_000)), seen.append(available(peer))), lambda: None)
        assert seen[0] == bytes(len(seen[0])) != b""

    def test_a_turn_that_is_cut_short(self, pairs, loop, available):
        def stop():
            raise KeyboardInterrupt

        transport, peer = pairs[0]
        for function in (lambda: transport.write(b"x"), stop, lambda: None):
            loop.call_soon(function)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert available(peer) == b"x"

    def test_turns_within_a_turn(self, kind, pairs, loop, in_a_turn, available):
        if kind == "asyncio":
            pytest.skip("asyncio's _run_once() does not nest")
        seen = []
        transport, peer = pairs[0]
        in_a_turn(lambda: (transport.write(b"x"), loop._run_once(), seen.append(available(peer))), lambda: None)
        assert seen == [b"x"]


def test_the_turn_ends_and_all_is_sent(parts, turns, available):
    transport, peer = parts()
    seen = []
    write = lambda: (transport.write(PART), transport.write(PART))  # noqa: E731
    turns(write, lambda: seen.append(available(peer)), write, lambda: seen.append(available(peer)))
    assert seen == [PART * 2] * 2


@pytest.mark.parametrize(
    "look",
    [
        "transport.get_write_buffer_size()",
        "transport.get_extra_info('socket')",
        "transport.set_write_buffer_limits(5)",
        "transport.write_eof()",
        "transport.writelines([b''])",
        "transport.abort()",
        "transport.close()",
        pytest.param(
            "transport.writelines([b'more'])",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="is one more write() there"),
        ),
    ],
)
def test_who_looks_finds_it_sent(parts, turns, available, look):
    transport, peer = parts()
    seen = []

    def write():
        transport.write(PART)
        transport.write(PART)
        eval(look, {"transport": transport})
        seen.append(available(peer))

    turns(write)
    if "b''" in look:  # nothing is written, nothing is looked at
        seen = [available(peer) or seen[0]]
    assert seen == [PART * 2 + (b"more" if "more" in look else b"")]


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
def test_nothing_is_lost_at_the_end(parts, turns, receive_all, end):
    transport, peer = parts()
    turns(lambda: (transport.write(PART), transport.write(PART), getattr(transport, end)()))
    assert receive_all(peer) == PART * 2


def test_connection_lost_comes_in_the_next_turn(parts, run):
    transport, _ = parts()
    protocol = transport.get_protocol()

    async def main():
        transport.write(PART)
        transport.write(PART)
        transport.close()
        calls = [protocol.lost[:]]
        await asyncio.sleep(0)
        calls.append(protocol.lost[:])
        return calls

    assert run(main()) == [[], [None]]


def test_what_stops_the_loop_does_not_stop_the_bytes(parts, loop, receive):
    transport, peer = parts()

    def write_and_leave():
        transport.write(PART)
        transport.write(PART)
        raise SystemExit(3)

    loop.call_soon(write_and_leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert receive(peer, 20) == PART * 2


def test_outside_of_a_turn_it_is_sent_at_once(parts, available):
    transport, peer = parts()
    for _ in range(3):
        transport.write(PART)
        transport.write(PART)
        assert available(peer) == PART * 2


def test_from_another_thread_it_is_sent_at_once(parts, turns, available):
    """Not allowed, but done: nothing would wake the loop."""
    transport, peer = parts()
    seen = []

    def work():
        transport.write(PART)
        transport.write(PART)
        seen.append(available(peer))

    def in_a_thread():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    turns(in_a_thread)
    assert seen == [PART * 2]


def test_the_peer_is_gone(deserted, turns, settle, take_reports):
    transport, protocol = deserted
    turns(lambda: (transport.write(PART), transport.write(PART)), lambda: None, lambda: None)
    settle()
    assert transport.is_closing()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))
    assert take_reports() == []


@pytest.mark.parametrize("end", ["abort", "close"])
def test_the_peer_is_gone_and_the_connection_ends_in_the_same_turn(deserted, turns, settle, end):
    transport, protocol = deserted
    turns(lambda: (transport.write(PART), transport.write(PART), getattr(transport, end)()))
    settle()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))


@pytest.mark.parametrize("high", [0, 5, 15, 1000])
def test_flow_control_is_as_exact(parts, turns, stuff, high, receive):
    transport, peer = parts()
    transport.set_write_buffer_limits(high)
    protocol = transport.get_protocol()
    queued = stuff(transport)
    assert protocol.calls.count("pause_writing") == 1
    receive(peer, queued)
    assert protocol.calls.pop() == "resume_writing"
    protocol.calls.clear()
    sizes = []
    turns(lambda: (transport.write(PART), transport.write(PART), sizes.append(transport.get_write_buffer_size())))
    assert sizes == [0]
    assert protocol.calls == []
    assert receive(peer, 20) == PART * 2


def test_a_full_kernel_takes_it_later(parts, turns, stuff, receive):
    transport, peer = parts()
    transport.get_protocol().calls.clear()
    written = stuff(transport)
    turns(lambda: (transport.write(PART), transport.write(PART)), lambda: transport.write(PART))
    assert transport.get_write_buffer_size() > 30
    assert receive(peer, written + 30).endswith(b"\0" + PART * 3)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
def test_a_fork_sends_it_once(parts, loop, turns, receive, available):
    transport, peer = parts()

    def write_and_fork():
        transport.write(PART)
        transport.write(PART)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert available(peer) == PART * 2
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    turns(write_and_fork)
    assert available(peer) == b""


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("debug", [False, True])
def test_another_thread_forks_and_the_peer_is_gone(deserted, loop, turns, settle, debug):
    transport, protocol = deserted
    loop.set_debug(debug)

    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def write_and_fork():
        transport.write(PART)
        transport.write(PART)
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()

    turns(write_and_fork)
    settle()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))


def test_dropped_while_it_is_written_to(parts, loop, receive):
    """The loop keeps it until the turn is over."""
    transport, peer = parts()
    transport.pause_reading()

    def write_and_drop():
        nonlocal transport
        transport.write(PART)
        transport.write(PART)
        transport.close()
        transport = None
        gc.collect()
        loop.call_soon(loop.stop)

    loop.call_soon(write_and_drop)
    loop.run_forever()
    assert receive(peer, 20) == PART * 2


def test_streams_too(run):
    async def main():
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(b"head:")
                writer.write(line)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for i in range(20):
            writer.write(b"line ")
            writer.write(b"%d\n" % i)
            assert await reader.readline() == b"head:line %d\n" % i
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


BULK = bytes(16 << 20)


@pytest.fixture
def trailing(connect, Recorder):
    """(transport, peer) of a connection that was written more to than goes at once; "trailer" follows that."""

    class Trailing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.write(b"trailer")

    transport, peer = connect(Trailing())
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    transport.write(b"head")
    transport.write(BULK)
    return transport, peer


def test_a_part_written_while_the_protocol_resumes_is_the_last_before_the_end(trailing, receive_all):
    """Not held: the descriptor is watched, and nobody would end the connection."""
    transport, peer = trailing
    transport.close()
    assert receive_all(peer) == b"head" + BULK + b"trailer"


def test_a_part_written_while_the_protocol_resumes_leaves_the_loop_idle(trailing, receive, run):
    transport, peer = trailing
    size = len(BULK)
    assert len(receive(peer, 4 + size + 7)) == 4 + size + 7
    run(asyncio.sleep(0.01))
    assert "write=<idle, bufsize=0>" in repr(transport)
    transport.abort()


@pytest.mark.parametrize("use", ["shutdown", "dup", "fileno"])
def test_who_uses_the_socket_finds_the_parts_sent(parts, turns, available, use):
    transport, peer = parts()
    shown = transport.get_extra_info("socket")
    seen = []

    def write_and_use():
        transport.write(b"last words")
        if use == "shutdown":
            shown.shutdown(socket.SHUT_WR)
        elif use == "dup":
            shown.dup().close()
        else:
            shown.fileno()
        seen.append(available(peer))

    turns(write_and_use)
    assert seen == [b"last words"]
    transport.abort()


def test_the_shown_socket_does_not_keep_its_transport(connect, Recorder):
    transport, _ = connect(Recorder())
    shown = transport.get_extra_info("socket")
    transport.abort()
    assert shown.fileno() >= 0
    assert not any(value is transport for value in gc.get_referents(shown))


def test_write_eof_after_parts_that_could_not_be_sent(parts, turns, settle):
    transport, peer = parts()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()  # resets the connection

    def write_and_end():
        transport.write(b"x")
        assert transport.write_eof() is None

    turns(write_and_end)
    settle()
    assert transport.get_protocol() is None
