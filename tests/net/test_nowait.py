"""A descriptor that somebody who shares it has set to blocking: the loop's thread may wait, the others go on."""

import pytest

PRELUDE = """
import errno, os, socket, struct, threading, time, tty
import failing

class Protocol(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()
        self.data = b""
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.data += data
    def connection_lost(self, exc):
        self.lost.set_result(exc)

class Reader(threading.Thread):
    "Reads so many bytes from a descriptor, after a while."
    def __init__(self, fd, size, delay=0.1):
        super().__init__(daemon=True)
        self.fd, self.size, self.delay, self.data = fd, size, delay, b""
        self.start()
    def run(self):
        time.sleep(self.delay)
        while len(self.data) < self.size and (piece := os.read(self.fd, 65536)):
            self.data += piece

class Clock(threading.Thread):
    "Notes the longest time for which it was kept from running."
    def __init__(self):
        super().__init__(daemon=True)
        self.longest = 0
        self.start()
    def run(self):
        last = time.monotonic()
        while True:
            time.sleep(0.01)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now

def named_pipe():
    os.mkfifo("fifo")
    r = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open("fifo", os.O_WRONLY)
    os.set_blocking(r, True)
    os.unlink("fifo")
    return r, w

def terminal():
    r, w = os.openpty()
    tty.setraw(w)
    return r, w

def socket_pair():
    a, b = socket.socketpair()
    return a.detach(), b.detach()

async def writing(w):
    loop = asyncio.get_running_loop()
    return (await loop.connect_write_pipe(Protocol, open(w, "wb", 0)))

async def reading(r):
    loop = asyncio.get_running_loop()
    return (await loop.connect_read_pipe(Protocol, open(r, "rb", 0)))
"""

MAKERS = ["os.pipe", "named_pipe", "terminal", "socket_pair"]
SIZE = 300_000


@pytest.fixture
def program(script, shim, tmp_path, monkeypatch):
    """program(source) runs the source of main(); what it returns is printed and returned.

    What os.pipe() gives is also tried where the kernel has no RWF_NOWAIT.
    """
    monkeypatch.chdir(tmp_path)

    def program(source, refused=False):
        refusal = "failing.begin('preadv2', 'pwritev2', error=errno.EOPNOTSUPP, times=-1)\n" if refused else ""
        end = "\nloop = new_loop()\nprint(loop.run_until_complete(main()), flush=True)\nos._exit(0)\n"
        return script(PRELUDE + refusal + source + end, preload=shim).stdout

    return program


@pytest.mark.parametrize("refused", [False, True], ids=["", "without RWF_NOWAIT"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_blocking_pipe_is_written_without_blocking(program, make, refused):
    assert (
        program(
            f"""
async def main():
    r, w = {make}()
    transport, protocol = await writing(w)
    os.set_blocking(w, True)
    data = os.urandom({SIZE})
    reader = Reader(r, {SIZE})
    transport.write(data[:1000])
    transport.write(data[1000:])
    transport.write(b"")
    while reader.is_alive():
        await asyncio.sleep(0.001)
    return reader.data == data
""",
            refused,
        )
        == "True\n"
    )


@pytest.mark.parametrize("refused", [False, True], ids=["", "without RWF_NOWAIT"])
@pytest.mark.parametrize("make", MAKERS)
def test_queued_bytes_of_a_pipe_that_is_set_to_blocking(program, make, refused):
    assert (
        program(
            f"""
async def main():
    r, w = {make}()
    transport, protocol = await writing(w)
    data = os.urandom({SIZE})
    transport.write(data[:{SIZE} - 2000])  # more than fits
    transport.write(data[{SIZE} - 2000:-1000])
    transport.write(data[-1000:])
    assert transport.get_write_buffer_size() > 0
    os.set_blocking(w, True)
    reader = Reader(r, {SIZE})
    await asyncio.sleep(0)
    while reader.is_alive():
        await asyncio.sleep(0.001)
    transport.close()
    return reader.data == data, await protocol.lost
""",
            refused,
        )
        == "(True, None)\n"
    )


@pytest.mark.parametrize("refused", [False, True], ids=["", "without RWF_NOWAIT"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_blocking_pipe_whose_bytes_another_reader_has_taken(program, make, refused):
    assert (
        program(
            f"""
async def main():
    r, w = {make}()
    transport, protocol = await reading(r)
    os.write(w, b"x")
    while not protocol.data:
        await asyncio.sleep(0.001)
    os.set_blocking(r, True)
    clock = Clock()
    threading.Timer(0.5, os.write, (w, b"y")).start()
    transport._read_ready()
    while protocol.data != b"xy":
        await asyncio.sleep(0.001)
    return clock.longest < 0.25
""",
            refused,
        )
        == "True\n"
    )


@pytest.mark.parametrize("refused", [False, True], ids=["", "without RWF_NOWAIT"])
def test_the_end_and_failures_of_a_blocking_pipe(program, refused):
    assert (
        program(
            """
async def main():
    r, w = os.pipe()
    transport, reader = await reading(r)
    os.set_blocking(r, True)
    os.close(w)
    ends = [await reader.lost]
    r, w = os.pipe()
    transport, writer = await writing(w)
    transport.write(b"x")
    os.set_blocking(w, True)
    os.close(r)
    transport.write(b"x")
    ends.append(type(await writer.lost).__name__)
    return ends
""",
            refused,
        )
        == "[None, 'BrokenPipeError']\n"
    )


def test_a_listening_socket_that_is_set_to_blocking(program):
    """asyncio's loop waits for a connection more than there are, so a thread tells what it saw."""
    assert (
        program(
            """
async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    await asyncio.get_running_loop().create_server(Protocol, sock=listener)
    os.set_blocking(listener.fileno(), True)
    clock = Clock()

    def connect():
        peers = []
        for _ in range(5):
            peers.append(socket.create_connection(listener.getsockname()))
            time.sleep(0.1)
        print(clock.longest < 0.25, flush=True)
        os._exit(0)

    threading.Thread(target=connect).start()
    await asyncio.sleep(20)
"""
        )
        == "True\n"
    )


def test_the_loop_goes_on_though_a_listening_socket_is_blocking(program, kind):
    if kind == "asyncio":
        pytest.skip("it waits for a connection more than there are")
    assert (
        program(
            """
async def main():
    async def echo(reader, writer):
        writer.write(await reader.read(10))
        writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    await asyncio.start_server(echo, sock=listener)
    os.set_blocking(listener.fileno(), True)
    for _ in range(3):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"x")
        assert await reader.read() == b"x"
        writer.close()
    return "went on"
"""
        )
        == "went on\n"
    )


def test_the_close_of_a_connection_that_lingers(program):
    """Linux waits in close() then, also of a socket that does not block."""
    assert (
        program(
            """
async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
    made = loop.create_future()

    class Server(Protocol):
        def connection_made(self, transport):
            made.set_result(transport)

    await loop.create_server(Server, sock=listener)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await loop.sock_connect(peer, listener.getsockname())
    transport = await made
    transport.write(bytes(3_000_000))
    clock = Clock()
    await asyncio.sleep(0.05)
    transport.abort()
    await asyncio.sleep(0.05)
    return clock.longest < 0.5
"""
        )
        == "True\n"
    )
