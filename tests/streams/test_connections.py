"""open_connection(), start_server() and their like for Unix sockets: asyncio's, whose streams are asyncloop's."""

import asyncio
import contextlib
import inspect
import ssl

import pytest
import stock

import asyncloop

KINDS_OF_SOCKET = ["tcp", "unix"]


@pytest.fixture(params=KINDS_OF_SOCKET)
def network(request, streams, tmp_path):
    """network(callback, **options) -> (server, open(**options)): coroutine functions, on one kind of socket."""

    @contextlib.asynccontextmanager
    async def network(callback, **options):
        if request.param == "tcp":
            server = await streams.start_server(callback, "127.0.0.1", 0, **options)
            address = server.sockets[0].getsockname()

            def connect(**options):
                return streams.open_connection(*address, **options)

        else:
            path = str(tmp_path / "socket")
            server = await streams.start_unix_server(callback, path, **options)

            def connect(**options):
                return streams.open_unix_connection(path, **options)

        try:
            yield server, connect
        finally:
            server.close()

    return network


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_signatures():
    for name in "open_connection", "start_server", "open_unix_connection", "start_unix_server":
        ours, theirs = (inspect.signature(getattr(module, name)) for module in (asyncloop, asyncio))
        assert list(ours.parameters) == list(theirs.parameters)
        assert [p.kind for p in ours.parameters.values()] == [p.kind for p in theirs.parameters.values()]
        assert [p.default for p in ours.parameters.values()] == [p.default for p in theirs.parameters.values()]


def test_classes(streams, network, run):
    seen = []

    async def main():
        async def callback(reader, writer):
            seen.extend([type(reader), type(writer), type(writer._protocol)])
            writer.close()

        async with network(callback) as (_, connect):
            reader, writer = await connect(limit=100)
            assert reader._limit == 100
            assert await reader.read() == b""
            seen.extend([type(reader), type(writer), type(writer._protocol)])
            writer.close()
            await writer.wait_closed()

    run(main())
    assert seen == [streams.StreamReader, streams.StreamWriter, streams.StreamReaderProtocol] * 2


def test_echo(network, run):
    data = bytes(range(256)) * 4000

    async def main():
        async with network(echo) as (_, connect):
            reader, writer = await connect()

            async def send():
                for start in range(0, len(data), 50_000):
                    writer.write(data[start : start + 50_000])
                    await writer.drain()
                writer.write_eof()

            sending = asyncio.ensure_future(send())
            head = await reader.readexactly(1000)
            assert head + await reader.read() == data
            await sending
            writer.close()
            await writer.wait_closed()

    run(main())


def test_lines(network, run):
    async def main():
        async def answer(reader, writer):
            async for line in reader:
                writer.writelines([b"> ", line])
                await writer.drain()
            writer.close()

        async with network(answer, limit=1000) as (_, connect):
            reader, writer = await connect()
            for i in range(50):
                writer.write(b"%d\n" % i * 3)
            for i in range(150):
                assert await reader.readline() == b"> %d\n" % (i // 3)
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_slow_reader_stops_the_peer(network, run):
    async def main():
        sent = 0

        async def flood(reader, writer):
            nonlocal sent
            while sent < 20_000_000:
                writer.write(bytes(100_000))
                await writer.drain()
                sent += 100_000
            writer.close()

        async with network(flood) as (_, connect):
            reader, writer = await connect(limit=1000)
            await asyncio.sleep(0.1)
            assert sent < 20_000_000
            assert len(reader._buffer) < 1_000_000
            received = 0
            while data := await reader.read(65536):
                received += len(data)
            assert received == 20_000_000
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_plain_callback(network, run):
    async def main():
        def callback(reader, writer):
            writer.write(b"hello")
            writer.close()

        async with network(callback) as (_, connect):
            reader, writer = await connect()
            assert await reader.read() == b"hello"
            writer.close()

    run(main())


@pytest.mark.skipif(not stock.STREAMS_REPORT, reason="asyncio's own protocol does not, and ours runs its code")
def test_a_callback_that_fails(network, run, reports):
    async def main():
        async def callback(reader, writer):
            raise OSError("mine")

        async with network(callback) as (_, connect):
            reader, writer = await connect()
            assert await reader.read() == b""
            writer.close()

    run(main())
    [report] = reports()
    assert report["message"] == "Unhandled exception in client_connected_cb"
    assert str(report["exception"]) == "mine"


def test_a_reset(run, streams, loop):
    async def main():
        async def callback(reader, writer):
            await reader.read(1)
            writer.transport.abort()

        server = await streams.start_server(callback, "127.0.0.1", 0)
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
        writer.write(b"xyz" * 100)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        with pytest.raises(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        server.close()

    run(main())


def test_no_running_loop(streams):
    coroutine = streams.open_connection("127.0.0.1", 1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_tls(run, streams, certificate):
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate)
    client_context = ssl.create_default_context(cafile=certificate)
    client_context.check_hostname = False

    async def main():
        async def upgrade(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.start_tls(server_context)
            await echo(reader, writer)

        plain = await streams.start_server(upgrade, "127.0.0.1", 0)
        reader, writer = await streams.open_connection(*plain.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        writer.write(b"secret\n" * 1000)
        assert await reader.readexactly(7000) == b"secret\n" * 1000
        writer.close()
        await writer.wait_closed()
        plain.close()

        server = await streams.start_server(echo, "127.0.0.1", 0, ssl=server_context)
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname(), ssl=client_context)
        writer.write(b"x" * 300_000)
        assert await reader.readexactly(300_000) == b"x" * 300_000
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())
