"""Messages written in parts, as a head and a body, may leave in one piece when the step that wrote them returns."""

import asyncio
import concurrent.futures
import contextlib
import errno
import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

PART = b"0123456789"
TRIAL = 33  # steps with several writes until the next one is held
FOREVER = 2**64 - 1  # of the processor's cycles


def segments(sock):
    """Return how many TCP segments with data were sent, but for those that the kernel has sent again."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    (again,) = struct.unpack_from("=I", info, 100)
    (sent,) = struct.unpack_from("=I", info, 156)
    return sent - again


@pytest.fixture
def turns(run):
    """turns(function, ...) calls each function in a turn of its own."""

    async def call(functions):
        for function in functions:
            function()
            await asyncio.sleep(0)

    return lambda *functions: run(call(functions))


@pytest.fixture
def made(loop, run, Recorder):
    """made() -> (transport, peer) of a connection that the loop has made: the program has no way to its socket."""
    ends = []

    def made():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport, _ = run(loop.create_connection(Recorder, *listener.getsockname()))
            peer, _ = listener.accept()
        peer.settimeout(20)
        ends.append((transport, peer))
        return transport, peer

    yield made
    if not loop.is_closed():
        for transport, _ in ends:
            transport.abort()
        run(asyncio.sleep(0))
    for _, peer in ends:
        peer.close()


@pytest.fixture
def let_steps_be_short(loop):
    """let_steps_be_short(True): no step counts as long, however busy the machine; False: 200 us are long again."""
    usual = getattr(loop, "_held_most", 0)  # to asyncio it means nothing

    def let(be_short):
        loop._held_most = FOREVER if be_short else usual

    return let


@pytest.fixture
def train(kind, turns, receive, available, let_steps_be_short):
    """train(transport, peer) writes to a transport in parts, until it expects more the next time."""

    def train(transport, peer, until_held=kind == "asyncloop"):
        seen = []

        def write():
            transport.write(b"a")
            transport.write(b"b")

        def look():
            transport.write(b"a")
            seen.append(available(peer))
            transport.write(b"b")

        let_steps_be_short(True)
        turns(*[write] * TRIAL)
        assert receive(peer, 2 * TRIAL) == b"ab" * TRIAL
        if until_held:
            turns(look)
            assert seen == [b""], "nothing is ever held"
            assert receive(peer, 2) == b"ab"
        return transport, peer

    return train


@pytest.fixture
def parts(made, train):
    """parts() -> (transport, peer) of a connection that was written to in parts, and how much of that went out."""
    return lambda: train(*made())


@pytest.fixture
def deserted(parts):
    """(transport, protocol) of such a connection, which the peer has reset; as it does not read, it does not know."""
    transport, peer = parts()
    transport.pause_reading()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    return transport, transport.get_protocol()


@pytest.fixture
def available():
    """available(peer) -> what can be read from it now, without the loop running."""

    def available(peer):
        peer.setblocking(False)
        try:
            return peer.recv(1 << 20)
        except BlockingIOError:
            return b""
        finally:
            peer.settimeout(20)

    return available


@pytest.mark.parametrize("count", [2, 3, 10, 5000])
def test_parts_arrive_in_order(parts, turns, receive, count):
    transport, peer = parts()
    sent = [b"%d " % i for i in range(count)]

    def write_all():
        for part in sent:
            transport.write(part)

    turns(write_all, write_all)
    expected = b"".join(sent) * 2
    assert receive(peer, len(expected)) == expected


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_a_buffer_may_change_after_the_write(parts, turns, receive, make):
    transport, peer = parts()
    buffers = [bytearray(b"first"), bytearray(b"second")]

    def write():
        for buffer in buffers:
            transport.write(buffer if make is bytearray else make(buffer))
            buffer[:] = b"x" * len(buffer)

    turns(write)
    assert receive(peer, 11) == b"firstsecond"


def test_large_and_small_parts(parts, turns, receive):
    transport, peer = parts()
    sent = [bytes([65 + i]) * size for i, size in enumerate([1, 100, 10_000, 10_000, 1, 100_000, 1, 20_000, 3])]

    def write():
        for part in sent:
            transport.write(part)
        transport.writelines([b"line ", b"line"])
        transport.write(b"end")

    turns(write)
    expected = b"".join(sent) + b"line lineend"
    assert receive(peer, len(expected)) == expected


def test_several_writes_of_a_step_are_one_segment(kind, parts, turns, receive):
    """Not before it is known that they come in parts; and one write a turn goes at once again."""
    if kind == "asyncio":
        pytest.skip("asyncio sends each part")
    transport, peer = parts()
    sock = transport.get_extra_info("socket")
    before = segments(sock)
    turns(*[lambda: (transport.write(PART), transport.write(PART))] * 10)
    assert receive(peer, 200) == PART * 20
    assert segments(sock) - before == 10


def test_a_single_write_is_on_its_way_when_it_returns(parts, turns, available):
    transport, peer = parts()
    seen = []

    def write():
        transport.write(PART)
        seen.append(available(peer))

    turns(lambda: transport.write(b"x"), write, write)
    assert b"".join(seen).endswith(PART * 2)
    assert seen[1] == PART


class Look:
    """look(peer) notes what the peer has got of a first part, look.rest(parts) -> what is to come of them.

    It has got nothing while it is held, which asyncio never does.
    """

    def __init__(self, kind, available):
        self.expected = PART if kind == "asyncio" else b""
        self.available = available

    def __call__(self, peer):
        self.got = self.available(peer)
        assert self.got == self.expected

    def rest(self, parts):
        return parts[len(self.got) :]


@pytest.fixture
def look(kind, available):
    return Look(kind, available)


class TestUntilTheStepReturns:
    """Nobody who has a turn of his own after it finds anything held."""

    @pytest.fixture
    def work(self, parts, look):
        """(work, peer): work() writes two parts."""
        transport, peer = parts()

        def work(*_):
            transport.write(PART)
            look(peer)
            transport.write(b"more")

        work.transport = transport
        return work, peer

    @pytest.fixture
    def check(self, look, available):
        """check(peer) that all is there."""

        def check(peer):
            assert available(peer) == look.rest(PART + b"more")

        return check

    def test_a_callback(self, loop, run, work, check):
        work, peer = work
        loop.call_soon(work)
        loop.call_soon(check, peer)
        run(asyncio.sleep(0.001))

    def test_the_last_callback_of_a_turn(self, loop, turn, work, check):
        work, peer = work
        loop.call_soon(work)
        turn()
        check(peer)

    def test_a_timer(self, loop, run, work, check):
        work, peer = work
        when = loop.time() + 0.001
        loop.call_at(when, work)
        loop.call_at(when, check, peer)
        run(asyncio.sleep(0.005))

    def test_a_step_of_a_task(self, run, work, check):
        work, peer = work

        async def step():
            await asyncio.sleep(0)
            work()
            await asyncio.sleep(0)

        async def look():
            await asyncio.sleep(0)
            check(peer)

        async def main():
            await asyncio.gather(step(), look())

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
    def test_an_eager_task(self, loop, run, Task, work, check):
        if Task is asyncio.Task:
            pytest.skip("asyncio's own task tells nobody that its first step begins")
        work, peer = work

        async def step():
            work()

        async def main():
            task = Task(step(), loop=loop, eager_start=True)
            check(peer)
            await task

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
    @pytest.mark.parametrize("factory", ["none", "stock", "own"])
    def test_before_and_after_an_eager_task(self, loop, run, Task, work, check, parts, available, factory):
        """Whoever makes it: its first step is a step of its own."""
        if Task is asyncio.Task and factory == "none":
            pytest.skip("asyncio's own task tells nobody that its first step begins")
        work, peer = work
        other, other_peer = parts()
        if factory != "none":
            maker = asyncio.create_eager_task_factory(Task) if factory == "own" else asyncio.eager_task_factory
            loop.set_task_factory(maker)

        async def step():
            check(peer)
            other.write(b"1")
            other.write(b"2")

        async def main():
            await asyncio.sleep(0)
            work()
            if factory == "none":
                task = Task(step(), loop=loop, eager_start=True)
            else:
                task = loop.create_task(step())
            assert available(other_peer) == b"12"
            await task

        run(main())

    def test_an_exception_handler(self, loop, run, work, check):
        work, peer = work
        reports = []

        def fail():
            work()
            raise ValueError

        loop.set_exception_handler(lambda loop, context: reports.append(check(peer)))
        loop.call_soon(fail)
        run(asyncio.sleep(0.001))
        assert reports == [None]

    def test_arguments_are_freed_after_the_callback_before_the_send(self, loop, run, work, check):
        """Its arguments are let go of after it has returned."""
        work, peer = work
        gone = []

        class Argument:
            def __del__(self):
                gone.append(check(peer))

        loop.call_soon(work, Argument())
        run(asyncio.sleep(0.001))
        assert gone == [None]

    def test_a_finaliser_of_an_argument(self, loop, run, work, check):
        work, peer = work

        class Argument:
            def __del__(self):
                work()

        loop.call_soon(id, Argument())
        loop.call_soon(check, peer)
        run(asyncio.sleep(0.001))

    def test_data_received(self, loop, run, work, check):
        work, peer = work
        work.transport.get_protocol().data_received = work

        async def main():
            peer.sendall(b"question")
            await asyncio.sleep(0.01)

        run(main())
        check(peer)

    def test_a_callback_that_raises(self, loop, run, work, check, take_reports):
        work, peer = work

        def fail():
            work()
            raise ValueError

        loop.call_soon(fail)
        loop.call_soon(check, peer)
        run(asyncio.sleep(0.001))
        assert len(take_reports()) == 1

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
    def test_a_callback_that_ends_the_run(self, loop, work, check, stop):
        work, peer = work

        def end():
            work()
            raise stop

        loop.call_soon(end)
        with pytest.raises(stop):
            loop.run_forever()
        check(peer)

    def test_a_callback_that_stops_the_loop(self, loop, work, check):
        work, peer = work
        loop.call_soon(lambda: (loop.stop(), work()))
        loop.run_forever()
        check(peer)

    def test_each_datagram(self, loop, run, kind, work, available):
        """Several come with one system call."""
        work, peer = work
        work.transport.get_protocol()
        seen = []

        class Datagrams(asyncio.DatagramProtocol):
            def datagram_received(self, data, addr):
                if seen:  # a busy machine may need a moment to deliver what was sent
                    select.select([peer], [], [], 1)
                seen.append(available(peer))
                work.transport.write(data)
                work.transport.write(data)

        async def main():
            transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(60):
                    sender.sendto(b"x", transport.get_extra_info("sockname"))
            while len(seen) < 60:
                await asyncio.sleep(0.001)
            transport.close()

        run(main())
        assert seen == [b""] + [b"xx"] * 59


class TestForAShortWhileOnly:
    def test_the_next_part_takes_the_first_along(self, parts, turns, look, available, let_steps_be_short):
        transport, peer = parts()
        let_steps_be_short(False)

        def work():
            transport.write(PART)
            look(peer)
            time.sleep(0.001)
            transport.write(b"more")
            assert available(peer) == look.rest(PART + b"more")

        turns(work)

    def test_after_a_long_step_nothing_is_held(self, parts, turns, look, available, let_steps_be_short):
        """But on trial, for twice as many steps each time; the last time one is held again after them."""
        transport, peer = parts()

        def work():
            transport.write(PART)
            time.sleep(0.001)
            transport.write(b"more")

        def check():
            transport.write(PART)
            assert available(peer) == PART
            transport.write(b"more")
            assert available(peer) == b"more"

        for steps in (32, 64, 128):
            let_steps_be_short(False)
            turns(work)
            available(peer)
            let_steps_be_short(True)
            turns(*[check] * steps)
        turns(lambda: (transport.write(PART), look(peer), transport.write(b"more")))
        assert available(peer) == look.rest(PART + b"more")

    def test_long_steps_are_never_held(self, made, turns, available):
        """What they write is on its way while they go on."""
        transport, peer = made()
        seen = []

        def work():
            transport.write(PART)
            transport.write(b"more")
            seen.append(available(peer))
            time.sleep(0.001)

        turns(*[work] * 100)
        assert seen == [PART + b"more"] * 100

    def test_the_peer_is_gone(self, made, turns, settle, take_reports):
        """Before anything of it was held."""
        transport, peer = made()
        write = lambda: (transport.write(PART), transport.write(PART))  # noqa: E731
        turns(write)
        transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        protocol = transport.get_protocol()
        turns(write, write)
        settle()
        assert [type(exc) for exc in protocol.lost] == [ConnectionResetError]
        assert take_reports() == []


class TestNotWhereTheProgramCanReach:
    """Its own send() would overtake what is held."""

    @pytest.fixture
    def check(self, train, turns, available):
        def check(transport, peer):
            def work():
                for _ in range(2):
                    transport.write(PART)
                    seen.append(available(peer))

            train(transport, peer, until_held=False)
            turns(work, work, work)
            assert seen == [PART] * 6

        seen = []
        return check

    def test_a_socket_that_was_given(self, connect, Recorder, check):
        check(*connect(Recorder()))

    def test_a_socket_that_was_given_and_dropped(self, run, loop, Recorder, tcp_pair, check):
        near, far = tcp_pair
        given = socket.socket(fileno=os.dup(near.fileno()))
        given.setblocking(False)
        number = given.fileno()
        transport, _ = run(loop.create_connection(Recorder, sock=given))
        del given
        os.fstat(number)
        check(transport, far)
        transport.abort()

    def test_a_socket_that_was_accepted(self, run, loop, Recorder, tcp_pair, check):
        near, far = tcp_pair
        given = socket.socket(fileno=os.dup(near.fileno()))
        transport, _ = run(loop.connect_accepted_socket(Recorder, given))
        check(transport, far)
        transport.abort()

    @pytest.mark.parametrize(
        "show",
        [
            lambda transport: transport.get_extra_info("socket").fileno(),
            lambda transport: transport.get_extra_info("socket").dup().close(),
            lambda transport: transport.get_extra_info("socket")._sock,
            lambda transport: transport._sock,
            lambda transport: transport._sock_fd,
        ],
        ids=["fileno", "dup", "_sock of the socket", "_sock", "_sock_fd"],
    )
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_number_that_was_asked_for(self, made, train, check, show, when):
        transport, peer = made()
        if when == "after":
            train(transport, peer)
        show(transport)
        check(transport, peer)

    @pytest.mark.parametrize("server", [False, True])
    def test_a_child_has_the_number(self, run, loop, kind, server):
        """CGI: the head is written, a child writes the body."""

        async def answer(reader, writer):
            number = writer.get_extra_info("socket").fileno()
            for _ in range(3):
                await reader.readline()
                writer.write(b"head ")
                writer.write(b"and ")
                subprocess.run(["echo", "body"], stdout=number, check=True)

        async def ask(reader, writer):
            for _ in range(3):
                writer.write(b"question\n")
                assert await reader.readline() == b"head and body\n"

        async def main():
            inside = asyncio.Event()

            async def serve(reader, writer):
                await (answer if server else ask)(reader, writer)
                writer.close()
                inside.set()

            listener = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            await (ask if server else answer)(reader, writer)
            await inside.wait()
            writer.close()
            listener.close()

        run(main())

    def test_socket_methods_without_the_number_keep_it_private(self, made, train, turns, look, available):
        transport, peer = made()
        shown = transport.get_extra_info("socket")
        shown.getpeername(), shown.getsockname(), shown.family, shown.type, shown.proto
        shown.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        shown.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        train(transport, peer)
        turns(lambda: (transport.write(PART), look(peer), transport.write(b"more")))
        assert available(peer) == look.rest(PART + b"more")


def test_a_young_connection(made, turns, available, let_steps_be_short):
    """Nothing of it is held before it has made many steps with several writes."""
    transport, peer = made()
    let_steps_be_short(True)
    seen = []

    def work():
        transport.write(PART)
        seen.append(available(peer))
        transport.write(b"more")
        seen.append(available(peer))

    turns(*[work] * TRIAL)
    assert seen == [PART, b"more"] * TRIAL


def test_a_loop_that_holds_nothing(Recorder, available):
    import asyncloop

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport, _ = await loop.create_connection(Recorder, *listener.getsockname())
            peer, _ = listener.accept()
        for _ in range(TRIAL + 1):
            await asyncio.sleep(0)
            for part in (b"head", b"body"):
                transport.write(part)
                assert available(peer) == part
        transport.abort()
        peer.close()

    asyncloop.run(main(), loop_factory=lambda: asyncloop.Loop(hold_writes=False))


# --- what others can see comes after what is held ------------------------------------------------------------------


def step(coro):
    """Take the first step of a coroutine, and no other."""
    with contextlib.suppress(StopIteration, BlockingIOError):
        coro.send(None)
    coro.close()


def refused(coro):
    with contextlib.suppress(OSError):
        step(coro)


class Others:
    """What a loop may do for the program between two writes; each is told the loop and has the means in `self`."""

    def __init__(self, loop, run, made, Recorder, monkeypatch, tmp_path, see):
        self.loop = loop
        self.see = see
        self.stream, self.stream_peer = made()
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.near)
        self.stack.enter_context(self.far)
        self.run, self.Recorder, self.monkeypatch, self.tmp_path = run, Recorder, monkeypatch, tmp_path

    def write(self):
        return lambda: self.stream.write(b"x")

    def writelines(self):
        return lambda: self.stream.writelines([b"x", b"y"])

    def write_eof(self):
        return self.stream.write_eof

    def close(self):
        return self.stream.close

    def abort(self):
        return self.stream.abort

    def sendto(self):
        transport, _ = self.run(
            self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        )
        self.stack.callback(transport.abort)
        return lambda: transport.sendto(b"x", transport.get_extra_info("sockname"))

    def pipe(self, method):
        reader, writer = os.pipe()
        self.stack.callback(os.close, reader)
        transport, _ = self.run(self.loop.connect_write_pipe(self.Recorder, open(writer, "wb", 0)))  # noqa: SIM115
        self.stack.callback(lambda: transport.is_closing() or transport.abort())
        return lambda: method(transport)

    def pipe_write(self):
        return self.pipe(lambda transport: transport.write(b"x"))

    def pipe_write_eof(self):
        return self.pipe(lambda transport: transport.write_eof())

    def pipe_close(self):
        return self.pipe(lambda transport: transport.close())

    def pipe_abort(self):
        return self.pipe(lambda transport: transport.abort())

    def read_pipe_close(self):
        reader, writer = os.pipe()
        self.stack.callback(os.close, writer)
        transport, _ = self.run(self.loop.connect_read_pipe(self.Recorder, open(reader, "rb", 0)))  # noqa: SIM115
        return transport.close

    def sock_sendall(self):
        return lambda: step(self.loop.sock_sendall(self.near, b"x"))

    def sock_recv(self):
        self.far.send(b"x")
        return lambda: step(self.loop.sock_recv(self.near, 1))

    def sock_connect(self):
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        sock = self.stack.enter_context(socket.socket())
        sock.setblocking(False)
        return lambda: step(self.loop.sock_connect(sock, listener.getsockname()))

    def sock_sendfile(self):
        path = self.tmp_path / "file"
        path.write_bytes(b"x")
        file = self.stack.enter_context(path.open("rb"))
        return lambda: step(self.loop.sock_sendfile(self.near, file))

    def sendfile(self):
        """The first thing that it does."""
        return lambda: (self.stream._make_empty_waiter(), self.stream._reset_empty_waiter())

    def subprocess_exec(self):
        def refuse(*args, **kwargs):
            self.see()
            raise OSError

        self.monkeypatch.setattr(subprocess.Popen, "__init__", refuse)

        def act():
            with contextlib.suppress(OSError):
                step(self.loop.subprocess_exec(asyncio.SubprocessProtocol, "true"))

        return act

    def child(self):
        transport, _ = self.run(self.loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "60"))
        self.stack.callback(lambda: self.run(transport._wait()))
        self.stack.callback(transport.close)
        return transport

    def send_signal(self):
        transport = self.child()
        return lambda: transport.send_signal(signal.SIGCONT)

    def kill(self):
        transport = self.child()
        return transport.kill

    def close_a_child(self):
        return self.child().close

    def run_in_executor(self):
        class Executor(concurrent.futures.Executor):
            def submit(_, function, *args):
                self.see()
                return concurrent.futures.Future()

        return lambda: self.loop.run_in_executor(Executor(), print).cancel()

    def shutdown_default_executor(self):
        begun = threading.Event()

        class Executor(concurrent.futures.ThreadPoolExecutor):
            def shutdown(_, wait=True, **kwargs):
                if not begun.is_set():
                    self.see()
                    begun.set()

        def act():
            step(self.loop.shutdown_default_executor())
            assert begun.wait(20)

        self.loop.set_default_executor(Executor())
        return act

    def call_soon_threadsafe(self):
        return lambda: self.loop.call_soon_threadsafe(lambda: None)

    def call_soon_threadsafe_of_another_loop(self):
        other = type(self.loop)()
        self.stack.callback(other.close)
        return lambda: other.call_soon_threadsafe(lambda: None)

    def run_another_loop(self):
        other = type(self.loop)()
        self.stack.callback(other.close)

        def act():
            other.call_soon(self.see)
            other.call_soon(other.stop)
            asyncio._set_running_loop(None)  # for libraries that run a loop in a step of another
            try:
                other.run_forever()
            finally:
                asyncio._set_running_loop(self.loop)

        return act

    def call_exception_handler(self):
        self.loop.set_exception_handler(lambda loop, context: self.see())
        return lambda: self.loop.call_exception_handler({"message": "x"})

    def report_by_a_future(self):
        self.loop.set_exception_handler(lambda loop, context: self.see())

        def act():
            self.loop.create_future().set_exception(ValueError())
            gc.collect()

        return act

    def watched(self, method, *args):
        """A socket that is refused a method, with what was seen before."""

        class Socket(socket.socket):
            pass

        def refuse(*args):
            self.see()
            raise OSError(errno.EACCES, "refused")

        setattr(Socket, method, refuse)
        return self.stack.enter_context(Socket(*args))

    def listen(self):
        sock = self.watched("listen")
        return lambda: refused(self.loop.create_server(self.Recorder, sock=sock))

    def listen_later(self):
        server = self.run(self.loop.create_server(self.Recorder, sock=self.watched("listen"), start_serving=False))
        self.stack.callback(server.close)
        return lambda: refused(server.start_serving())

    def listen_on_a_path(self):
        sock = self.watched("listen", socket.AF_UNIX)
        sock.bind(str(self.tmp_path / "path"))
        return lambda: refused(self.loop.create_unix_server(self.Recorder, sock=sock))

    def bound(self, call):
        def refuse(*args):
            self.see()
            raise OSError(errno.EACCES, "refused")

        def act():
            with self.monkeypatch.context() as patch:
                patch.setattr(socket.socket, "bind", refuse)
                refused(call())

        return act

    def bind_a_path(self):
        return self.bound(lambda: self.loop.create_unix_server(self.Recorder, str(self.tmp_path / "path")))

    def bind_datagrams(self):
        address = {"local_addr": str(self.tmp_path / "path"), "family": socket.AF_UNIX}
        return self.bound(lambda: self.loop.create_datagram_endpoint(self.Recorder, **address))

    def setsockopt(self):
        shown = self.stream.get_extra_info("socket")
        return lambda: shown.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def getsockopt(self):
        shown = self.stream.get_extra_info("socket")
        return lambda: shown.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)

    def fork(self):
        def act():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

        return act

    def close_a_server(self):
        server = self.run(self.loop.create_server(self.Recorder, "127.0.0.1", 0))
        return server.close


OTHERS = [name for name in vars(Others) if name[0] != "_" and name not in ("pipe", "child", "watched", "bound")]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
@pytest.mark.parametrize("other", OTHERS)
def test_held_bytes_are_sent_before_other_actions(
    loop, run, made, parts, turns, Recorder, monkeypatch, tmp_path, look, available, other
):
    transport, peer = parts()
    seen = []
    others = Others(loop, run, made, Recorder, monkeypatch, tmp_path, lambda: seen.append(available(peer)))
    act = getattr(others, other)()

    def work():
        transport.write(PART)
        look(peer)
        transport.write(b"more")
        act()
        if not seen:
            others.see()

    turns(work)
    assert seen == [look.rest(PART + b"more")]
    others.stack.close()
    run(asyncio.sleep(0.01))


def test_turns_within_a_step(kind, parts, loop, turns, look, available):
    if kind == "asyncio":
        pytest.skip("asyncio's _run_once() does not nest")
    transport, peer = parts()
    seen = []

    def work():
        transport.write(PART)
        look(peer)
        loop.call_soon(int)
        loop._run_once()
        seen.append(available(peer))

    turns(work)
    assert seen == [look.rest(PART)]


def test_drain_raises_if_the_peer_has_reset_the_connection(run, loop, kind):
    """A write to a peer that has reset the connection ends it before drain() looks, as in asyncio."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            peer, _ = listener.accept()
        for _ in range(TRIAL):
            writer.write(PART)
            writer.write(PART)
            await asyncio.sleep(0)
        writer.transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await asyncio.sleep(0.01)
        writer.write(PART)
        writer.write(PART)
        assert writer.transport.is_closing()
        with pytest.raises(ConnectionError):
            await writer.drain()
        writer.close()

    run(main())


