"""asyncio's streams over our transports: readers, writers, flow control, and many connections at once."""

import asyncio
import random
import re
import socket

import pytest


@pytest.fixture
def serve(loop, run):
    """serve(handler, ...) -> the address of a stream server, closed after the test together with its connections."""
    servers, tasks = [], set()

    def serve(handler, **options):
        async def handle(reader, writer):
            tasks.add(asyncio.current_task())
            try:
                await handler(reader, writer)
            finally:
                writer.close()

        server = run(asyncio.start_server(handle, "127.0.0.1", 0, **options))
        servers.append(server)
        return server.sockets[0].getsockname()

    yield serve
    for server in servers:
        server.close()
    if tasks:
        run(asyncio.wait(tasks))
    run(asyncio.sleep(0))


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def finish(writer):
    writer.close()
    await writer.wait_closed()


class TestReading:
    def test_lines(self, run, serve):
        async def send(reader, writer):
            writer.write(b"one\ntwo\nthree")

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            lines = [line async for line in reader]
            assert reader.at_eof()
            await finish(writer)
            return lines

        address = serve(send)
        assert run(main()) == [b"one\n", b"two\n", b"three"]

    def test_exactly_and_the_rest(self, run, serve):
        async def send(reader, writer):
            for i in range(100):
                writer.write(bytes([i]))
                if i % 10 == 0:
                    await asyncio.sleep(0)

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            first = await reader.readexactly(37)
            rest = await reader.read()
            await finish(writer)
            return first, rest

        address = serve(send)
        assert run(main()) == (bytes(range(37)), bytes(range(37, 100)))

    def test_until_a_separator_cut_in_two(self, run, serve):
        async def send(reader, writer):
            writer.write(b"head\r\n\r")
            await asyncio.sleep(0.01)
            writer.write(b"\nbody")

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
            await finish(writer)
            return head, body

        address = serve(send)
        assert run(main()) == (b"head\r\n\r\n", b"body")

    def test_too_little_is_an_incomplete_read(self, run, serve):
        async def send(reader, writer):
            writer.write(b"short")

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(asyncio.IncompleteReadError) as info:
                await reader.readexactly(10)
            await finish(writer)
            return info.value.partial, info.value.expected

        address = serve(send)
        assert run(main()) == (b"short", 10)

    def test_beyond_the_limit_is_an_overrun(self, run, serve):
        async def send(reader, writer):
            writer.write(bytes(1000) + b"\n")
            await reader.read()

        async def main():
            reader, writer = await asyncio.open_connection(*address, limit=100)
            with pytest.raises(asyncio.LimitOverrunError):
                await reader.readuntil(b"\n")
            assert await reader.readexactly(1001) == bytes(1000) + b"\n"
            await finish(writer)

        address = serve(send)
        run(main())

    def test_a_small_limit_holds_the_sender_back(self, run, serve):
        """The reader pauses its transport, the kernel's buffers fill, and drain() waits on the other side."""
        sent = 0

        async def send(reader, writer):
            nonlocal sent
            try:
                while True:
                    writer.write(bytes(100_000))
                    await writer.drain()
                    sent += 100_000
            except ConnectionError:
                pass

        async def main():
            reader, writer = await asyncio.open_connection(*address, limit=1000)
            await asyncio.sleep(0.05)
            held = sent
            await asyncio.sleep(0.05)
            assert sent == held  # nobody reads: nothing moves
            while sent < held + 3_000_000:
                await reader.read(1_000_000)
            writer.transport.abort()

        address = serve(send)
        run(main())

    def test_cancelled_loses_nothing(self, run, serve):
        async def main():
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reader.readexactly(4), 0.01)
            writer.write(b"abcd")
            assert await reader.readexactly(4) == b"abcd"
            await finish(writer)

        address = serve(echo)
        run(main())

    def test_reset_by_the_peer_raises(self, run, serve):
        async def reset(reader, writer):
            await reader.read(1)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            with pytest.raises(ConnectionResetError):
                await writer.drain()
            with pytest.raises(ConnectionResetError):
                await finish(writer)

        address = serve(reset)
        run(main())


