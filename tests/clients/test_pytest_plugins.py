"""pytest-asyncio, and anyio's plugin for pytest: a test session of its own, whose tests run on the loop under test."""

import re
import subprocess
import sys

import pytest

from .conftest import environment


@pytest.fixture
def session(tmp_path):
    """Runs the tests of a module with a plugin; returns the outcome of each, and all that pytest printed."""

    def session(plugin, settings, conftest, module):
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n" + settings)
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_it.py").write_text(module)
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", plugin, tmp_path]
        alone = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=alone)
        outcomes = re.findall(r"^test_it\.py::([\w:]+)(?:\[ours])? ([A-Z]+) ", done.stdout, re.MULTILINE)
        return dict(outcomes), done.stdout + done.stderr

    return session


ASYNCIO_TESTS = """
import asyncio, contextvars
import pytest, pytest_asyncio

def loop_kind():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

@pytest_asyncio.fixture
async def server():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()

@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared():
    task = asyncio.create_task(asyncio.Event().wait())
    yield asyncio.get_running_loop()
    task.cancel()

async def test_kind():
    assert loop_kind() == KIND

async def test_traffic(server):
    reader, writer = await asyncio.open_connection(*server)
    writer.write(b"hello\\n")
    assert await reader.read() == b"hello\\n"
    writer.close()
    await writer.wait_closed()

async def test_that_fails():
    await asyncio.sleep(0)
    assert loop_kind() == "neither"

@pytest.mark.asyncio(loop_scope="module")
class TestModule:
    async def test_one(self, shared):
        assert asyncio.get_running_loop() is shared
        assert loop_kind() == KIND

    async def test_two(self, shared):
        assert asyncio.get_running_loop() is shared

def test_without_a_loop():
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
"""


def test_pytest_asyncio(session, kind):
    pytest.importorskip("pytest_asyncio")
    outcomes, printed = session(
        "pytest_asyncio.plugin",
        "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
        f"import {kind}\n"
        "def pytest_asyncio_loop_factories(config, item):\n"
        f"    return {{'ours': {kind}.new_event_loop}}\n",
        ASYNCIO_TESTS.replace("KIND", repr(kind)),
    )
    passed = ["test_kind", "test_traffic", "TestModule::test_one", "TestModule::test_two", "test_without_a_loop"]
    assert outcomes == dict.fromkeys(passed, "PASSED") | {"test_that_fails": "FAILED"}, printed
    assert f"assert '{kind}' == 'neither'" in printed


ANYIO_TESTS = """
import asyncio
import anyio, pytest

pytestmark = pytest.mark.anyio

def loop_kind():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

@pytest.fixture
async def group():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        yield group
        group.cancel_scope.cancel()

async def test_kind(group):
    assert loop_kind() == KIND
    group.start_soon(anyio.sleep, 0.001)
    group.start_soon(asyncio.sleep, 0)
    await anyio.sleep(0.002)

async def test_that_fails():
    await anyio.sleep(0)
    assert loop_kind() == "neither"
"""


def test_anyio(session, kind):
    pytest.importorskip("anyio")
    outcomes, printed = session(
        "anyio.pytest_plugin",
        "",
        f"import {kind}, pytest\n"
        "@pytest.fixture\n"
        "def anyio_backend():\n"
        f"    return 'asyncio', {{'loop_factory': {kind}.new_event_loop}}\n",
        ANYIO_TESTS.replace("KIND", repr(kind)),
    )
    assert outcomes == {"test_kind": "PASSED", "test_that_fails": "FAILED"}, printed
    assert f"assert '{kind}' == 'neither'" in printed