def test_the_turn_ends_and_all_is_sent(parts, turns, available):
    transport, peer = parts()
    seen = []
    write = lambda: (transport.write(PART), transport.write(PART))  # noqa: E731
    turns(write, lambda: seen.append(available(peer)), write, lambda: seen.append(available(peer)))
    assert seen == [PART * 2] * 2


@pytest.mark.parametrize(
    "look",
    [
        "transport.get_write_buffer_size()",
        "transport.is_closing()",
        "transport.get_extra_info('socket')",
        "transport.set_write_buffer_limits(5)",
        "transport.write_eof()",
        "transport.writelines([b''])",
        "transport.abort()",
        "transport.close()",
        pytest.param(
            "transport.writelines([b'more'])",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="is one more write() there"),
        ),
    ],
)
def test_held_bytes_are_sent_before_the_program_looks(parts, turns, available, look):
    transport, peer = parts()
    seen = []

    def write():
        transport.write(PART)
        transport.write(PART)
        eval(look, {"transport": transport})
        seen.append(available(peer))

    turns(write)
    if "b''" in look:  # nothing is written, nothing is looked at
        seen = [available(peer) or seen[0]]
    assert seen == [PART * 2 + (b"more" if "more" in look else b"")]


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
def test_the_end_of_a_transport_sends_held_bytes(parts, turns, receive_all, end):
    transport, peer = parts()
    turns(lambda: (transport.write(PART), transport.write(PART), getattr(transport, end)()))
    assert receive_all(peer) == PART * 2