class TestWriting:
    def test_end_of_file_leaves_reading_open(self, run, serve):
        async def answer(reader, writer):
            writer.write((await reader.read()).upper())

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            assert writer.can_write_eof()
            writer.writelines([b"one ", b"two"])
            writer.write_eof()
            answer = await reader.read()
            await finish(writer)
            return answer

        address = serve(answer)
        assert run(main()) == b"ONE TWO"

    def test_much_both_ways_at_once(self, run, serve):
        data = random.Random(7).randbytes(10_000_000)

        async def write(writer):
            for i in range(0, len(data), 100_000):
                writer.write(data[i : i + 100_000])
                await writer.drain()
            writer.write_eof()

        async def main():
            reader, writer = await asyncio.open_connection(*address)
            writing = asyncio.create_task(write(writer))
            received = await reader.read()
            await writing
            await finish(writer)
            return received

        address = serve(echo)
        assert run(main()) == data

    def test_to_a_closed_connection_fails_on_drain(self, run, serve):
        async def main():
            _, writer = await asyncio.open_connection(*address)
            await finish(writer)
            assert writer.is_closing()
            writer.write(b"x")
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()

        address = serve(echo)
        run(main())

    def test_extra_info_comes_from_the_transport(self, run, serve):
        async def main():
            _, writer = await asyncio.open_connection(*address)
            assert writer.get_extra_info("peername") == address
            assert isinstance(writer.transport, asyncio.Transport)
            await finish(writer)

        address = serve(echo)
        run(main())


def test_500_connections_at_once(run, serve):
    async def ask(i):
        reader, writer = await asyncio.open_connection(*address)
        for j in range(3):
            writer.write(b"%d %d\n" % (i, j))
            assert await reader.readline() == b"%d %d\n" % (i, j)
        await finish(writer)

    async def main():
        await asyncio.gather(*[ask(i) for i in range(500)])

    address = serve(echo, backlog=1000)
    run(main())


def test_toy_http_server(run, serve):
    """Requests with bodies and keep-alive, pipelined, each answered with what it said."""

    async def http(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            body = await reader.readexactly(length)
            answer = head.split()[1] + b" " + body
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
            if b"Connection: close" in head:
                break

    async def client(i):
        reader, writer = await asyncio.open_connection(*address)
        rng = random.Random(i)
        bodies = [rng.randbytes(rng.choice([0, 5, 20_000])) for _ in range(20)]
        for j, body in enumerate(bodies):
            close = b"Connection: close\r\n" if j == 19 else b""
            writer.write(b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n" % (j, len(body), close) + body)
        for j, body in enumerate(bodies):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            assert await reader.readexactly(length) == b"/%d " % j + body
        assert await reader.read() == b""
        await finish(writer)

    async def main():
        await asyncio.gather(*[client(i) for i in range(20)])

    address = serve(http)
    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_random_chunks_arrive_as_sent(run, serve, seed):
    rng = random.Random(seed)
    chunks = [rng.randbytes(rng.choice([1, 7, 900, 30_000, 250_000])) for _ in range(100)]
    expected = b"".join(chunks)

    async def write(writer):
        for chunk in chunks:
            if rng.random() < 0.3:
                writer.writelines([chunk[:5], chunk[5:]] if len(chunk) > 5 else [chunk])
            else:
                writer.write(chunk)
            if rng.random() < 0.5:
                await writer.drain()
            if rng.random() < 0.1:
                await asyncio.sleep(0)

    async def read(reader):
        received = bytearray()
        while len(received) < len(expected):
            left = len(expected) - len(received)
            if rng.random() < 0.5:
                received += await reader.read(rng.choice([1, 1000, 500_000]))
            else:
                received += await reader.readexactly(min(left, rng.choice([1, 1000, 60_000])))
        return bytes(received)

    async def main():
        reader, writer = await asyncio.open_connection(*address)
        writing = asyncio.create_task(write(writer))
        received = await read(reader)
        await writing
        await finish(writer)
        return received

    address = serve(echo)
    assert run(main()) == expected
