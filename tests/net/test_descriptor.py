"""A descriptor that the program closes behind a transport's back: the next file has its number, and stays untouched."""

import asyncio
import contextlib
import errno
import gc
import io
import os
import shutil
import socket
import subprocess
import sys

import pytest

own_only = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


def make_pair(kind=socket.SOCK_STREAM, family=socket.AF_UNIX):
    near, far = socket.socketpair(family, kind)
    near.setblocking(False)
    far.setblocking(False)
    return near, far


class Stranger:
    """Another connection of the program, whose near end got the descriptor number of one that is gone."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        self.inode = os.fstat(near.fileno()).st_ino
        near.setblocking(False)
        far.setblocking(False)

    def check(self):
        """It has received nothing, is open, and works both ways."""
        with pytest.raises(BlockingIOError):
            self.far.recv(1 << 20)
        assert os.fstat(self.near.fileno()).st_ino == self.inode
        for one, other in [(self.near, self.far), (self.far, self.near)]:
            one.send(b"still here")
            assert other.recv(100) == b"still here"


@pytest.fixture
def strangers():
    """Closes them, and what was opened to get at their numbers."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def take(strangers):
    """take(fd, kind) -> the Stranger that has the number fd, which is free."""

    def take(fd, kind=socket.SOCK_STREAM):
        while True:
            pair = make_pair(kind)
            for sock in pair:
                strangers.enter_context(sock)
            numbers = [sock.fileno() for sock in pair]
            if fd in numbers:
                return Stranger(*pair[:: 1 if numbers[0] == fd else -1])
            assert min(numbers) < fd

    return take


LOSSES = ["close", "with", "detach", "os.close", "dup2"]
STOCK_LOSSES = ["close", "with", "detach"]  # asyncio goes by the number after the others


@pytest.fixture
def lose(take, strangers):
    """lose(sock, how) -> the Stranger that has its number then."""

    def lose(sock, how, kind=socket.SOCK_STREAM):
        fd = sock.fileno()
        if how == "dup2":
            near, far = make_pair(kind)
            os.dup2(near.fileno(), fd)
            near.close()
            near = socket.socket(fileno=fd)
            for end in (near, far):
                strangers.enter_context(end)
            return Stranger(near, far)
        if how == "close":
            sock.close()
        elif how == "with":
            with sock:
                pass
        elif how == "detach":
            os.close(sock.detach())
        else:
            os.close(fd)
        return take(fd, kind)

    return lose


every_loss = pytest.mark.parametrize(
    "kind, how",
    [("asyncio", how) for how in STOCK_LOSSES] + [("asyncloop", how) for how in LOSSES],
    indirect=["kind"],
)


# --- streams -------------------------------------------------------------------------------------------------------


async def given(loop, protocol):
    near, far = make_pair()
    transport, _ = await loop.create_connection(lambda: protocol, sock=near)
    return transport, near, far


async def accepted(loop, protocol):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, near)
    return transport, near, far


async def served(loop, protocol):
    """A connection of a server, whose socket the program has asked for."""
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    far = socket.create_connection(server.sockets[0].getsockname())
    while protocol.transport is None:
        await asyncio.sleep(0.001)
    server.close()
    return protocol.transport, protocol.transport.get_extra_info("socket")._sock, far


