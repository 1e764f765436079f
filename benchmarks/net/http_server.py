"""HTTP servers of others on the loop: aiohttp's, and uvicorn with a bare ASGI application and with Starlette."""

import asyncio
import contextlib

from net.echo import Listening

from net import load

BODY = "Hello, world!"


class HttpServer(Listening):
    """GET requests answered by a short text.

    Args:
        name, title: as for Case.
        serve: async context manager called with a listening socket; serves it while it is open.
        packages: as of Case.
    """

    floor_kind, floor_size = "http", len(BODY)

    def __init__(self, name, title, serve, packages):
        super().__init__(name, title, "a GET request answered by a short text, 16 connections that stay")
        self.serve = serve
        self.packages = packages

    def drive(self, port, seconds, operations, pid=None):
        return load.drive(port, len(BODY), seconds, operations, self.load_core, kind="http", pid=pid)


@contextlib.asynccontextmanager
async def serve_aiohttp(listening):
    from aiohttp import web

    async def hello(request):
        return web.Response(text=BODY)

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serve_uvicorn(application, listening):
    import uvicorn

    config = uvicorn.Config(application, loop="none", http="httptools", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        if serving.done():
            raise RuntimeError("uvicorn did not start") from serving.exception()
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def bare(scope, receive, send):
    """The ASGI application that does no more than it must."""
    assert scope["type"] == "http"
    body = BODY.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def starlette():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def hello(request):
        return PlainTextResponse(BODY)

    return Starlette(routes=[Route("/", hello)])


aiohttp = HttpServer("http_server.aiohttp", "aiohttp server", serve_aiohttp, ["aiohttp"])
asgi = HttpServer(
    "http_server.asgi",
    "uvicorn, bare ASGI",
    lambda listening: serve_uvicorn(bare, listening),
    ["uvicorn", "httptools"],
)
asgi_starlette = HttpServer(
    "http_server.starlette",
    "uvicorn, Starlette",
    lambda listening: serve_uvicorn(starlette(), listening),
    ["uvicorn", "httptools", "starlette"],
)