def test_connection_lost_comes_in_the_next_turn(parts, run):
    transport, _ = parts()
    protocol = transport.get_protocol()

    async def main():
        transport.write(PART)
        transport.write(PART)
        transport.close()
        calls = [protocol.lost[:]]
        await asyncio.sleep(0)
        calls.append(protocol.lost[:])
        return calls

    assert run(main()) == [[], [None]]


def test_held_bytes_are_sent_when_the_step_stops_the_loop(parts, loop, receive):
    transport, peer = parts()

    def write_and_leave():
        transport.write(PART)
        transport.write(PART)
        raise SystemExit(3)

    loop.call_soon(write_and_leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert receive(peer, 20) == PART * 2


def test_outside_of_a_turn_it_is_sent_at_once(parts, available):
    transport, peer = parts()
    for _ in range(3):
        transport.write(PART)
        transport.write(PART)
        assert available(peer) == PART * 2


def test_from_another_thread_it_is_sent_at_once(parts, turns, available):
    """Not allowed, but done: nothing would wake the loop."""
    transport, peer = parts()
    seen = []

    def work():
        transport.write(PART)
        transport.write(PART)
        seen.append(available(peer))

    def in_a_thread():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    turns(in_a_thread)
    assert seen == [PART * 2]


def test_the_peer_is_gone(deserted, turns, settle, take_reports):
    transport, protocol = deserted
    turns(lambda: (transport.write(PART), transport.write(PART)), lambda: None, lambda: None)
    settle()
    assert transport.is_closing()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))
    assert take_reports() == []