async def made(loop, protocol):
    """A connection that the loop has made, whose socket the program has asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
        far, _ = listener.accept()
    return transport, transport.get_extra_info("socket")._sock, far


async def made_unix(loop, protocol):
    path = f"\0asyncloop-tests-descriptor-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        transport, _ = await loop.create_unix_connection(lambda: protocol, path)
        far, _ = listener.accept()
    return transport, transport.get_extra_info("socket")._sock, far


async def send_file(transport):
    await asyncio.get_running_loop().sendfile(transport, io.BytesIO(b"x" * 100_000), fallback=True)


async def send_real_file(transport):
    with open(__file__, "rb") as file:
        await asyncio.get_running_loop().sendfile(transport, file)


USES = {
    "nothing": lambda transport: None,
    "write": lambda transport: transport.write(b"secret"),
    "two writes": lambda transport: (transport.write(b"sec"), transport.write(b"ret")),
    "a long write": lambda transport: transport.write(b"s" * (1 << 20)),
    "writelines": lambda transport: transport.writelines([b"sec", b"ret"]),
    "write, close": lambda transport: (transport.write(b"secret"), transport.close()),
    "write_eof": lambda transport: transport.write_eof(),
    "write, write_eof": lambda transport: (transport.write(b"secret"), transport.write_eof()),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "pause, resume": lambda transport: (transport.pause_reading(), transport.resume_reading()),
    "sendfile": send_file,
    "sendfile by the kernel": send_real_file,
}


@every_loss
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("connect_by", [given, accepted, served, made, made_unix], ids=lambda by: by.__name__)
def test_the_stranger_is_left_alone(run, loop, Recorder, reports, connect_by, use, how, lose):
    protocol = Recorder()

    async def main():
        transport, sock, far = await connect_by(loop, protocol)
        stranger = lose(sock, how)
        with contextlib.suppress(OSError, RuntimeError), far:
            if asyncio.iscoroutine(outcome := USES[use](transport)):
                await asyncio.wait_for(outcome, 5)
        for _ in range(3):
            stranger.check()
            await asyncio.sleep(0.002)
        transport.abort()
        await asyncio.sleep(0.002)
        stranger.check()
        assert protocol.data == b""
        assert len(protocol.lost) == 1

    run(main())
    reports()


@every_loss
@pytest.mark.parametrize("use", ["write", "writelines", "a long write"])
def test_a_write_ends_the_connection(run, loop, Recorder, use, how, lose):
    protocol = Recorder()

    async def main():
        transport, sock, far = await given(loop, protocol)
        lose(sock, how)
        USES[use](transport)
        assert transport.is_closing()
        await asyncio.sleep(0)
        far.close()

    run(main())
    (exc,) = protocol.lost
    assert exc.errno == errno.EBADF


@every_loss
def test_write_eof_raises(run, loop, Recorder, how, lose):
    async def main():
        transport, sock, far = await given(loop, Recorder())
        lose(sock, how)
        with pytest.raises(OSError, match="Bad file descriptor"):
            transport.write_eof()
        transport.abort()
        far.close()

    run(main())


@every_loss
def test_queued_bytes_do_not_go_to_the_new_file(run, loop, Recorder, reports, how, lose):
    """The kernel tells of the descriptor as long as a duplicate keeps the file open."""
    protocol = Recorder()

    async def main():
        transport, sock, far = await given(loop, protocol)
        transport.write(b"s" * (8 << 20))
        assert transport.get_write_buffer_size() > 0
        duplicate = sock.dup()
        stranger = lose(sock, how)
        far.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                far.recv(1 << 20)
        await asyncio.sleep(0.01)
        stranger.check()
        transport.close()
        await asyncio.sleep(0.01)
        stranger.check()
        duplicate.close()
        far.close()
        transport.abort()
        await asyncio.sleep(0)

    run(main())
    (exc,) = protocol.lost
    assert exc is None or exc.errno == errno.EBADF
    reports()  # asyncio's selector does not know the number any more


@own_only
@pytest.mark.parametrize("how", LOSSES)
def test_close_with_a_queue_ends_the_connection_at_once(run, loop, Recorder, how, lose):
    """asyncio waits for ever for a descriptor that will never be writable."""
    protocol = Recorder()

    async def main():
        transport, sock, far = await given(loop, protocol)
        transport.write(b"s" * (8 << 20))
        stranger = lose(sock, how)
        transport.close()
        await asyncio.sleep(0)
        stranger.check()
        far.close()

    run(main())
    (exc,) = protocol.lost
    assert exc.errno == errno.EBADF


@pytest.mark.parametrize("read", [False, True])
def test_a_detached_socket_is_the_programs(run, loop, Recorder, read):
    """The number still is the same file, and not the transport's any more."""
    protocol = Recorder()

    async def main():
        transport, sock, far = await given(loop, protocol)
        if not read:
            transport.pause_reading()
        mine = socket.socket(fileno=sock.detach())
        transport.write(b"secret")
        await asyncio.sleep(0.002)
        mine.send(b"mine")
        assert far.recv(100) == b"mine"
        far.send(b"yours")
        assert mine.recv(100) == b"yours"
        mine.close()
        far.close()

    run(main())
    (exc,) = protocol.lost
    assert exc.errno == errno.EBADF
    assert protocol.data == b""


