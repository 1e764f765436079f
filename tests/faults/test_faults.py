"""The campaign sees what goes wrong, and a fixed part of it finds nothing."""

import os
import pathlib
import subprocess
import sys

import failing
import pytest

HERE = pathlib.Path(__file__).parent

pytestmark = [
    pytest.mark.skipif(not failing.is_possible, reason="needs a C compiler for failing.c"),
    pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer makes the calls itself"),
]

WRONG = """
import asyncio, os, socket

async def _attempt():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False)
    b.send(b"x")
    with a, b:
        assert await loop.sock_recv(a, 1) == b"x"

async def _go_wrong_after_a_failure(what):
    try:
        await _attempt()
        return
    except OSError:
        pass
    if "asyncloop" in type(asyncio.get_running_loop()).__module__:  # else asyncio were as bad
        what()

def _block():
    while True:
        pass

def _fail():
    raise ZeroDivisionError

def _refuse(*args, **options):
    raise RuntimeError

def _spoil():
    asyncio.get_running_loop().create_server = _refuse

async def hang():
    try:
        await _attempt()
    except OSError:
        if "asyncloop" in type(asyncio.get_running_loop()).__module__:
            await asyncio.get_running_loop().create_future()

async def crash():
    await _go_wrong_after_a_failure(os.abort)

async def block():
    await _go_wrong_after_a_failure(_block)

async def leak():
    await _go_wrong_after_a_failure(lambda: os.dup(0))

async def fail():
    await _go_wrong_after_a_failure(_fail)

async def spoil():
    await _go_wrong_after_a_failure(_spoil)

async def no_matter():
    try:
        await _attempt()
    except OSError:
        pass

async def raised():
    await _attempt()

async def reported():
    try:
        await _attempt()
    except OSError as exc:
        asyncio.get_running_loop().call_exception_handler({"message": "", "exception": exc})

async def as_asyncio():
    try:
        await _attempt()
    except OSError:
        await asyncio.get_running_loop().create_future()
"""

FAILURES = {
    "hang": "hung",
    "crash": "crash SIGABRT",
    "block": "stuck",
    "leak": "descriptors leaked",
    "fail": "ZeroDivisionError",
    "spoil": "unusable: RuntimeError",
}


def campaign(*arguments):
    command = [sys.executable, HERE / "run.py", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=250, check=False)
    return done.returncode, done.stdout


def test_everything_that_goes_wrong_is_found(tmp_path):
    file = tmp_path / "made_up.py"
    file.write_text(WRONG)
    status, told = campaign("--whose", "ours", "--call", "recv", "--errno", "ENOMEM", "--limit", "0.2", str(file))
    assert status == 1
    found = {line.split(": --only made_up.")[1].split()[0]: line for line in told.splitlines() if ": --only" in line}
    assert set(found) == set(FAILURES), told
    for name, what in FAILURES.items():
        assert found[name].startswith(what)
    assert "6 findings" in told
    assert told.splitlines()[1].split() == ["recv", "ours", "10", "1", "1", "1", "1", "6"]


SUBSET = """
    --whose ours --depth 1 --stock-depth 2
    --only streams.echo --only streams.large --only datagrams --only sock_ops --only pipes.small_and_large
    --only unix.echo
    --call accept4 --call recv --call recvfrom --call sendto --call preadv2 --call pwritev2 --call getsockname
    --call getpeername --call setsockopt --call shutdown
    --errno EAGAIN --errno ENOMEM --errno EMFILE --errno ENOSYS
"""


def test_a_fixed_part_of_the_campaign_finds_nothing():
    status, told = campaign(*SUBSET.split())
    assert status == 0, told
    assert int(told.splitlines()[-1].split()[0]) > 50, told
