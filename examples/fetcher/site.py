"""A web site of generated pages, served by aiohttp from a process of its own.

Like the web it is not perfect: some pages are slow, some answer 503 to the first request, some are gone.
"""

import asyncio
import contextlib
import random
import time

from aiohttp import web
from loops import run

from .children import SPAWN, deaf_to_ctrl_c

WORDS = "loop task future socket page thread queue signal timer await reader writer packet server client".split()
WORDS_PER_PAGE = 150
LINKS_PER_PAGE = 6
SLOW_SECONDS = 0.1


def is_slow(number):
    return number % 50 == 0


def is_flaky(number):
    return number % 25 == 7


def site_map(pages):
    """Return the paths of all pages and, for every hundred, one that the site names but does not have."""
    return [f"/page/{number}" for number in range(pages)] + [f"/gone/{number}" for number in range(0, pages, 100)]


def make_page(number, pages):
    """Return the HTML of a page; the same number always gives the same page."""
    dice = random.Random(number)
    text = " ".join(dice.choices(WORDS, k=WORDS_PER_PAGE))
    others = dice.choices(range(pages), k=LINKS_PER_PAGE)
    links = [f'<li><a href="/page/{other}">page {other}</a></li>' for other in others]
    return (
        f"<!doctype html><html><head><title>Page {number}</title></head><body>"
        f"<h1>Page {number}</h1><p>{text}</p><ul>{''.join(links)}</ul></body></html>"
    )


def make_app(pages):
    """Return the aiohttp application."""
    bodies = [make_page(number, pages) for number in range(pages)]
    asked_before = set()
    routes = web.RouteTableDef()

    @routes.get(r"/page/{number:\d+}")
    async def get_page(request):
        number = int(request.match_info["number"])
        if number >= pages:
            raise web.HTTPNotFound
        if is_slow(number):
            await asyncio.sleep(SLOW_SECONDS)
        if is_flaky(number) and number not in asked_before:
            asked_before.add(number)
            raise web.HTTPServiceUnavailable
        return web.Response(text=bodies[number], content_type="text/html")

    app = web.Application()
    app.add_routes(routes)
    return app


async def serve_until_told(pages, pipe):
    """Serve, tell the port through the pipe, stop when the other end writes or closes, tell the CPU seconds used."""
    runner = web.AppRunner(make_app(pages), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cpu_before = time.process_time()
    pipe.send(runner.addresses[0][1])

    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(pipe.fileno(), told.set)
    await told.wait()
    loop.remove_reader(pipe.fileno())

    with contextlib.suppress(OSError):  # the parent may be gone: that was its way of telling us
        pipe.send(time.process_time() - cpu_before)
    await runner.cleanup()


def process_main(loop_name, pages, pipe):
    run(serve_until_told(pages, pipe), loop_name)


class Site:
    """The site as its client sees it: `async with Site(loop_name, pages) as site`."""

    def __init__(self, loop_name, pages):
        self.pipe, self.far_end = SPAWN.Pipe()
        self.process = SPAWN.Process(target=process_main, args=(loop_name, pages, self.far_end), daemon=True)
        self.pages = pages
        self.urls = []
        self.cpu_seconds = 0.0

    async def __aenter__(self):
        with deaf_to_ctrl_c():
            self.process.start()
        self.far_end.close()  # now the child alone holds it, so its death is an end of file here
        port = await asyncio.to_thread(self.pipe.recv)
        self.urls = [f"http://127.0.0.1:{port}{path}" for path in site_map(self.pages)]
        return self

    async def __aexit__(self, *exc_info):
        self.pipe.send("stop")
        self.cpu_seconds = await asyncio.to_thread(self.pipe.recv)
        await asyncio.to_thread(self.process.join)
        self.pipe.close()
