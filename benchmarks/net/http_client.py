"""aiohttp's client, many requests at the same time, to a server in C."""

import asyncio

from net.echo import listen
from net.network import peered

from net import floor

URLS = 200
BODY = 1024  # bytes


@peered(
    "aiohttp client, gather of 200",
    operation=f"one of {URLS} URLs fetched by asyncio.gather(), {BODY} bytes each",
    batch=URLS,
    packages=["aiohttp"],
    build=floor.build,
)
def aiohttp(loop, core):
    from aiohttp import ClientSession

    async def open_session():
        return ClientSession()

    async def fetch(url):
        async with session.get(url) as response:
            assert len(await response.read()) == BODY

    async def work(count):
        for _ in range(count // URLS):
            await asyncio.gather(*map(fetch, urls))

    listening = listen()
    urls = [f"http://127.0.0.1:{listening.getsockname()[1]}/{number}" for number in range(URLS)]
    with floor.serving("http", listening, BODY, core):
        session = loop.run_until_complete(open_session())
        yield work
        loop.run_until_complete(session.close())
