"""hypercorn: its serve() on a running loop, HTTP/1, HTTP/2 over TLS and websockets; and its command line."""

import asyncio
import http.client
import json
import socket
import ssl
import sys
from pathlib import Path

import pytest

from .asgi_apps import make_starlette
from .conftest import accepts, end, environment, free_port, running

pytest.importorskip("starlette")
httpx = pytest.importorskip("httpx")
websockets = pytest.importorskip("websockets.asyncio.client")
Config = pytest.importorskip("hypercorn.config").Config
serve = pytest.importorskip("hypercorn.asyncio").serve


def test_serve(run, kind, tls, capfd):
    async def ask(client, url, version):
        answer = await client.get(f"{url}/hello/ada")
        assert answer.json() == {"loop": kind, "started_on": kind, "hello": "Ada"}
        assert answer.http_version == version
        data = bytes(range(256)) * 500
        answer = await client.post(f"{url}/twice", content=data)
        assert answer.content == data * 2

    async def talk(url, **options):
        async with websockets.connect(f"{url}/talk", proxy=None, **options) as websocket:
            assert await websocket.recv() == kind
            await websocket.send("x" * 100_000)
            assert await websocket.recv() == "X" * 100_000

    async def main():
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        plain, secure = [f"{sock.getsockname()[0]}:{sock.getsockname()[1]}" for sock in listeners]
        config = Config()
        config.bind = [f"fd://{listeners[1].detach()}"]
        config.insecure_bind = [f"fd://{listeners[0].detach()}"]
        config.certfile, config.keyfile = str(tls.cert), str(tls.key)
        config.accesslog = config.errorlog = None

        over = asyncio.Event()
        serving = asyncio.create_task(serve(make_starlette(), config, shutdown_trigger=over.wait))
        trusting = ssl.create_default_context(cafile=str(tls.cert))  # httpx sets its protocols in it
        async with httpx.AsyncClient(trust_env=False, verify=trusting, http2=True, timeout=20) as client:
            await asyncio.gather(
                *[ask(client, f"http://{plain}", "HTTP/1.1") for _ in range(4)],
                *[ask(client, f"https://{secure}", "HTTP/2") for _ in range(4)],
                talk(f"ws://{plain}"),
                talk(f"wss://{secure}", ssl=tls.client),
            )
        over.set()
        await serving

    run(main())
    assert f"ended on {kind}\n" in capfd.readouterr().out


def test_the_command_line(kind):
    port = free_port()
    command = [sys.executable, *(["-m", "asyncloop"] if kind == "asyncloop" else []), "-m", "hypercorn"]
    # Without a worker of its own, which would be a process that knows nothing of our command line.
    command += ["--workers", 0, "--bind", f"127.0.0.1:{port}", "asgi_apps:make_starlette()"]
    with running(command, accepts(port), env=environment(), cwd=Path(__file__).parent) as process:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/hello/ada")
        assert json.load(connection.getresponse()) == {"loop": kind, "started_on": kind, "hello": "Ada"}
        connection.close()
        printed = end(process)
    assert process.returncode == 0
    assert f"ended on {kind}\n" in printed
