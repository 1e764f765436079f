"""One page: at most so many requests at a time, and another try where that may help."""

import asyncio
import random
import time
from typing import NamedTuple

import aiohttp

WORTH_ANOTHER_TRY = {429, 500, 502, 503, 504}
TRIES = 4
FIRST_PAUSE_SECONDS = 0.05


class Page(NamedTuple):
    url: str
    status: int
    html: str
    seconds: float  # from asking to having it, without the tries before


class PageError(Exception):
    """The page could not be had; the message says why."""


class Downloader:
    """Gets pages through an aiohttp session, `concurrency` of them at a time."""

    def __init__(self, session, concurrency):
        self.session = session
        self.slots = asyncio.Semaphore(concurrency)
        self.requests = 0
        self.retries = 0

    async def get(self, url):
        """Return the Page at `url`, or raise PageError."""
        for tries_left in reversed(range(TRIES)):
            try:
                # The slot is given back before the pause: who waits to try again is in nobody's way.
                async with self.slots:
                    page = await self.get_once(url)
                if page.status == 200:
                    return page
                problem = f"HTTP {page.status}"
                retry = page.status in WORTH_ANOTHER_TRY
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
                # A connection may be refused or break for a moment; a wrong URL stays wrong.
                retry = not isinstance(error, aiohttp.InvalidURL)
            except NotImplementedError as error:  # https on asyncloop: its TLS is still to come
                raise PageError(f"{type(error).__name__}: {error}") from error

            if not retry or not tries_left:
                raise PageError(problem)
            self.retries += 1
            # Twice as long each time, and by chance a little more, so that not all come back at the same moment.
            pause = FIRST_PAUSE_SECONDS * 2 ** (TRIES - 1 - tries_left)
            await asyncio.sleep(pause * random.uniform(1, 1.5))

    async def get_once(self, url):
        """One request: a Page of whatever status, or aiohttp's exception."""
        self.requests += 1
        started = time.perf_counter()
        async with self.session.get(url) as response:
            html = await response.text(errors="replace")
        return Page(url, response.status, html, time.perf_counter() - started)
