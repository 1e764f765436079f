"""The whole job on one loop: fetch all pages, parse them beside it, store them."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import aiohttp

from .children import SPAWN, deaf_to_ctrl_c
from .download import Downloader, PageError
from .parse import parse_pages
from .site import Site
from .store import Store

BATCH = 50  # pages that go to the parser and into the database together
TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds, for one request


@dataclass
class Result:
    """What became of the job; plain values only, so that it can travel as JSON."""

    pages: int = 0
    requests: int = 0
    retries: int = 0
    errors: dict[str, str] = field(default_factory=dict)  # URL -> why it could not be had
    seconds: float = 0.0  # from the first request until the last page was stored
    cpu_seconds: float = 0.0  # of this process, and of the local site's, in that time

    @property
    def rate(self):
        """Requests per second."""
        return self.requests / self.seconds


class Job:
    """One run over many URLs; the parts that do the work are given to it."""

    def __init__(self, downloader, parsers, store, bar):
        self.downloader = downloader
        self.parsers = parsers
        self.store = store
        self.bar = bar
        self.result = Result()
        self.batch = []

    async def run(self, urls):
        """Fetch, parse and store all of `urls`; return the Result."""
        started, cpu_before = time.perf_counter(), time.process_time()
        self.bar.reset(len(urls))
        # One task for each page. They all exist at once; the downloader's semaphore lets only some of them ask.
        await asyncio.gather(*(self.fetch(url) for url in urls))
        await self.save_batch()
        self.result.requests = self.downloader.requests
        self.result.retries = self.downloader.retries
        self.result.seconds = time.perf_counter() - started
        self.result.cpu_seconds = time.process_time() - cpu_before
        return self.result

    async def fetch(self, url):
        try:
            page = await self.downloader.get(url)
        except PageError as error:
            self.result.errors[url] = str(error)
        else:
            self.batch.append(page)
            if len(self.batch) >= BATCH:
                await self.save_batch()
        self.bar.update()

    async def save_batch(self):
        # The others go on fetching while this batch is parsed: take it and leave them a new list, before any await.
        pages, self.batch = self.batch, []
        sources = [(page.url, page.html) for page in pages]
        facts = await asyncio.get_running_loop().run_in_executor(self.parsers, parse_pages, sources)
        await self.store.add(pages, facts)
        self.result.pages += len(pages)


async def run_on_site(loop_name, pages, **settings):
    """Fetch a local site of so many pages, served by a process on the same kind of loop; settings: see run_on_urls."""
    async with Site(loop_name, pages) as site:
        result = await run_on_urls(site.urls, **settings)
    result.cpu_seconds += site.cpu_seconds
    return result


async def run_on_urls(urls, *, directory, concurrency, workers, bar):
    """Fetch `urls` into `directory` and return the Result.

    concurrency  requests at a time
    workers      processes that parse
    bar          a tqdm progress bar
    """
    # limit=0: the semaphore is the limit, a second one in aiohttp's connection pool would only hide it.
    connector = aiohttp.TCPConnector(limit=0)
    with ProcessPoolExecutor(workers, SPAWN) as parsers:
        await start_all(parsers, workers)
        async with Store(directory) as store, aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            return await Job(Downloader(session, concurrency), parsers, store, bar).run(urls)


async def start_all(parsers, workers):
    """Make the pool start its processes, which it does only for work, before any time is taken."""
    loop = asyncio.get_running_loop()
    with deaf_to_ctrl_c():
        calls = [loop.run_in_executor(parsers, parse_pages, []) for _ in range(workers)]
    await asyncio.gather(*calls)
