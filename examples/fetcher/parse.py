"""Title, links and words of a page. It only computes, so it runs in other processes, beside the loop."""

import contextlib
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urljoin


class Facts(NamedTuple):
    title: str
    words: int
    links: list[str]  # absolute URLs, in the order of the page


class PageParser(HTMLParser):
    """Collects the Facts of one page while it is fed."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.inside = None  # the element whose text is not for readers: title, script or style
        self.title = ""
        self.words = 0
        self.links = []

    def handle_starttag(self, tag, attrs):
        if tag in ("title", "script", "style"):
            self.inside = tag
        elif tag == "a" and (target := dict(attrs).get("href")):
            with contextlib.suppress(ValueError):  # not a URL, such as http://[
                self.links.append(urljoin(self.url, target))

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = None

    def handle_data(self, data):
        if self.inside == "title":
            self.title += data
        elif self.inside is None:
            self.words += len(data.split())


def parse_page(url, html):
    """Return the Facts of one page."""
    parser = PageParser(url)
    # html.parser takes nearly anything; on some malformed declarations it gives up: then what it has must do.
    with contextlib.suppress(AssertionError):
        parser.feed(html)
        parser.close()
    return Facts(parser.title.strip(), parser.words, parser.links)


def parse_pages(pages):
    """Return the Facts of many (url, html): a call into another process costs more than parsing one page."""
    return [parse_page(url, html) for url, html in pages]
