"""What a protocol may do to its TLS transport while that is calling it."""

import asyncio
import gc
import os
import select
import socket
import ssl
import threading

import pytest

DATA = os.urandom(100_000)  # of several TLS records


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def version(request, client_context, server_context):
    """Both sides speak only this version of TLS."""
    client_context.minimum_version = client_context.maximum_version = request.param
    return request.param.name.replace("_", ".")


class TestInDataReceived:
    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_transport_may_be_ended(self, version, run, either, Recorder, eventually, how):
        class Ending(Recorder):
            def data_received(self, data):
                super().data_received(data)
                getattr(self.transport, how)()

        protocol = Ending()
        transport, peer = either(protocol)
        assert transport.get_extra_info("ssl_object").version() == version
        peer.sendall(b"enough")
        if how == "close":
            run(asyncio.to_thread(peer.recv, 1))
            peer.close()
        eventually(lambda: "connection_lost" in protocol.calls)
        assert protocol.data == b"enough"
        eof = ["eof_received"] if how == "close" else []  # the peer's answer to our goodbye
        assert protocol.calls == ["connection_made", "data_received", *eof, "connection_lost"]

    def test_reading_may_be_paused(self, version, run, either, Recorder):
        class Pausing(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()

        protocol = Pausing()
        transport, peer = either(protocol)
        sending = asyncio.to_thread(peer.sendall, DATA)

        async def read_on():
            task = asyncio.ensure_future(sending)
            while len(protocol.data) < len(DATA):
                if not transport.is_reading():
                    transport.resume_reading()
                await asyncio.sleep(0.001)
            await task

        run(read_on())
        assert protocol.data == DATA

    def test_bytes_written_before_a_failure_are_sent(self, either, Recorder, eventually, take_reports):
        class Failing(Recorder):
            def data_received(self, data):
                self.transport.write(b"last words")
                raise ZeroDivisionError

        protocol = Failing()
        _, peer = either(protocol)
        peer.sendall(b"go")
        eventually(lambda: "connection_lost" in protocol.calls)
        [report] = take_reports()
        assert isinstance(report["exception"], ZeroDivisionError)
        assert protocol.calls == ["connection_made", "connection_lost"]
        del report

    def test_protocol_may_be_replaced(self, either, Recorder, eventually):
        second = Recorder()

        class First(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.set_protocol(second)

        first = First()
        _, peer = either(first)
        peer.sendall(b"one")
        eventually(lambda: first.data == b"one")
        peer.sendall(b"two")
        eventually(lambda: second.data == b"two")
        assert first.data == b"one"


class TestBuffers:
    def test_may_be_smaller_than_a_record(self, version, run, either, BufferedRecorder, eventually):
        class Small(BufferedRecorder):
            room = memoryview(bytearray(7))  # of a bytearray, asyncio would fill a copy
            seen = b""

            def get_buffer(self, sizehint):
                return self.room

            def buffer_updated(self, nbytes):
                self.seen += self.room[:nbytes]

        protocol = Small()
        _, peer = either(protocol)
        run(asyncio.to_thread(peer.sendall, DATA[:20_000]))
        eventually(lambda: len(protocol.seen) == 20_000)
        assert protocol.seen == DATA[:20_000]

    def test_below_may_be_filled_after_its_transport_is_gone(self, script):
        done = script("""
            import contextlib, socket, ssl

            loop = new_loop()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            context = ssl.create_default_context()
            transport = loop._make_ssl_transport(ours, asyncio.Protocol(), context, server_hostname="localhost")
            loop.call_later(0.01, loop.stop)
            loop.run_forever()
            tls = transport._ssl_protocol
            tls.get_buffer(-1)
            tls.connection_lost(None)
            with contextlib.suppress(ValueError):
                tls.buffer_updated(5)
            print("end")
        """)
        assert done.stdout.split() == ["end"]


class TestAnswersLeave:
    """Whatever a protocol does to the transport below right after a write() to the TLS transport."""

    @pytest.fixture
    def answer(self, run, serve, dial, Client, receive, eventually, kind):
        """answer(then) -> what the peer gets of a protocol that writes an answer and calls then(its transport).

        It has answered in parts before, until the loop held the parts."""

        def answer(then):
            came = []

            class Answering(Client):
                def data_received(self, data):
                    self.transport.write(b"one")
                    came.append(bool(select.select([peer], [], [], 0)[0]))
                    self.transport.write(b"two")
                    if data == b"go":
                        then(self.transport)

            def ask(question):
                asked = len(came)
                peer.sendall(question)
                eventually(lambda: len(came) > asked)
                return receive(peer, 6)

            peer = dial(serve(Answering))
            for _ in range(1 if kind == "asyncio" else 300):  # steps on a busy machine are long at times
                assert ask(b"train") == b"onetwo"
                if not came[-1]:
                    break
            answer = ask(b"go")
            assert came[-1] == (kind == "asyncio")
            return answer

        return answer

    @pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
    def test_before_the_transport_below_is_ended(self, answer, how):
        def end(transport):
            getattr(transport._ssl_protocol._transport, how)()

        assert answer(end) == b"onetwo"

    def test_before_the_socket_is_shut_down(self, answer):
        def shut_down(transport):
            transport.get_extra_info("socket").shutdown(socket.SHUT_WR)

        assert answer(shut_down) == b"onetwo"

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_once_if_it_forks(self, run, connect, Recorder, receive):
        class Forking(Recorder):
            def data_received(self, data):
                self.transport.write(data)
                if data == b"one":
                    child = os.fork()
                    if child == 0:
                        self.transport._ssl_protocol._process_outgoing()
                        os._exit(0)
                    os.waitpid(child, 0)

        _, peer = connect(Forking())
        for word in (b"one", b"two"):
            peer.sendall(word)
            assert receive(peer, 3) == word

    def test_before_the_step_has_returned(self, answer):
        assert answer(lambda transport: None) == b"onetwo"


@pytest.mark.parametrize("Buffered", [False, True])
def test_another_loop_may_receive_while_the_garbage_collector_runs(
    loop_factory, run, connect, Recorder, BufferedRecorder, eventually, Buffered
):
    """On Python 3.11 that is whenever an object is made: what this loop has received is not to be overwritten."""
    protocol = (BufferedRecorder if Buffered else Recorder)()
    _, peer = connect(protocol)
    near, far = socket.socketpair()
    received = threading.Event()
    this = threading.get_ident()
    budget = [300]

    class Receiver(asyncio.Protocol):
        def data_received(self, data):
            received.set()

    async def receive():
        transport, _ = await asyncio.get_running_loop().create_connection(Receiver, sock=near)
        received.set()
        await closing
        transport.abort()

    def other():
        nonlocal closing, stop
        loop = loop_factory()
        closing = loop.create_future()
        stop = lambda: loop.call_soon_threadsafe(closing.set_result, None)  # noqa: E731
        loop.run_until_complete(receive())
        loop.close()

    def collect(phase, info):
        if phase == "start" and threading.get_ident() == this and budget[0] > 0:
            budget[0] -= 1
            received.clear()
            far.sendall(b"\xff" * 4000)
            received.wait(10)

    closing = stop = None
    thread = threading.Thread(target=other)
    thread.start()
    received.wait(10)
    old = gc.get_threshold()
    gc.callbacks.append(collect)
    try:
        for i in range(30):
            gc.set_threshold(1)
            peer.sendall(b"%4d" % i * 500)
            eventually(lambda: len(protocol.data) == 2000 * (i + 1) or protocol.lost)  # noqa: B023
            gc.set_threshold(*old)
    finally:
        gc.set_threshold(*old)
        gc.callbacks.remove(collect)
        stop()
        thread.join()
        far.close()
    assert protocol.data == b"".join(b"%4d" % i * 500 for i in range(30))
