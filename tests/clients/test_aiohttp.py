"""aiohttp, client and server, with real traffic."""

import asyncio
import io
import socket

import pytest

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")


async def hello(request):
    return web.Response(text=f"hello {request.match_info['name']}")


async def echo(request):
    return web.Response(body=await request.read())


async def count_upload(request):
    n = 0
    async for chunk in request.content.iter_chunked(65536):
        n += len(chunk)
    return web.json_response({"bytes": n})


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for i in range(50):
        await response.write(b"%05d" % i * 1000)
    await response.write_eof()
    return response


async def failing(request):
    raise ZeroDivisionError


async def websocket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data.upper())
        else:
            await ws.send_bytes(message.data)
    return ws


@pytest.fixture
def site(run):
    """The address of a web site on 127.0.0.1, closed after the test."""
    over = asyncio.Event()

    async def slow(request):
        await over.wait()
        return web.Response()

    app = web.Application(client_max_size=1 << 26)
    app.router.add_get("/hello/{name}", hello)
    app.router.add_post("/echo", echo)
    app.router.add_post("/count", count_upload)
    app.router.add_get("/stream", stream)
    app.router.add_get("/slow", slow)
    app.router.add_get("/failing", failing)
    app.router.add_get("/ws", websocket)

    async def start():
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = run(start())
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}"
    over.set()
    run(runner.cleanup())
    run(asyncio.sleep(0.01))


def test_many_requests_over_kept_connections(run, site):
    async def main():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:

            async def get(i):
                async with session.get(f"{site}/hello/{i}") as response:
                    assert response.status == 200
                    return await response.text()

            return await asyncio.gather(*[get(i) for i in range(300)])

    assert run(main()) == [f"hello {i}" for i in range(300)]


def test_large_bodies_both_ways(run, site):
    body = bytes(range(256)) * 20_000

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{site}/echo", data=io.BytesIO(body)) as response:
                return await response.read()

    assert run(main()) == body


def test_upload_from_an_async_generator(run, site):
    async def pieces():
        for _ in range(100):
            yield bytes(30_000)

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{site}/count", data=pieces()) as response:
                return await response.json()

    assert run(main()) == {"bytes": 3_000_000}


def test_streamed_response(run, site):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{site}/stream") as response:
                return b"".join([chunk async for chunk in response.content.iter_any()])

    assert run(main()) == b"".join(b"%05d" % i * 1000 for i in range(50))


def test_timeout_of_the_client(run, site):
    async def main():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.05)) as session:
            with pytest.raises(asyncio.TimeoutError):
                await session.get(f"{site}/slow")

    run(main())


def test_cancelled_request_leaves_the_session_usable(run, site):
    async def main():
        async with aiohttp.ClientSession() as session:
            task = asyncio.create_task(session.get(f"{site}/slow"))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.wait([task])
            async with session.get(f"{site}/hello/again") as response:
                return await response.text()

    assert run(main()) == "hello again"


def test_failing_handler_is_a_500(run, site, caplog):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{site}/failing") as response:
                return response.status

    assert run(main()) == 500
    assert "ZeroDivisionError" in caplog.text


def test_refused_connection(run, site, unused_address):
    async def main():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(unused_address)

    run(main())


def test_websocket(run, site):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{site}/ws") as ws:
                for i in range(50):
                    await ws.send_str(f"message {i}")
                    assert await ws.receive_str() == f"MESSAGE {i}"
                await ws.send_bytes(bytes(500_000))
                assert await ws.receive_bytes() == bytes(500_000)

    run(main())


@pytest.fixture
def unused_address():
    """An address of 127.0.0.1 that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