@own_only
def test_a_duplicate_of_the_same_file_is_no_stranger(run, loop, Recorder):
    protocol = Recorder()

    async def main():
        transport, sock, far = await given(loop, protocol)
        duplicate = sock.dup()
        os.dup2(duplicate.fileno(), sock.fileno())
        duplicate.close()
        transport.write(b"hello")
        await asyncio.sleep(0.002)
        assert far.recv(100) == b"hello"
        transport.close()
        await asyncio.sleep(0)
        assert far.recv(100) == b""
        far.close()

    run(main())
    assert protocol.lost == [None]


class TestTheNumberIsAnotherTransports:
    """Which is neither deaf for the one that was there before, nor hears it anything of the other."""

    @pytest.fixture(params=[None, "poll", "select"])
    def loop_factory(self, request, kind):
        import asyncloop

        return lambda: asyncloop.Loop(backend=request.param)

    @own_only
    @pytest.mark.parametrize("how", LOSSES)
    @pytest.mark.parametrize("kept", [False, True], ids=["gone", "kept open by a duplicate"])
    def test_second_stream_gets_its_bytes(self, run, loop, Recorder, how, kept, lose, strangers):
        first, second = Recorder(), Recorder()

        async def main():
            transport, sock, far = await given(loop, first)
            if kept:
                strangers.enter_context(sock.dup())
            stranger = lose(sock, how)
            other, _ = await loop.create_connection(lambda: second, sock=stranger.near)
            for i in range(5):
                with contextlib.suppress(OSError):
                    far.send(b"not for you")
                stranger.far.send(b"%d" % i)
                await asyncio.sleep(0.002)
                assert second.data == b"".join(b"%d" % i for i in range(i + 1))
            other.write(b"answer")
            assert stranger.far.recv(100) == b"answer"
            assert transport.is_closing()
            other.close()
            await asyncio.sleep(0)
            far.close()

        run(main())
        assert first.data == b""
        assert first.lost[0].errno == errno.EBADF
        assert second.lost == [None]

    @own_only
    def test_accepted_connection_gets_its_bytes(self, run, loop, Recorder, strangers):
        first, second = Recorder(), Recorder()

        async def main():
            server = await loop.create_server(lambda: second, "127.0.0.1", 0)
            transport, sock, far = await given(loop, first)
            fd = sock.fileno()
            client = strangers.enter_context(socket.socket())
            client.setblocking(False)
            while loop.metrics().idle_seconds == 0:  # to wait for a timer, the loop may open a descriptor of its own
                await asyncio.sleep(0.001)  # on a slow machine it may be over before the loop waits
            sock.close()
            while (filler := strangers.enter_context(socket.socket())).fileno() != fd:
                pass  # so that fd is the lowest free number
            filler.close()
            with contextlib.suppress(BlockingIOError):
                client.connect(server.sockets[0].getsockname())  # what is fresh from the kernel cannot be the first's
            while second.transport is None:
                await asyncio.sleep(0.001)
            assert second.transport.get_extra_info("socket").fileno() == fd
            client.send(b"hello")
            await asyncio.sleep(0.01)
            assert second.data == b"hello"
            second.transport.close()
            server.close()
            await asyncio.sleep(0)
            far.close()

        run(main())
        assert first.data == b""
        assert first.lost[0].errno == errno.EBADF

    @own_only
    @pytest.mark.parametrize("how", LOSSES)
    def test_add_reader_and_sock_recv_get_it(self, run, loop, Recorder, how, lose):
        """asyncio refuses: the number is the transport's, as far as it knows."""
        first = Recorder()

        async def main():
            transport, sock, far = await given(loop, first)
            stranger = lose(sock, how)
            called = asyncio.Event()
            loop.add_reader(stranger.near, called.set)
            stranger.far.send(b"hello")
            await called.wait()
            assert loop.remove_reader(stranger.near)
            assert await loop.sock_recv(stranger.near, 100) == b"hello"
            assert transport.is_closing()
            await asyncio.sleep(0)
            far.close()

        run(main())
        assert first.data == b""


