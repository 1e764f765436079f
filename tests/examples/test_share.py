import os
import signal
import socket
import subprocess

import pytest


@pytest.fixture
def udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "small").write_text("some text\n")
    (folder / "large").write_text("0123456789abcde\n" * 100_000)
    (tmp_path / "secret").write_text("not shared")
    return folder


def check(example, server, ask, tls=()):
    """Ask for everything, then let the server say so and end."""
    assert server.stdout.readline().startswith("sharing ")
    assert example.run("share.py", *ask, "list", *tls) == "large\nsmall\n"
    assert example.run("share.py", *ask, "get", *tls, "small") == "some text\n"
    assert example.run("share.py", *ask, "get", *tls, "large") == "0123456789abcde\n" * 100_000
    assert example.run("share.py", *ask, "get", *tls, "../secret") == ""
    os.kill(server.pid, signal.SIGHUP)
    assert server.stdout.readline() == "served 4 requests\n"
    example.interrupt(server)
    assert example.finish(server) == "ended\n"


def test_files_are_shared_over_tcp(example, folder, udp_port):
    server = example.start("share.py", "--announced", udp_port, "serve", folder)
    check(example, server, ["--announced", udp_port])


def test_files_are_shared_over_a_unix_socket(example, folder, tmp_path):
    place = ["--unix", tmp_path / "socket"]
    check(example, example.start("share.py", *place, "serve", folder), place)


def test_files_are_shared_over_tls(example, folder, udp_port, tmp_path):
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    both = tmp_path / "both"
    both.write_text((tmp_path / "key").read_text() + (tmp_path / "cert").read_text())
    server = example.start("share.py", "--announced", udp_port, "serve", folder, "--tls", both)
    check(example, server, ["--announced", udp_port], ["--ca", tmp_path / "cert"])


def test_client_says_that_there_is_no_server(example, udp_port):
    process = example.start("share.py", "--announced", udp_port, "list")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("share.py: nobody shares anything here")