@pytest.mark.parametrize("end", ["abort", "close"])
def test_the_peer_is_gone_and_the_connection_ends_in_the_same_turn(deserted, turns, settle, end):
    transport, protocol = deserted
    turns(lambda: (transport.write(PART), transport.write(PART), getattr(transport, end)()))
    settle()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))


@pytest.mark.parametrize("high", [0, 5, 15, 1000])
def test_flow_control_is_as_exact(parts, turns, stuff, high, receive):
    transport, peer = parts()
    transport.set_write_buffer_limits(high)
    protocol = transport.get_protocol()
    queued = stuff(transport)
    assert protocol.calls.count("pause_writing") == 1
    receive(peer, queued)
    assert protocol.calls.pop() == "resume_writing"
    protocol.calls.clear()
    sizes = []
    turns(lambda: (transport.write(PART), transport.write(PART), sizes.append(transport.get_write_buffer_size())))
    assert sizes == [0]
    assert protocol.calls == []
    assert receive(peer, 20) == PART * 2


def test_a_full_kernel_takes_it_later(parts, turns, stuff, receive):
    transport, peer = parts()
    transport.get_protocol().calls.clear()
    written = stuff(transport)
    turns(lambda: (transport.write(PART), transport.write(PART)), lambda: transport.write(PART))
    assert transport.get_write_buffer_size() > 30
    assert receive(peer, written + 30).endswith(b"\0" + PART * 3)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
