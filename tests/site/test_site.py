"""The documentation site: it builds without a complaint, and every page works in a browser.

ASYNCLOOP_SCREENSHOTS names a folder in which pictures of some pages are left.
"""

import functools
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
PATIENCE = 120_000  # milliseconds; a machine may be busy
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}

if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
    pytest.skip("MkDocs is not installed: pip install --group docs", allow_module_level=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built in the strict mode, in which a broken link or anchor is an error."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "--site-dir", str(place)]
    environ = {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def pages(site):
    """Return the paths of all pages."""
    return sorted(str(path.parent.relative_to(site)) for path in site.rglob("index.html"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(site):
    """The address of a server of the site."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install --group docs")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here: {', '.join(BROWSERS)} (Debian: chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser, address):
    """show(page, ...): the page in a window of its own; it may load nothing from elsewhere, and log no error."""
    contexts, wrong = [], []

    def show(name="", viewport=WIDE, colours="light"):
        context = browser.new_context(viewport=viewport, color_scheme=colours)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(f"{name}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on(
            "request", lambda request: request.url.startswith((address, "data:", "blob:")) or wrong.append(request.url)
        )
        answer = page.goto(f"{address}{name}{'/' if name else ''}", wait_until="load")
        assert answer.status == 200
        return page

    yield show
    for context in contexts:
        context.close()
    assert wrong == []


def keep(page, name):
    """Leave a picture, if that is wanted."""
    if folder := os.environ.get("ASYNCLOOP_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder, f"{name}.png")))


def test_pages_are_there(site):
    found = pages(site)
    assert {".", "install", "quickstart", "from-uvloop", "differences", "api", "performance", "compatibility"} <= set(
        found
    )
    for name in (ROOT / "docs").glob("*.md"):
        assert name.stem in found


def test_links_to_files_lead_to_the_repository(site):
    text = (site / "tests" / "index.html").read_text()
    assert re.search(r'href="https://[^"]*/blob/main/tests/stdlib/README.md"', text)
    assert 'href="../differences/"' in text


def test_api_lists_what_the_package_has(site):
    import asyncloop

    text = (site / "api" / "index.html").read_text()
    for name in asyncloop.__all__:
        assert f'id="{name.lower()}"' in text, name
    assert 'id="loopcall_later"' in text and 'id="channelput"' in text


def test_every_page_opens(show, site):
    for name in pages(site):
        page = show("" if name == "." else name)
        assert page.locator("article h1").count() >= 1, name
        page.close()


def test_search_finds(show):
    page = show()
    fetched = "performance.getEntriesByType('resource').some(entry => entry.name.endsWith('search_index.json'))"
    page.wait_for_function(fetched, timeout=PATIENCE)
    page.locator("input.md-search__input").press_sequentially("uvicorn")  # the page listens to keys
    result = page.locator(".md-search-result__item a").first
    result.wait_for(timeout=PATIENCE)
    keep(page, "search")
    assert "uvicorn" in page.locator(".md-search-result__list").inner_text().lower()
    result.click()
    page.wait_for_load_state()
    assert "uvicorn" in page.locator("article").inner_text().lower()


@pytest.mark.parametrize("name", ["", "performance"])
def test_charts_show(show, name):
    page = show(name)
    charts = page.locator("article img")
    assert charts.count() >= 1
    for chart in charts.all():
        assert chart.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 100


def test_light_and_dark(show):
    shades = {}
    for colours in ("light", "dark"):
        page = show(colours=colours)
        keep(page, colours)
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[colours] = sum(map(int, re.findall(r"\d+", shade)[:3]))
    assert shades["light"] > 600 and shades["dark"] < 200


def test_narrow_screen_needs_no_sideways_scrolling(show, site):
    for name in pages(site):
        page = show("" if name == "." else name, viewport=NARROW)
        if name in (".", "performance"):
            keep(page, f"narrow-{name.replace('.', 'home')}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= NARROW["width"], name
        page.close()
