"""loop.sendfile() of a transport and loop.sock_sendfile() of a socket, by the system call."""

import asyncio
import io
import os
import socket
import sys

import pytest

DATA = bytes(range(256)) * 8192  # 2 MiB, more than the buffers of `narrow` take

own_only = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        yield file


@pytest.fixture
def calls(monkeypatch):
    """The (offset, count) of each os.sendfile() that sent something."""
    calls = []
    sendfile = os.sendfile

    def counting(out, source, offset, count):
        sent = sendfile(out, source, offset, count)
        calls.append((offset, count))
        return sent

    monkeypatch.setattr(os, "sendfile", counting)
    return calls


def make_narrow(near, far):
    """Have the kernel buffer little, and no more with time."""
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)


@pytest.fixture
def narrow(connect):
    """connect(), through which a file goes slowly."""

    def narrow(protocol):
        transport, peer = connect(protocol)
        make_narrow(transport.get_extra_info("socket"), peer)
        return transport, peer

    return narrow


async def drain(peer, size=1 << 40):
    """What a blocking peer receives, up to `size` bytes or the end."""
    return await asyncio.to_thread(_drain, peer, size)


def _drain(peer, size):
    pieces = []
    while size > 0 and (piece := peer.recv(min(size, 1 << 20))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class TestTransport:
    def test_sends_a_file(self, loop, run, narrow, Recorder, file, calls):
        transport, peer = narrow(Recorder())

        async def main():
            received = asyncio.create_task(drain(peer, len(DATA)))
            assert await loop.sendfile(transport, file) == len(DATA)
            return await received

        assert run(main()) == DATA
        assert file.tell() == len(DATA)
        assert calls

    @pytest.mark.parametrize(
        ("offset", "count", "expected"),
        [
            (0, 10, DATA[:10]),
            (1000, 100_000, DATA[1000:101_000]),
            (len(DATA) - 5, None, DATA[-5:]),
            (len(DATA) - 5, 100, DATA[-5:]),
            (len(DATA), None, b""),
        ],
    )
    def test_sends_a_part(self, loop, run, narrow, Recorder, file, calls, offset, count, expected):
        transport, peer = narrow(Recorder())

        async def main():
            received = asyncio.create_task(drain(peer, len(expected)))
            assert await loop.sendfile(transport, file, offset, count) == len(expected)
            return await received

        assert run(main()) == expected
        if expected:
            assert file.tell() == offset + len(expected)

    def test_sends_nothing_of_an_empty_file(self, loop, run, connect, Recorder, tmp_path):
        transport, _ = connect(Recorder())
        with open(tmp_path / "empty", "w+b") as empty:
            assert run(loop.sendfile(transport, empty)) == 0
        transport.write(b"x")

    def test_sends_it_after_queued_bytes(self, loop, run, narrow, Recorder, stuff, file, calls):
        transport, peer = narrow(Recorder())
        before = stuff(transport)

        async def main():
            received = asyncio.create_task(drain(peer, before + len(DATA) + 5))
            await loop.sendfile(transport, file)
            transport.write(b"after")
            return await received

        assert run(main()) == bytes(before) + DATA + b"after"
        assert calls

    def test_refuses_writes_meanwhile(self, loop, run, narrow, Recorder, file):
        transport, peer = narrow(Recorder())

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            assert not sending.done()
            with pytest.raises(RuntimeError, match="^unable to write; sendfile is in progress$"):
                transport.write(b"x")
            method = "writelines" if sys.version_info >= (3, 12) else "write"
            with pytest.raises(RuntimeError, match=f"^unable to {method}; sendfile is in progress$"):
                transport.writelines([b"x"])
            received = asyncio.create_task(drain(peer, len(DATA) + 1))
            await sending
            transport.write(b"x")
            return await received

        assert run(main()) == DATA + b"x"

    def test_does_not_read_meanwhile(self, loop, run, narrow, Recorder, file, eventually):
        protocol = Recorder()
        transport, peer = narrow(protocol)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            assert not transport.is_reading()
            peer.sendall(b"hello")
            await asyncio.sleep(0.01)
            assert not protocol.data
            await drain(peer, len(DATA))
            await sending

        run(main())
        assert transport.is_reading()
        eventually(lambda: protocol.data == b"hello")

    def test_leaves_a_paused_transport_paused(self, loop, run, narrow, Recorder, file):
        transport, _ = narrow(Recorder())
        transport.pause_reading()
        assert run(loop.sendfile(transport, file, 0, 10)) == 10
        assert not transport.is_reading()

    def test_needs_an_open_transport(self, loop, run, narrow, Recorder, file):
        transport, _ = narrow(Recorder())
        transport.close()
        with pytest.raises(RuntimeError, match="^Transport is closing$"):
            run(loop.sendfile(transport, file))

    def test_needs_a_binary_file(self, loop, run, connect, Recorder, tmp_path):
        transport, _ = connect(Recorder())
        (tmp_path / "text").write_text("x")
        with open(tmp_path / "text") as text, pytest.raises(ValueError, match="opened in binary mode"):
            run(loop.sendfile(transport, text))
        assert transport.is_reading()
        transport.write(b"x")

    def test_reads_an_object_that_is_no_file(self, loop, run, connect, Recorder, calls):
        transport, peer = connect(Recorder())

        async def main():
            assert await loop.sendfile(transport, io.BytesIO(b"not a file")) == 10
            return await drain(peer, 10)

        assert run(main()) == b"not a file"
        assert not calls

    def test_does_not_fall_back_if_told_so(self, loop, run, connect, Recorder):
        transport, _ = connect(Recorder())
        with pytest.raises(asyncio.SendfileNotAvailableError, match="^not a regular file$"):
            run(loop.sendfile(transport, io.BytesIO(b"x"), fallback=False))
        transport.write(b"x")

    def test_fails_when_the_peer_goes(self, loop, run, narrow, Recorder, file):
        protocol = Recorder()
        transport, peer = narrow(protocol)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            peer.close()  # with data that it did not read: a reset
            with pytest.raises(ConnectionError):
                await sending

        run(main())
        assert 0 < file.tell() < len(DATA)

    def test_fails_when_the_peer_goes_before_it_begins(
        self, loop, run, narrow, Recorder, stuff, file, settle, take_reports, kind
    ):
        transport, peer = narrow(Recorder())
        stuff(transport)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            peer.close()
            with pytest.raises(ConnectionError):
                await sending

        run(main())
        assert file.tell() == 0
        settle()
        reports = take_reports()
        assert reports == [] or kind == "asyncio"  # which fails its future twice

    def test_can_be_cancelled(self, loop, run, narrow, Recorder, file, eventually):
        protocol = Recorder()
        transport, peer = narrow(protocol)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            transport.write(b"end")
            transport.write_eof()
            return await drain(peer)

        received = run(main())
        assert 0 < len(received) < len(DATA)
        assert received == DATA[: len(received) - 3] + b"end"
        eventually(lambda: transport.is_reading())

    @own_only  # stock waits for ever
    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_fails_when_the_transport_is_closed(self, loop, run, narrow, Recorder, file, end):
        protocol = Recorder()
        transport, _ = narrow(protocol)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            getattr(transport, end)()
            with pytest.raises(ConnectionError, match="^Connection is closed by peer$"):
                await sending

        run(main())
        assert protocol.lost == [None]

    @own_only  # stock waits for ever
    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_fails_when_the_transport_is_closed_before_it_begins(
        self, loop, run, narrow, Recorder, stuff, file, receive_all, end
    ):
        transport, peer = narrow(Recorder())
        stuff(transport)

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            getattr(transport, end)()
            received = asyncio.create_task(drain(peer)) if end == "close" else None
            with pytest.raises(ConnectionError, match="^Connection is closed by peer$"):
                await sending
            if received is not None:
                await received

        run(main())

    @own_only  # stock raises KeyError and lets nobody write any more
    def test_is_one_at_a_time(self, loop, run, narrow, Recorder, file):
        transport, peer = narrow(Recorder())

        async def main():
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError, match="^Empty waiter is already set$"):
                await loop.sendfile(transport, file)
            received = asyncio.create_task(drain(peer, len(DATA)))
            assert await sending == len(DATA)
            return await received

        assert run(main()) == DATA

    @own_only
    def test_thrown_away_in_the_middle_leaves_the_transport_alone(self, loop, run, narrow, Recorder, file):
        transport, peer = narrow(Recorder())

        async def main():
            sending = loop.sendfile(transport, file)
            sending.send(None)
            sending.close()
            await asyncio.sleep(0.01)
            transport.write(b"end")
            transport.write_eof()
            return await drain(peer)

        received = run(main())
        assert received == DATA[: len(received) - 3] + b"end"
        assert len(received) < len(DATA)

    def test_over_a_unix_socket(self, loop, run, Recorder, file, calls):
        near, peer = socket.socketpair()
        near.setblocking(False)

        async def main():
            transport, _ = await loop.create_unix_connection(Recorder, sock=near)
            received = asyncio.create_task(drain(peer))
            assert await loop.sendfile(transport, file) == len(DATA)
            transport.close()
            return await received

        with peer:
            assert run(main()) == DATA
        assert calls

    def test_from_an_accepted_connection(self, loop, run, file, calls):
        async def serve(reader, writer):
            await loop.sendfile(writer.transport, file)
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            with socket.create_connection(server.sockets[0].getsockname()) as peer:
                received = await drain(peer)
            server.close()
            return received

        loop.set_debug(True)  # which looks at the timeout of the socket
        assert run(main()) == DATA
        assert calls


