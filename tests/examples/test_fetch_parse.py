"""The parser of fetch.py meets whatever the web sends, so here it is fed directly."""

from pathlib import Path

import pytest

URL = "http://example.com/here/page"


@pytest.fixture
def parse_page(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    from fetcher.parse import parse_page

    return lambda html: parse_page(URL, html)


def test_title_words_and_links(parse_page):
    facts = parse_page(
        "<title> A  b </title><style>p {x: y}</style><p>one two<script>let x</script> three <a href=c>d</a>"
    )
    assert facts.title == "A  b"
    assert facts.words == 4
    assert facts.links == ["http://example.com/here/c"]


def test_links_become_absolute(parse_page):
    facts = parse_page('<a href="/a"><a href="//b.org/c"><a href="#d"><a href=""><a name="e"><a href="https://f.org">')
    assert facts.links == ["http://example.com/a", "http://b.org/c", f"{URL}#d", "https://f.org"]


@pytest.mark.parametrize(
    "html", ["", "<", "<a href='http://['>", "<p>x<![weird[y", "<title>never closed", "\0<p\xff>&#xD800;"]
)
def test_malformed_pages_do_not_fail(parse_page, html):
    assert parse_page(html).links == []
