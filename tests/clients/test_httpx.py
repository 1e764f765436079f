"""httpx's AsyncClient, asking an application that uvicorn serves on the same loop, in the clear and over TLS."""

import asyncio
import contextlib
import ssl

import pytest

from .asgi_apps import make_starlette

pytest.importorskip("h11")
pytest.importorskip("starlette")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")


@contextlib.asynccontextmanager
async def serving(**options):
    """uvicorn for the length of the block; the port."""
    config = uvicorn.Config(make_starlette(), port=0, http="h11", ws="none", log_level="critical", **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests(run, kind, tls, scheme):
    async def main():
        files = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)} if scheme == "https" else {}
        trusting = ssl.create_default_context(cafile=str(tls.cert))  # httpx sets its protocols in it
        async with serving(**files) as port:
            base = f"{scheme}://localhost:{port}"
            limits = httpx.Limits(max_connections=5)
            options = {"base_url": base, "verify": trusting, "trust_env": False, "timeout": 20, "limits": limits}
            async with httpx.AsyncClient(**options) as client:
                answers = await asyncio.gather(*[client.get(f"/hello/x{i}") for i in range(40)])
                expected = {"loop": kind, "started_on": kind}
                assert [answer.json() for answer in answers] == [expected | {"hello": f"X{i}"} for i in range(40)]
                assert (await client.get("/nowhere")).status_code == 404

                async def body():
                    for i in range(100):
                        await asyncio.sleep(0)
                        yield b"%05d" % i * 2000

                async with client.stream("POST", "/twice", content=body()) as answer:
                    received = b"".join([chunk async for chunk in answer.aiter_bytes()])
                assert received == b"".join([b"%05d" % i * 2000 for i in range(100)]) * 2

    run(main())


def test_a_server_that_is_not_trusted(run, loop, reports, tls):
    async def main():
        async with serving(ssl_certfile=str(tls.cert), ssl_keyfile=str(tls.key)) as port:
            async with httpx.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(f"https://localhost:{port}/hello/ada")

    run(main())
    # In debug mode the server's side is reported.
    expected = ["Error on transport creation for incoming connection"] if loop.get_debug() else []
    assert [report["message"] for report in reports()] == expected


def test_timeouts_and_refusals(run):
    async def main():
        asked = asyncio.Event()

        async def silent(reader, writer):
            if b"/cancelled" in await reader.readuntil(b"\r\n\r\n"):
                asked.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(20, read=0.05)) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"http://127.0.0.1:{port}/")
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/cancelled", timeout=20))
            await asked.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            server.close()
            await server.wait_closed()
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")

    run(main())


def test_an_application_asked_without_a_network(run, kind):
    async def main():
        app = make_starlette()
        async with app.router.lifespan_context(app) as state:
            transport = httpx.ASGITransport(lambda scope, *rest: app({**scope, "state": state}, *rest))
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                assert (await client.get("/hello/ada")).json()["loop"] == kind

    run(main())