# --- who knows a number --------------------------------------------------------------------------------------------

COUNTED = """
import asyncio, os, socket, sys
{first}

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        {server}

    def data_received(self, data):
        self.transport.write(data)

class Client(Echo):
    def connection_made(self, transport):
        pass

    def data_received(self, data):
        self.left -= 1
        if self.left:
            self.transport.write(data)
        else:
            self.done.set_result(None)

async def main(loop):
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    transport, client = await loop.create_connection(Client, *server.sockets[0].getsockname())
    await asyncio.sleep(0.01)
    {client}
    client.transport, client.left, client.done = transport, 1000, loop.create_future()
    os.write(2, b"begin")
    transport.write(b"x")
    await client.done
    os.write(2, b"end")
    transport.close()
    server.close()

loop = new_loop()
loop.run_until_complete(main(loop))
loop.close()
"""
HARMLESS = (
    "shown = transport.get_extra_info('socket'); shown.getpeername(), shown.getsockname(), shown.family, shown.type, "
    "shown.proto, shown.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), "
    "shown.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)"
)


strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@strace
@pytest.mark.parametrize(
    "client, server, looks",
    [
        ("pass", "pass", 0),
        (HARMLESS, HARMLESS, 0),
        ("transport.get_extra_info('socket').fileno()", "pass", 2000),
        ("pass", "transport.get_extra_info('socket').fileno()", 2000),
        ("transport._sock", "pass", 2000),
        ("transport._sock_fd", "pass", 2000),
        ("transport.get_extra_info('socket').dup().close()", "pass", 2000),
    ],
    ids=["nobody", "harmless", "client", "server", "_sock", "_sock_fd", "dup"],
)
def test_only_descriptors_that_the_program_can_reach_are_checked(tmp_path, client, server, looks):
    """A connection that the loop has made costs no fstat(), until its number is shown."""
    program = tmp_path / "program.py"
    program.write_text(
        "from asyncloop import new_event_loop as new_loop\n" + COUNTED.format(client=client, server=server, first="")
    )
    assert looks <= count_looks(program, tmp_path / "trace") <= looks * 1.1 + 5


@strace
@pytest.mark.parametrize(
    "first",
    [
        "kept = []; sys.addaudithook(lambda event, args: event == 'socket.connect' and kept.append(args[0]))",
        "class Mine(socket.socket): pass\nsocket.socket = Mine",
    ],
    ids=["an audit hook", "a class in the place of socket.socket"],
)
def test_another_owner_of_the_socket_makes_it_shared(tmp_path, first):
    program = tmp_path / "program.py"
    program.write_text(
        "from asyncloop import new_event_loop as new_loop\n" + COUNTED.format(client="pass", server="pass", first=first)
    )
    assert count_looks(program, tmp_path / "trace") >= 2000


def count_looks(program, trace):
    command = ["strace", "-o", trace, "-e", "trace=fstat,newfstatat,write", sys.executable, program]
    subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)
    lines = trace.read_text().splitlines()
    begin, end = (next(i for i, line in enumerate(lines) if f'"{word}"' in line) for word in ("begin", "end"))
    return sum("fstat" in line for line in lines[begin:end])


