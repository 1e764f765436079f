"""Certificates and real servers for the clients, each started on loopback and ended by its pid."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest


class Tls:
    """A certificate of localhost, and contexts that use and trust it."""

    def __init__(self, folder):
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey", "ec"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run([*command, "-keyout", self.key, "-out", self.cert], check=True, capture_output=True)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.load_cert_chain(self.cert, self.key)
        self.client = ssl.create_default_context(cafile=str(self.cert))


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    return Tls(tmp_path_factory.mktemp("tls"))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def program(name, *folders):
    """The path of a program, which is in one of the folders if it is not on the PATH; skips the test without it."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *folders]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def environment(**more):
    """The environment of a Python process, for which everything is importable that is so here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


# Of programs that are not Python: with the sanitizers' libraries, which `make asan` has loaded into us, they hang.
PLAIN_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


@contextlib.contextmanager
def running(command, is_ready, how_to_end=signal.SIGTERM, **options):
    """Run a server until the end of the block, from the moment when is_ready() is true on."""
    server = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    try:
        deadline = time.monotonic() + 30
        while not is_ready():
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                pytest.fail(f"{command[0]} does not start: {server.communicate()[0]}")
            time.sleep(0.02)
        yield server
    finally:
        server.send_signal(how_to_end)
        try:
            server.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


def end(server):
    """Ask a server to end; return what it has printed once it is over."""
    server.terminate()
    return server.communicate(timeout=20)[0]


def accepts(port):
    def is_ready():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    return is_ready


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory):
    """The port of a Redis server."""
    port = free_port()
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path_factory.mktemp("redis")]
    with running([program("redis-server"), *options], accepts(port), env=PLAIN_ENVIRONMENT):
        yield port


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Where a PostgreSQL server listens, as keyword arguments of a connection."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, server = program("initdb", *folders), program("postgres", *folders)
    # It does not run as root, and then nobody else may read what pytest makes: a folder of its user's own.
    home = Path(subprocess.check_output(["mktemp", "-d", "/tmp/asyncloop-postgres-XXXXXX"], text=True).strip())
    options = {"env": PLAIN_ENVIRONMENT}
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(home, user.pw_uid, user.pw_gid)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": home}
        data = home / "data"
        made = subprocess.run(
            [initdb, "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"],
            capture_output=True,
            text=True,
            **options,
        )
        assert made.returncode == 0, made.stderr
        port = free_port()
        command = [server, "-D", data, "-p", port, "-k", home, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with running(command, accepts(port), signal.SIGINT, **options):
            yield {"host": "127.0.0.1", "port": port, "user": "tester", "database": "postgres"}
    finally:
        shutil.rmtree(home, ignore_errors=True)