def test_a_fork_sends_it_once(parts, loop, turns, receive, available):
    transport, peer = parts()

    def write_and_fork():
        transport.write(PART)
        transport.write(PART)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert available(peer) == PART * 2
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    turns(write_and_fork)
    assert available(peer) == b""


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("debug", [False, True])
def test_another_thread_forks_and_the_peer_is_gone(deserted, loop, turns, settle, debug):
    transport, protocol = deserted
    loop.set_debug(debug)

    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def write_and_fork():
        transport.write(PART)
        transport.write(PART)
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()

    turns(write_and_fork)
    settle()
    (exc,) = protocol.lost
    assert isinstance(exc, (ConnectionResetError, BrokenPipeError))


def test_dropped_while_it_is_written_to(parts, loop, receive):
    """The loop keeps it until the turn is over."""
    transport, peer = parts()
    transport.pause_reading()

    def write_and_drop():
        nonlocal transport
        transport.write(PART)
        transport.write(PART)
        transport.close()
        transport = None
        gc.collect()
        loop.call_soon(loop.stop)

    loop.call_soon(write_and_drop)
    loop.run_forever()
    assert receive(peer, 20) == PART * 2


def test_streams_too(run):
    async def main():
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(b"head:")
                writer.write(line)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for i in range(TRIAL + 10):
            writer.write(b"line ")
            writer.write(b"%d\n" % i)
            assert await reader.readline() == b"head:line %d\n" % i
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


