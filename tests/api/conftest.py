"""Small black-box tests, each of which says by `@pytest.mark.proves(METHOD, ARGUMENTS)` what it proves.

They run on stock asyncio and on asyncloop; ASYNCLOOP_TEST_FACTORY=uvloop:new_event_loop runs them on that loop instead.
tools/compatibility.py makes docs/compatibility.md of their outcomes.
"""

import asyncio
import importlib
import json
import os
import ssl
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))  # pytest's importlib mode leaves it out
HERE = importlib.import_module("interface").interface()
OUTCOMES = os.environ.get("ASYNCLOOP_TEST_OUTCOMES")
FACTORY = os.environ.get("ASYNCLOOP_TEST_FACTORY")


def pytest_configure(config):
    config.addinivalue_line("markers", "proves(method, arguments): what the test proves")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("proves"):
            method, arguments = (*mark.args, "")[:2]
            missing = set(arguments.split()) - set(HERE.get(method, []))
            if method not in HERE or missing:
                item.add_marker(pytest.mark.skip(reason=f"no {method}({arguments}) in this Python"))


def note(item, outcome):
    """A line in the file of outcomes; one that starts and does not end has crashed."""
    if OUTCOMES and (marks := list(item.iter_markers("proves"))):
        proves = [(*mark.args, "")[:2] for mark in marks]
        with open(OUTCOMES, "a") as file:
            print(json.dumps({"id": item.nodeid, "proves": proves, "outcome": outcome}), file=file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "setup" and report.passed:
        note(item, "crashed")
    elif not report.passed or report.when == "call":
        note(item, report.outcome)
    return report


@pytest.fixture(params=[FACTORY] if FACTORY else ["asyncio", "asyncloop"])
def kind(request):
    return request.param


@pytest.fixture
def loop_factory(kind):
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    module, _, name = kind.partition(":")
    return getattr(importlib.import_module(module), name or "new_event_loop")


@pytest.fixture
def run(loop):
    """Runs a coroutine on the loop to its end, 5 seconds at most."""
    return lambda coro: loop.run_until_complete(asyncio.wait_for(coro, 5))


class Peer(asyncio.Protocol):
    """Keeps what it received; `made`, `ended` and `lost` are futures."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.made, self.ended, self.lost = (loop.create_future() for _ in range(3))
        self.data = b""
        self.wanted = None

    def connection_made(self, transport):
        self.transport = transport
        self.made.set_result(transport)

    def data_received(self, data):
        self.data += data
        if self.wanted and len(self.data) >= self.wanted[0] and not self.wanted[1].done():
            self.wanted[1].set_result(self.data)

    datagram_received = lambda self, data, addr: self.data_received(data)  # noqa: E731

    def error_received(self, exc):
        self.error = exc

    def eof_received(self):
        self.ended.set_result(True)

    def connection_lost(self, exc):
        self.lost.set_result(exc)

    async def receive(self, size):
        """Waits for as many bytes in all."""
        if len(self.data) < size:
            self.wanted = size, asyncio.get_running_loop().create_future()
            await self.wanted[1]
        return self.data


@pytest.fixture
def Peer_():
    return Peer


@pytest.fixture(scope="session")
def contexts(tmp_path_factory):
    """(server's, client's) ssl.SSLContext with a certificate for `localhost`."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    command += " -addext subjectAltName=DNS:localhost -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert", folder / "key")
    return server, ssl.create_default_context(cafile=folder / "cert")
