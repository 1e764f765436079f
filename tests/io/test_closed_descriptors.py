"""Descriptors that are closed, duplicated or opened anew while the loop watches them: each ends in its own process, as
libev's answer to some of them is to abort."""

import asyncio
import socket

import pytest

PRELUDE = """
import os, socket, time
from importlib import import_module

def pair():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    return a, b

loop = {make}

def turn(seconds=0.02):
    loop.run_until_complete(asyncio.sleep(seconds))
"""


@pytest.fixture(params=["default", pytest.param("epoll", marks=pytest.mark.feature("epoll")), "poll", "select"])
def outcome(request, script):
    """Runs source with `loop`, `turn()` and `pair()` at hand; -> the lines it printed."""
    make = "new_loop()" if request.param == "default" else f"import_module('asyncloop').Loop(backend={request.param!r})"
    return lambda source: script(PRELUDE.replace("{make}", make) + source).stdout.splitlines()


ours = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@ours
def test_closed_before_the_poll(outcome):
    source = """
a, b = pair()
loop.add_reader(a, print, "called")
a.close()
turn()
print(loop.remove_reader(a), loop.remove_reader(b))
loop.close()
"""
    assert outcome(source) == ["True False"]


@ours
def test_closed_while_watched_and_then_changed(outcome):
    source = """
a, b = pair()
loop.add_reader(a, print, "called")
loop.add_writer(a, lambda: None)
turn()
a.close()
print(loop.remove_writer(a))
turn()
print(loop.remove_reader(a))
turn()
loop.close()
"""
    assert outcome(source) == ["True", "True"]


@ours
def test_closed_and_opened_again_under_the_same_number(outcome):
    source = """
numbers = set()
for i in range(3):
    a, b = pair()
    numbers.add(a.fileno())
    loop.add_reader(a.fileno(), lambda: print(a.recv(10)))
    b.send(b"%d" % i)
    turn()
    a.close()
    b.close()
print(len(numbers))
loop.close()
"""
    assert outcome(source) == ["b'0'", "b'1'", "b'2'", "1"]


@ours
@pytest.mark.parametrize("pause", [0, 0.005])
def test_sockets_under_the_same_number_are_told_apart(outcome, pause):
    source = f"""
async def main():
    numbers = set()
    for i in range(5):
        a, b = pair()
        numbers.add(a.fileno())
        receiving = loop.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep({pause})
        await loop.sock_sendall(b, b"%d" % i)
        print(await receiving)
        a.close()
        b.close()
    print(len(numbers))

loop.run_until_complete(main())
loop.close()
"""
    assert outcome(source) == ["b'0'", "b'1'", "b'2'", "b'3'", "b'4'", "1"]


@ours
def test_bytes_of_a_new_socket_do_not_go_to_the_closed_one(outcome):
    source = """
async def main():
    a, b = pair()
    receiving = loop.create_task(loop.sock_recv(a, 10))
    await asyncio.sleep(0.005)
    a.close()
    await asyncio.sleep(0.005)
    c, d = pair()
    loop.add_writer(c, lambda: None)
    d.send(b"secret")
    await asyncio.sleep(0.005)
    receiving.cancel()
    print(*await asyncio.gather(receiving, return_exceptions=True))
    print(c.recv(10))
    loop.remove_writer(c)

loop.run_until_complete(main())
loop.close()
"""
    failed, received = outcome(source)
    assert "secret" not in failed
    assert received == "b'secret'"


@ours
def test_closed_with_a_duplicate_left_does_not_spin(outcome):
    source = """
a, b = pair()
duplicate = a.dup()
loop.add_reader(a, print, "called")
turn()
loop.remove_reader(a)
a.close()
b.send(b"x")
c, d = pair()
e, f = pair()
loop.add_reader(c, lambda: print(c.recv(10)))
loop.add_reader(e, print, "called")
turn()
e.close()
turn()
start = time.process_time()
turn(0.3)
print("spins" if time.process_time() - start > 0.15 else "waits")
d.send(b"received")
turn()
loop.close()
"""
    assert outcome(source) == ["waits", "b'received'"]


@ours
def test_a_transport_learns_that_its_descriptor_was_closed(outcome):
    source = """
class Protocol(asyncio.Protocol):
    def connection_lost(self, exc):
        print(exc)

async def main():
    a, b = pair()
    transport, _ = await loop.create_connection(Protocol, sock=a)
    fd = transport.get_extra_info("socket").fileno()
    await asyncio.sleep(0.005)
    transport.pause_reading()
    await asyncio.sleep(0.005)
    os.close(fd)
    transport.resume_reading()
    await asyncio.sleep(0.02)
    transport.abort()

loop.set_exception_handler(lambda loop, context: None)
loop.run_until_complete(main())
loop.close()
os._exit(sys.stdout.flush() or 0)  # without the complaints of a socket whose descriptor is gone
"""
    assert outcome(source) == ["[Errno 9] Bad file descriptor"]


@ours
def test_a_child_process_runs_a_loop_of_its_own(outcome):
    source = """
a, b = pair()
loop.add_reader(a, lambda: print(a.recv(10), flush=True))
c, d = pair()
loop.add_reader(c, print, "called")
turn()
c.close()
child = os.fork()
if child == 0:
    own = new_loop()
    own.run_until_complete(asyncio.sleep(0.01))
    own.close()
    os._exit(0)
print(os.waitpid(child, 0)[1])
b.send(b"parent")
turn()
loop.remove_reader(a)
loop.close()
"""
    assert outcome(source) == ["0", "b'parent'"]


@pytest.fixture
def pairs():
    pairs = [socket.socketpair() for _ in range(10)]
    yield pairs
    for a, b in pairs:
        a.close()
        b.close()


@pytest.mark.feature("epoll")
def test_ready_descriptors_run_in_the_kernels_order(loop, pairs):
    called = []
    for i, (a, _) in enumerate(pairs):
        loop.add_reader(a, called.append, i)
    loop.run_until_complete(asyncio.sleep(0.01))
    for i in (3, 1, 4, 5, 9, 2, 6, 8, 7, 0):
        pairs[i][1].send(b"x")
    loop.run_until_complete(asyncio.sleep(0.01))
    for a, _ in pairs:
        loop.remove_reader(a)
    assert called[:10] == [3, 1, 4, 5, 9, 2, 6, 8, 7, 0]
