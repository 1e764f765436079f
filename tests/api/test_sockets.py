"""Readiness, names, and the sock_* methods."""

import asyncio
import os
import socket

import pytest

proves = pytest.mark.proves


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    yield a, b
    a.close()
    b.close()


@pytest.fixture
def udp():
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for s in made:
        s.bind(("127.0.0.1", 0))
        s.setblocking(False)
    yield made
    for s in made:
        s.close()


@proves("loop.add_reader", "fd callback args")
@proves("loop.remove_reader", "fd")
def test_reader(loop, pair):
    a, b = pair
    seen = []
    loop.add_reader(a.fileno(), lambda x: (seen.append((x, a.recv(9))), loop.stop()), 7)
    b.send(b"x")
    loop.run_forever()
    assert seen == [(7, b"x")]
    assert loop.remove_reader(a.fileno()) is True
    assert loop.remove_reader(a.fileno()) is False


@proves("loop.add_writer", "fd callback args")
@proves("loop.remove_writer", "fd")
def test_writer(loop, pair):
    seen = []
    loop.add_writer(pair[0].fileno(), lambda x: (seen.append(x), loop.stop()), 7)
    loop.run_forever()
    assert seen[0] == 7
    assert loop.remove_writer(pair[0].fileno()) is True
    assert loop.remove_writer(pair[0].fileno()) is False


@proves("loop.sock_recv", "sock n")
@proves("loop.sock_sendall", "sock data")
def test_send_and_receive(run, loop, pair):
    async def main():
        receive = asyncio.ensure_future(loop.sock_recv(pair[0], 3))
        await asyncio.sleep(0)
        await loop.sock_sendall(pair[1], b"goods")
        return await receive

    assert run(main()) == b"goo"


@proves("loop.sock_recv_into", "sock buf")
def test_sock_recv_into(run, loop, pair):
    buffer = bytearray(4)
    pair[1].send(b"goods")
    assert run(loop.sock_recv_into(pair[0], buffer)) == 4
    assert buffer == b"good"


@proves("loop.sock_recvfrom", "sock bufsize")
@proves("loop.sock_sendto", "sock data address")
def test_sendto_and_recvfrom(run, loop, udp):
    async def main():
        await loop.sock_sendto(udp[1], b"goods", udp[0].getsockname())
        return await loop.sock_recvfrom(udp[0], 3)

    assert run(main()) == (b"goo", udp[1].getsockname())


@proves("loop.sock_recvfrom_into", "sock buf nbytes")
def test_sock_recvfrom_into(run, loop, udp):
    buffer = bytearray(9)
    udp[1].sendto(b"goods", udp[0].getsockname())
    assert run(loop.sock_recvfrom_into(udp[0], buffer, 3)) == (3, udp[1].getsockname())
    assert buffer == b"goo" + bytes(6)


@proves("loop.sock_accept", "sock")
@proves("loop.sock_connect", "sock address")
def test_accept_and_connect(run, loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            accepted, address = await loop.sock_accept(listener)
            with accepted:
                assert address == client.getsockname()
                assert accepted.gettimeout() == 0

    run(main())


@proves("loop.sock_sendfile", "sock file offset count")
def test_sock_sendfile(run, loop, pair, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with open(tmp_path / "f", "rb") as file:
        assert run(loop.sock_sendfile(pair[0], file, 2, 5)) == 5
        assert file.tell() == 7
    assert pair[1].recv(99) == b"23456"


@proves("loop.sock_sendfile", "fallback")
def test_sock_sendfile_fallback(run, loop, pair):
    import io

    with pytest.raises(asyncio.SendfileNotAvailableError):
        run(loop.sock_sendfile(pair[0], io.BytesIO(b"goods"), fallback=False))
    assert run(loop.sock_sendfile(pair[0], io.BytesIO(b"goods"), fallback=True)) == 5
    assert pair[1].recv(99) == b"goods"


@proves("loop.getaddrinfo", "host port family type proto flags")
def test_getaddrinfo(run, loop):
    chosen = dict(family=socket.AF_INET, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST)
    found = run(loop.getaddrinfo("127.0.0.1", 80, **chosen))
    assert found == socket.getaddrinfo("127.0.0.1", 80, **chosen)
    with pytest.raises(socket.gaierror):
        run(loop.getaddrinfo("localhost", 80, **chosen))


@proves("loop.getnameinfo", "sockaddr flags")
def test_getnameinfo(run, loop):
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert run(loop.getnameinfo(("127.0.0.1", 80), flags)) == ("127.0.0.1", "80")


@proves("loop.connect_read_pipe", "protocol_factory pipe")
@proves("BaseTransport.get_extra_info", "name pipe")
def test_read_pipe(run, loop, Peer_):
    async def main():
        read, write = os.pipe()
        pipe = open(read, "rb", 0)
        transport, peer = await loop.connect_read_pipe(Peer_, pipe)
        assert transport.get_extra_info("pipe") is pipe
        os.write(write, b"goods")
        assert await peer.receive(5) == b"goods"
        os.close(write)
        assert await peer.lost is None

    run(main())


@proves("loop.connect_write_pipe", "protocol_factory pipe")
def test_write_pipe(run, loop, Peer_):
    async def main():
        read, write = os.pipe()
        transport, peer = await loop.connect_write_pipe(Peer_, open(write, "wb", 0))
        transport.write(b"goods")
        transport.close()
        await peer.lost
        assert os.read(read, 99) == b"goods"
        os.close(read)

    run(main())
