"""aioquic: QUIC over our UDP."""

import asyncio

import pytest

pytest.importorskip("aioquic", reason="aioquic is not installed")
quic = pytest.importorskip("aioquic.asyncio", reason="aioquic is not installed")
configuration = pytest.importorskip("aioquic.quic.configuration", reason="aioquic is not installed")


def test_streams(run, tls):
    async def main():
        server_options = configuration.QuicConfiguration(is_client=False, alpn_protocols=["echo"])
        server_options.load_cert_chain(tls.cert, tls.key)
        client_options = configuration.QuicConfiguration(alpn_protocols=["echo"], server_name="localhost")
        client_options.load_verify_locations(str(tls.cert))
        answering = set()

        async def answer(reader, writer):
            writer.write((await reader.read()).upper())
            writer.write_eof()

        def on_stream(reader, writer):
            task = asyncio.ensure_future(answer(reader, writer))
            answering.add(task)
            task.add_done_callback(answering.discard)

        server = await quic.serve("127.0.0.1", 0, configuration=server_options, stream_handler=on_stream)
        port = server._transport.get_extra_info("sockname")[1]
        try:
            async with quic.connect("127.0.0.1", port, configuration=client_options) as client:

                async def ask(size):
                    reader, writer = await client.create_stream()
                    writer.write(b"x" * size)
                    writer.write_eof()
                    return len(await reader.read())

                sizes = [1, 1000, 100_000, 300_000] * 3
                assert await asyncio.gather(*map(ask, sizes)) == sizes
                await client.ping()
        finally:
            server.close()

    run(main())
