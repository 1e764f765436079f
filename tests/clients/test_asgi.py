"""Starlette and FastAPI, served in processes of their own as on a command line: by uvicorn, and by gunicorn."""

import http.client
import json
import signal
import sys
from pathlib import Path

import pytest

from .asgi_apps import make_starlette
from .conftest import accepts, end, environment, free_port, running

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

HERE = Path(__file__).parent


def ask(port, path, data=None):
    """Ask by the standard library's blocking client; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Content-Type": "application/json"} if isinstance(data, str) else {}
        connection.request("GET" if data is None else "POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask_json(port, path, data=None):
    status, body = ask(port, path, None if data is None else json.dumps(data))
    assert status == 200, body
    return json.loads(body)


def connect(port, path):
    """A websocket, blocking too."""
    return pytest.importorskip("websockets.sync.client").connect(f"ws://127.0.0.1:{port}{path}", proxy=None)


@pytest.fixture
def serve(kind):
    """Runs an application under uvicorn on the loop under test; makes a context manager of it and tells the port."""

    def serve(app):
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "--port", port, "--loop", f"{kind}:new_event_loop"]
        command += ["--factory", f"asgi_apps:{app}", "--app-dir", HERE]
        return port, running(command, accepts(port), env=environment())

    return serve


def test_starlette(serve, kind):
    pytest.importorskip("starlette")
    port, server = serve("make_starlette")
    with server as process:
        assert ask_json(port, "/hello/ada") == {"loop": kind, "started_on": kind, "hello": "Ada"}
        assert ask(port, "/nowhere")[0] == 404
        large = bytes(range(250)) * 10_000
        assert ask(port, "/twice", large) == (200, large * 2)

        with connect(port, "/talk") as websocket:
            assert websocket.recv(timeout=20) == kind
            for text in "abc", "x" * 200_000:
                websocket.send(text)
                assert websocket.recv(timeout=20) == text.upper()
            printed = end(process)  # which tells the client

    assert f"ended on {kind}" in printed
    assert "Application shutdown complete" in printed
    assert process.returncode == -signal.SIGTERM  # uvicorn raises it again when it is done


def test_fastapi(serve, kind):
    pytest.importorskip("fastapi")
    port, server = serve("make_fastapi")
    with server:
        assert ask_json(port, "/items", {"name": "pen", "price": 3}) == {"name": "pen", "total": 4.5, "loop": kind}
        status, body = ask(port, "/items", '{"name": "pen"}')
        assert status == 422 and b"Field required" in body
        assert ask_json(port, "/thread?n=41") == 42

        with connect(port, "/sums") as websocket:
            for numbers in [1, 2, 3], list(range(10_000)):
                websocket.send(json.dumps(numbers))
                assert json.loads(websocket.recv(timeout=20)) == {"sum": sum(numbers), "loop": kind}


def test_gunicorn_with_uvicorn_workers(kind, tmp_path):
    """Two workers, which the master forks."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn_worker")
    (tmp_path / "workers.py").write_text(
        "import os, pathlib\n"
        "from uvicorn_worker import UvicornWorker\n"
        "class Worker(UvicornWorker):\n"
        f"    CONFIG_KWARGS = {{'loop': '{kind}:new_event_loop', 'http': 'httptools'}}\n"
        "    async def callback_notify(self):\n"
        f"        pathlib.Path({str(tmp_path)!r}, f'serving-{{os.getpid()}}').touch()\n"
        "        await super().callback_notify()\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", 2]
    command += [
        "--no-control-socket",
        "--worker-class",
        "workers.Worker",
        "--pythonpath",
        f"{HERE},{tmp_path}",
        "asgi_apps:make_starlette()",
    ]

    def are_ready():
        # uvicorn skips the application's shutdown where a signal comes before its main loop, which notifies first.
        return len(list(tmp_path.glob("serving-*"))) == 2

    with running(command, are_ready, env=environment(), cwd=tmp_path) as process:
        for _ in range(20):
            assert ask_json(port, "/hello/ada") == {"loop": kind, "started_on": kind, "hello": "Ada"}
        with connect(port, "/talk") as websocket:
            assert websocket.recv(timeout=20) == kind
        printed = end(process)
    assert process.returncode == 0
    assert printed.count(f"ended on {kind}") == 2


def test_the_client_for_tests(kind, loop_factory):
    """starlette.testclient: a synchronous client, with the application on a loop in another thread."""
    testclient = pytest.importorskip("starlette.testclient")
    with testclient.TestClient(make_starlette(), backend_options={"loop_factory": loop_factory}) as client:
        assert client.get("/hello/ada").json() == {"loop": kind, "started_on": kind, "hello": "Ada"}
        with client.websocket_connect("/talk") as websocket:
            assert websocket.receive_text() == kind
            websocket.send_text("abc")
            assert websocket.receive_text() == "ABC"