# --- datagrams -----------------------------------------------------------------------------------------------------


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = []
        self.errors = []
        self.lost = []

    def datagram_received(self, data, addr):
        self.received.append(data)

    def error_received(self, exc):
        self.errors.append(exc.errno)

    def connection_lost(self, exc):
        self.lost.append(exc)


async def given_datagrams(loop):
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    near.setblocking(False)
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))
    far.setblocking(False)
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=near)
    return transport, protocol, near, far


async def made_datagrams(loop):
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))
    far.setblocking(False)
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    return transport, protocol, transport.get_extra_info("socket")._sock, far


@pytest.mark.parametrize("how", STOCK_LOSSES)
def test_datagrams_after_the_end_are_errors(run, loop, how, lose):
    async def main():
        transport, protocol, near, far = await given_datagrams(loop)
        stranger = lose(near, how, socket.SOCK_DGRAM)
        transport.sendto(b"secret", far.getsockname())
        transport.sendto(b"secret", far.getsockname())
        assert protocol.errors == [errno.EBADF] * 2
        assert not transport.is_closing()
        stranger.check()
        transport.close()
        await asyncio.sleep(0)
        assert protocol.lost == [None]
        stranger.check()
        far.close()

    run(main())


@own_only
@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("connect_by", [given_datagrams, made_datagrams], ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    "use",
    [
        lambda transport, to: transport.sendto(b"secret", to),
        lambda transport, to: (transport.sendto(b"secret", to), transport.close()),
        lambda transport, to: (transport.pause_reading(), transport.resume_reading()),
        lambda transport, to: transport.abort(),
        lambda transport, to: None,
    ],
    ids=["sendto", "sendto, close", "pause, resume", "abort", "nothing"],
)
def test_a_stranger_is_left_alone_by_datagrams(run, loop, reports, connect_by, how, use, lose):
    async def main():
        transport, protocol, near, far = await connect_by(loop)
        stranger = lose(near, how, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            use(transport, far.getsockname())
        for _ in range(3):
            stranger.check()
            await asyncio.sleep(0.002)
        transport.abort()
        await asyncio.sleep(0.002)
        stranger.check()
        assert protocol.received == []
        assert protocol.lost == [None]
        far.close()

    run(main())
    reports()


@own_only
def test_a_new_endpoint_with_the_number_of_one_that_is_gone(run, loop, lose):
    async def main():
        transport, protocol, near, far = await given_datagrams(loop)
        stranger = lose(near, "close", socket.SOCK_DGRAM)
        other, second = await loop.create_datagram_endpoint(Datagrams, sock=stranger.near)
        stranger.far.send(b"hello")
        await asyncio.sleep(0.005)
        assert second.received == [b"hello"]
        assert transport.is_closing()
        other.close()
        await asyncio.sleep(0)
        assert protocol.lost[0].errno == errno.EBADF
        assert protocol.received == []
        far.close()

    run(main())


# --- pipes ---------------------------------------------------------------------------------------------------------


@own_only
@pytest.mark.parametrize("how", ["close", "os.close", "dup2"])
@pytest.mark.parametrize(
    "use",
    [
        lambda transport: transport.write(b"secret"),
        lambda transport: (transport.write(b"s" * (1 << 20)), transport.close()),
        lambda transport: transport.close(),
        lambda transport: transport.abort(),
    ],
    ids=["write", "write, close", "close", "abort"],
)
def test_a_stranger_is_left_alone_by_a_pipe_that_writes(run, loop, Recorder, reports, how, use, lose):
    protocol = Recorder()

    async def main():
        reader, writer = os.pipe()
        pipe = open(writer, "wb", 0)  # noqa: SIM115
        transport, _ = await loop.connect_write_pipe(lambda: protocol, pipe)
        stranger = lose(pipe, how)
        use(transport)
        for _ in range(3):
            stranger.check()
            await asyncio.sleep(0.002)
        transport.abort()
        await asyncio.sleep(0.002)
        del transport
        stranger.check()
        os.close(reader)
        return stranger

    stranger = run(main())
    gc.collect()
    stranger.check()
    assert protocol.lost[0] is None or protocol.lost[0].errno == errno.EBADF
    reports()


@own_only
@pytest.mark.parametrize("how", ["close", "os.close", "dup2"])
@pytest.mark.parametrize("end", ["close", "resume_reading"])
def test_a_stranger_is_left_alone_by_a_pipe_that_reads(run, loop, Recorder, reports, how, end, lose):
    protocol = Recorder()

    async def main():
        reader, writer = os.pipe()
        pipe = open(reader, "rb", 0)  # noqa: SIM115
        transport, _ = await loop.connect_read_pipe(lambda: protocol, pipe)
        if end == "resume_reading":
            transport.pause_reading()
        stranger = lose(pipe, how)
        stranger.check()
        with contextlib.suppress(OSError):
            getattr(transport, end)()
        for _ in range(3):
            stranger.check()
            await asyncio.sleep(0.002)
        transport.close()
        await asyncio.sleep(0.002)
        stranger.check()
        os.close(writer)

    run(main())
    assert protocol.data == b""
    reports()


# --- listeners and sock_* ------------------------------------------------------------------------------------------


@own_only
@pytest.mark.parametrize("how", LOSSES)
def test_a_server_leaves_a_stranger_alone(run, loop, Recorder, reports, how, lose):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(Recorder, sock=listener)
        stranger = lose(listener, how)
        stranger.check()
        await asyncio.sleep(0.002)
        server.close()
        await asyncio.sleep(0.002)
        stranger.check()

    run(main())
    reports()


@own_only
@pytest.mark.parametrize("how", ["close", "detach", "os.close"])
def test_a_server_does_not_accept_for_another(run, loop, Recorder, reports, how):
    """The number is that of another listening socket, which the loop does not serve, and the old one lives on."""
    protocol = Recorder()

    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        address, fd = listener.getsockname(), listener.fileno()
        duplicate = listener.dup()  # so that the kernel goes on telling of the number
        server = await loop.create_server(lambda: protocol, sock=listener)
        if how == "close":
            listener.close()
        elif how == "detach":
            os.close(listener.detach())
        else:
            os.close(fd)
        other = socket.create_server(("127.0.0.1", 0))
        assert other.fileno() == fd
        clients = [socket.create_connection(address), socket.create_connection(other.getsockname())]
        await asyncio.sleep(0.005)
        other.settimeout(5)
        other.accept()[0].close()
        server.close()
        assert os.fstat(fd).st_ino == os.fstat(other.fileno()).st_ino
        other.close()
        for sock in [duplicate, *clients]:
            sock.close()

    run(main())
    assert protocol.transport is None
    for report in reports():
        assert report["exception"].errno == errno.EBADF


@pytest.mark.parametrize("how", STOCK_LOSSES)
@pytest.mark.parametrize("operation", ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_sendall", "sock_accept"])
def test_an_operation_that_waits_leaves_a_stranger_alone(run, loop, operation, how, lose):
    async def main():
        near, far = make_pair()
        if operation == "sock_accept":
            near.close()
            near = socket.create_server(("127.0.0.1", 0))
            near.setblocking(False)
        much = bytes(8 << 20)
        argument = {"sock_recv": 100, "sock_recv_into": bytearray(100), "sock_recvfrom": 100, "sock_sendall": much}
        arguments = [argument[operation]] if operation in argument else []
        task = asyncio.ensure_future(getattr(loop, operation)(near, *arguments))
        await asyncio.sleep(0.002)
        stranger = lose(near, how)
        for _ in range(3):
            stranger.check()
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait([task])
        stranger.check()
        far.close()

    run(main())
