"""aiohttp, uvicorn and websockets over TLS."""

import asyncio
import contextlib
import io
import ssl

import pytest


async def serve_aiohttp(tls):
    web = pytest.importorskip("aiohttp.web")

    async def answer(request):
        body = await request.read()
        return web.Response(body=body or b"x" * int(request.query.get("size", 5)))

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for i in range(100):
            await response.write(b"%d\n" % i * 100)
        return response

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/", answer)
    app.router.add_get("/stream", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server)
    await site.start()
    return runner, site._server.sockets[0].getsockname()[1]


def test_aiohttp(run, tls):
    aiohttp = pytest.importorskip("aiohttp")

    async def main():
        runner, port = await serve_aiohttp(tls)
        url = f"https://localhost:{port}/"
        try:
            connector = aiohttp.TCPConnector(ssl=tls.client)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def get(size):
                    async with session.get(url, params={"size": size}) as response:
                        return len(await response.read())

                sizes = [1, 100, 20_000, 1_000_000] * 10
                assert await asyncio.gather(*map(get, sizes)) == sizes
                body = bytes(range(256)) * 20_000
                async with session.post(url, data=io.BytesIO(body)) as response:
                    assert await response.read() == body
                async with session.get(url + "stream") as response:
                    assert len(await response.read()) == sum(len(b"%d\n" % i) * 100 for i in range(100))
            untrusting = aiohttp.TCPConnector(ssl=ssl.create_default_context())
            async with aiohttp.ClientSession(connector=untrusting) as session:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await session.get(url)
        finally:
            await runner.cleanup()

    run(main())


async def asgi(scope, receive, send):
    assert scope["type"] == "http" and scope["scheme"] == "https"
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode(), "more_body": True})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_uvicorn(run, tls, http):
    uvicorn = pytest.importorskip("uvicorn")
    aiohttp = pytest.importorskip("aiohttp")
    pytest.importorskip(http)

    async def main():
        config = uvicorn.Config(
            asgi, port=0, http=http, lifespan="off", log_level="error", ssl_certfile=tls.cert, ssl_keyfile=tls.key
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls.client)) as session:

                async def post(i):
                    async with session.post(f"https://localhost:{port}/{i}", data=b"y" * i) as response:
                        return await response.read()

                sizes = [0, 1, 1000, 100_000] * 10
                assert await asyncio.gather(*map(post, sizes)) == [b"/%d" % i + b"y" * i for i in sizes]
        finally:
            server.should_exit = True
            await serving

    run(main())


def test_websockets(run, tls):
    client = pytest.importorskip("websockets.asyncio.client")
    server = pytest.importorskip("websockets.asyncio.server")

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def talk(port, i):
        async with client.connect(f"wss://localhost:{port}", ssl=tls.client, proxy=None) as connection:
            for size in (1, 1000, 200_000):
                message = bytes([i]) * size
                await connection.send(message)
                assert await connection.recv() == message
            await (await connection.ping())

    async def main():
        async with server.serve(echo, "127.0.0.1", 0, ssl=tls.server) as serving:
            port = serving.sockets[0].getsockname()[1]
            await asyncio.gather(*[talk(port, i) for i in range(20)])

    run(main())