BULK = bytes(16 << 20)


@pytest.fixture
def trailing(connect, Recorder):
    """(transport, peer) of a connection that was written more to than goes at once; "trailer" follows that."""

    class Trailing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.write(b"trailer")

    transport, peer = connect(Trailing())
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    transport.write(b"head")
    transport.write(BULK)
    return transport, peer


def test_a_part_written_while_the_protocol_resumes_is_the_last_before_the_end(trailing, receive_all):
    """Not held: the descriptor is watched, and nobody would end the connection."""
    transport, peer = trailing
    transport.close()
    assert receive_all(peer) == b"head" + BULK + b"trailer"


def test_a_part_written_while_the_protocol_resumes_leaves_the_loop_idle(trailing, receive, run):
    transport, peer = trailing
    size = len(BULK)
    assert len(receive(peer, 4 + size + 7)) == 4 + size + 7
    run(asyncio.sleep(0.01))
    assert "write=<idle, bufsize=0>" in repr(transport)
    transport.abort()


@pytest.mark.parametrize("use", ["shutdown", "dup", "fileno"])
def test_held_bytes_are_sent_before_the_program_uses_the_socket(parts, turns, available, use):
    transport, peer = parts()
    shown = transport.get_extra_info("socket")
    seen = []

    def write_and_use():
        transport.write(b"last words")
        if use == "shutdown":
            shown.shutdown(socket.SHUT_WR)
        elif use == "dup":
            shown.dup().close()
        else:
            shown.fileno()
        seen.append(available(peer))

    turns(write_and_use)
    assert seen == [b"last words"]
    transport.abort()


def test_the_shown_socket_does_not_keep_its_transport(connect, Recorder):
    transport, _ = connect(Recorder())
    shown = transport.get_extra_info("socket")
    transport.abort()
    assert shown.fileno() >= 0
    assert not any(value is transport for value in gc.get_referents(shown))


def test_write_eof_after_parts_that_could_not_be_sent(parts, turns, settle):
    transport, peer = parts()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()  # resets the connection

    def write_and_end():
        transport.write(b"x")
        assert transport.write_eof() is None

    turns(write_and_end)
    settle()
    assert transport.get_protocol() is None
