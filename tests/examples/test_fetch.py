import http.server
import json
import os
import re
import socket
import sqlite3
import threading
import time

import pytest

SMALL = ("--pages", 120, "--concurrency", 20, "--workers", 1)


def rows(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def table(output):
    """Return the rows of the last table, by the name of the loop."""
    lines = output[output.rindex("-----") :].splitlines()[1:]
    return {cells[0]: cells[1:] for cells in map(str.split, lines) if len(cells) >= 6 and cells[1].isdigit()}


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group_exists(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def web_server():
    """A web server that owes nothing to asyncio; `paths` is what it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        paths = []

        def do_GET(self):
            self.paths.append(self.path)
            if self.path == "/busy":
                self.send_error(503)
                return
            if self.path != "/hello":
                self.send_error(404)
                return
            body = b'<title>Hello</title><p>three short words</p><a href="other">o</a>'
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.paths = Handler.paths
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()
        thread.join()


def test_every_page_is_fetched_parsed_and_stored(example, tmp_path):
    result = json.loads(example.run("fetch.py", "--once", "--json", *SMALL, "--output", tmp_path))
    assert result["pages"] == 120
    assert result["retries"] == 5  # pages 7, 32, 57, 82 and 107 answer 503 to the first request
    assert result["requests"] == 120 + 5 + 2
    assert result["cpu_seconds"] > 0
    assert [url.partition("/gone")[2] for url in result["errors"]] == ["/0", "/100"]
    assert set(result["errors"].values()) == {"HTTP 404"}

    pages = rows(tmp_path / "pages.db", "SELECT url, title, words, file FROM pages")
    assert sorted(title for _, title, _, _ in pages) == sorted(f"Page {number}" for number in range(120))
    for url, title, words, file in pages:
        assert url.endswith("/page/" + title.removeprefix("Page "))
        html = (tmp_path / "pages" / file).read_text()
        assert f"<title>{title}</title>" in html
        text = re.sub(r"<title>.*?</title>|<[^>]+>", " ", html)
        assert words == len(text.split()) > 150
    assert len(os.listdir(tmp_path / "pages")) == 120

    links = rows(tmp_path / "pages.db", "SELECT source, target FROM links")
    assert len(links) == 120 * 6
    assert {url for link in links for url in link} <= {page[0] for page in pages}


def test_a_second_run_replaces_the_first(example, tmp_path):
    other = tmp_path / "pages" / "mine.html"
    for number in (60, 20):
        example.run("fetch.py", "--once", "--json", "--pages", number, "--workers", 1, "--output", tmp_path)
        other.write_text("not the program's, so it stays")
    files = {file for (file,) in rows(tmp_path / "pages.db", "SELECT file FROM pages")}
    assert len(files) == 20
    assert set(os.listdir(tmp_path / "pages")) == files | {other.name}


def test_urls_of_the_command_line(example, web_server, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        refused = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        urls = [web_server.url + path for path in ("/hello", "/busy", "/nothing", "/hello")]
        output = example.run("fetch.py", *urls, refused, "--workers", 1, "--output", tmp_path)
    assert sorted(web_server.paths) == ["/busy"] * 4 + ["/hello", "/nothing"]
    assert rows(tmp_path / "pages.db", "SELECT url, title, words FROM pages") == [(urls[0], "Hello", 4)]
    assert rows(tmp_path / "pages.db", "SELECT target FROM links") == [(web_server.url + "/other",)]
    assert f"1 x HTTP 503, such as {web_server.url}/busy" in output
    assert f"1 x HTTP 404, such as {web_server.url}/nothing" in output
    assert re.search(rf"1 x ClientConnectorError: .*, such as {refused}", output)
    assert list(table(output)) == [example.kind]
    assert table(output)[example.kind][:3] == ["1", "3", "10"]  # pages, errors, requests


def test_comparison_runs_every_installed_loop(example, tmp_path):
    output = example.run("fetch.py", "--pages", 30, "--rounds", 1, "--workers", 1, "--output", tmp_path)
    compared = table(output)
    assert {"asyncio", example.kind} <= set(compared) <= {"asyncio", "uvloop", "asyncloop"}
    assert list(compared) == re.findall(r"^  round 1   (\w+) +[\d,]+ requests/s$", output, re.MULTILINE)
    for name, cells in compared.items():
        assert cells[:3] == ["30", "1", "32"]  # pages, errors, requests
        assert len(cells) == (5 if name == "asyncio" else 7)  # the others with their changes


def test_ctrl_c_leaves_no_process_behind(example, tmp_path):
    process = example.start("fetch.py", "--once", "--pages", 5000, "--output", tmp_path)
    wait_until(lambda: any(tmp_path.glob("pages/*.html")), 30)  # it is in the middle of its work
    example.interrupt(process)
    example.finish(process, status=1, stderr="Interrupted.\n")
    wait_until(lambda: not group_exists(process.pid), 10)


def test_ctrl_c_during_the_comparison(example, tmp_path):
    process = example.start("fetch.py", "--pages", 300, "--rounds", 9, "--workers", 1, "--output", tmp_path)
    while not process.stdout.readline().startswith("  round 1   asyncio"):
        assert process.poll() is None
    time.sleep(0.2)  # the next program is on its way
    example.interrupt(process)
    example.finish(process, status=1, stderr="Interrupted.\n")
    wait_until(lambda: not group_exists(process.pid), 10)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["example.com"], "'example.com' does not begin with http:// or https://"),
        (["--pages", "0"], "argument --pages: 0 is not a positive number"),
        (["--loop", "nonesuch"], "argument --loop: choose from asyncio, uvloop, asyncloop"),
        (["--json"], "--json goes with --once"),
    ],
)
def test_wrong_arguments_are_named(example, arguments, complaint):
    process = example.start("fetch.py", *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("fetch.py: error: ")
    assert errors.rstrip().endswith(complaint)
