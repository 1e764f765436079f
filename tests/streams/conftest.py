"""Streams of asyncio on its loop, and of asyncloop on its own loop and on asyncio's: they work on any."""

import asyncio
import shutil
import subprocess

import any_loop
import pytest

kind = any_loop.kind
loop_factory = any_loop.loop_factory
streams = any_loop.module


class FakeTransport:
    """Notes whether reading is paused."""

    def __init__(self):
        self.calls = []

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")

    def __repr__(self):
        return "<fake>"


@pytest.fixture
def transport():
    return FakeTransport()


@pytest.fixture
def spin(run):
    """spin(n): n turns of the loop."""

    async def turns(count):
        for _ in range(count):
            await asyncio.sleep(0)

    return lambda count=3: run(turns(count))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The path of a self-signed certificate of localhost, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command, which makes the certificate, is not installed")
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    key = path.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", path]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path