class TestSocket:
    def test_sends_a_file(self, loop, run, tcp_pair, file, calls):
        near, peer = tcp_pair

        async def main():
            received = asyncio.create_task(drain(peer, len(DATA)))
            assert await loop.sock_sendfile(near, file) == len(DATA)
            return await received

        assert run(main()) == DATA
        assert file.tell() == len(DATA)
        assert calls

    def test_sends_a_part(self, loop, run, tcp_pair, file, calls):
        near, peer = tcp_pair

        async def main():
            assert await loop.sock_sendfile(near, file, 100, 1000) == 1000
            return await drain(peer, 1000)

        assert run(main()) == DATA[100:1100]
        assert file.tell() == 1100
        assert calls[0] == (100, 1000)

    def test_reads_an_object_that_is_no_file(self, loop, run, tcp_pair):
        near, peer = tcp_pair

        async def main():
            assert await loop.sock_sendfile(near, io.BytesIO(b"not a file")) == 10
            return await drain(peer, 10)

        assert run(main()) == b"not a file"

    def test_does_not_fall_back_if_told_so(self, loop, run, tcp_pair):
        with pytest.raises(asyncio.SendfileNotAvailableError, match="^not a regular file$"):
            run(loop.sock_sendfile(tcp_pair[0], io.BytesIO(b"x"), fallback=False))

    def test_can_be_cancelled(self, loop, run, tcp_pair, file):
        near, peer = tcp_pair
        make_narrow(near, peer)

        async def main():
            sending = asyncio.create_task(loop.sock_sendfile(near, file))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.sleep(0)

        run(main())
        assert loop.remove_writer(near) is False

    def test_is_not_for_the_socket_of_a_transport(self, loop, run, narrow, Recorder, file):
        transport, _ = narrow(Recorder())
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        fd = transport.get_extra_info("socket").fileno()
        with sock, socket.socket(fileno=fd) as same:
            same.setblocking(False)
            try:
                with pytest.raises(RuntimeError, match="is used by transport"):
                    run(loop.sock_sendfile(same, file))
            finally:
                same.detach()
