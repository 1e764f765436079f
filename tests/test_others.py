"""What other loops (uvloop, rloop, zuvloop, leviathan) are known to get wrong, in the words of their bug reports."""

import asyncio
import contextvars
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
import stock

WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(context for servers, context for clients)"""
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


class TestTimers:
    def test_are_never_early(self, loop):
        """A loop that counts in whole milliseconds rounds down."""
        early = []

        def check(when):
            if loop.time() + time.get_clock_info("monotonic").resolution < when:
                early.append(when)

        for i in range(300):
            when = loop.time() + i / 10_000
            loop.call_at(when, check, when)
        loop.call_later(0.04, loop.stop)
        loop.run_forever()
        assert early == []

    def test_of_less_than_a_millisecond_let_the_loop_sleep(self, loop):
        """Rounded down to 0 ms, the wait becomes a busy loop."""
        turns = 0

        def count():
            nonlocal turns
            turns += 1
            loop.call_later(0.0005, count)

        count()
        loop.call_later(0.2, loop.stop)
        before = resource.getrusage(WHO).ru_nvcsw
        loop.run_forever()
        slept = resource.getrusage(WHO).ru_nvcsw - before
        assert 0 < turns <= 0.2 / 0.0005 + 1
        assert slept >= turns / 2

    def test_call_later_of_nothing_returns_a_timer(self, loop):
        before = loop.time()
        handle = loop.call_later(0, print)
        assert isinstance(handle, asyncio.TimerHandle)
        assert before <= handle.when() <= loop.time()
        handle.cancel()

    @pytest.mark.parametrize("where", ["instance", "subclass"])
    def test_go_by_a_clock_that_is_patched(self, loop_factory, where):
        """As tests with a clock of their own do."""
        now = [1000.0]
        loop = loop_factory()
        if where == "instance":
            loop.time = lambda: now[0]
        else:
            base = type(loop)
            loop.close()
            loop = type("Patched", (base,), {"time": lambda self: now[0]})()
        seen = []
        loop.call_later(3600, seen.append, "after an hour")
        loop.call_later(0.01, loop.stop)
        assert loop.call_later(1, print).when() == 1001
        now[0] += 1800
        loop.run_forever()
        assert seen == []
        now[0] += 1800
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert seen == ["after an hour"]
        loop.close()


def test_task_factory_gets_all_arguments(loop, run):
    given = []

    def factory(loop, coro, **options):
        given.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    async def main():
        loop.set_task_factory(factory)
        context = contextvars.copy_context()
        await loop.create_task(asyncio.sleep(0), name="a name", context=context)
        loop.set_task_factory(None)
        return context

    context = run(main())
    assert given[0]["context"] is context
    if stock.FACTORY_IS_GIVEN_ALL:
        assert given[0]["name"] == "a name"


def test_transports_and_servers_are_asyncios_to_isinstance(loop, run):
    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert isinstance(server, asyncio.AbstractServer)
            assert isinstance(writer.transport, asyncio.Transport)
            writer.close()
            await writer.wait_closed()

    run(main())


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class TestDatagrams:
    def test_empty_ones_are_datagrams(self, loop, run):
        async def main():
            here, protocol = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
                sock.sendto(b"", here.get_extra_info("sockname"))
                assert await protocol.received.get() == (b"", sock.getsockname())
                if sys.version_info >= (3, 13):  # asyncio itself drops them before
                    here.sendto(b"", sock.getsockname())
                    assert await loop.sock_recv(sock, 10) == b""
            here.close()
            await protocol.lost

        run(main())

    @pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
    def test_ipv6_addresses_have_their_scope(self, loop, run):
        async def main():
            here, protocol = await loop.create_datagram_endpoint(Datagrams, local_addr=("::1", 0))
            host, port, flow, scope = here.get_extra_info("sockname")
            lo = socket.if_nametoindex("lo" if sys.platform == "linux" else "lo0")
            here.sendto(b"to the scope", ("::1", port, 0, lo))
            data, address = await protocol.received.get()
            assert (data, address) == (b"to the scope", ("::1", port, 0, 0))
            here.close()
            await protocol.lost

        run(main())

    def test_a_bad_destination_leaves_the_socket_open(self, loop, run):
        async def main():
            here, protocol = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
            here.sendto(b"x", ("255.255.255.255", 9))  # broadcast was not allowed
            await asyncio.sleep(0)
            assert not here.is_closing()
            here.sendto(b"to myself", here.get_extra_info("sockname"))
            assert (await protocol.received.get())[0] == b"to myself"
            here.close()
            assert await protocol.lost is None

        run(main())


def test_sigchld_handlers_work_beside_subprocesses(loop, run):
    async def main():
        seen = asyncio.Event()
        loop.add_signal_handler(signal.SIGCHLD, seen.set)
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 7")
        assert await child.wait() == 7
        await asyncio.wait_for(seen.wait(), 5)
        loop.remove_signal_handler(signal.SIGCHLD)

    run(main())


def test_add_reader_leaves_the_blocking_mode_alone(loop):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(True)
        loop.add_reader(near, print)
        loop.remove_reader(near)
        assert near.getblocking()
        assert os.get_blocking(near.fileno())


class TestPipes:
    def test_of_regular_files_are_refused(self, loop, run, tmp_path):
        with open(tmp_path / "file", "wb+") as file, pytest.raises(ValueError, match="^Pipe transport is"):
            run(loop.connect_read_pipe(asyncio.Protocol, file))

    def test_tell_of_their_pipe(self, loop, run):
        async def main():
            read, write = (os.fdopen(fd, mode) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
            reader, _ = await loop.connect_read_pipe(asyncio.Protocol, read)
            writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, write)
            assert reader.get_extra_info("pipe") is read
            assert writer.get_extra_info("pipe") is write
            reader.close()
            writer.close()
            await asyncio.sleep(0)

        run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="came with Python 3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_servers_end_their_clients(loop, run, how):
    async def main():
        connected = asyncio.Event()

        async def serve(reader, writer):
            connected.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await connected.wait()
        server.close()
        getattr(server, how)()
        assert await reader.read() == b""
        await server.wait_closed()
        writer.close()

    run(main())


class TestTLS:
    def test_close_does_not_download_on(self, loop, run, certificate):
        """A client that has seen enough of an endless answer is rid of it."""
        server_context, client_context = certificate
        near, far = socket.socketpair()
        sent, ended = [], threading.Event()

        def serve():
            try:
                with server_context.wrap_socket(far, server_side=True) as sock:
                    sock.settimeout(20)
                    while True:
                        sent.append(sock.send(b"x" * 16384))
            except OSError:
                ended.set()

        async def main():
            thread = threading.Thread(target=serve)
            thread.start()
            reader, writer = await asyncio.open_connection(sock=near, ssl=client_context, server_hostname="localhost")
            assert await reader.readexactly(100_000)
            before = sum(sent)
            writer.close()
            assert await asyncio.to_thread(ended.wait, 10)
            thread.join()
            return sum(sent) - before

        assert run(main()) < 4 << 20
        loop.unhandled.clear()

    def test_start_tls_while_paused(self, loop, run, certificate):
        server_context, client_context = certificate
        near, far = socket.socketpair()

        def serve():
            with server_context.wrap_socket(far, server_side=True) as sock:
                sock.sendall(b"in secret")
                sock.recv(1)

        async def main():
            thread = threading.Thread(target=serve)
            thread.start()
            reader, writer = await asyncio.open_connection(sock=near)
            writer.transport.pause_reading()
            await writer.start_tls(client_context, server_hostname="localhost")
            assert await reader.readexactly(9) == b"in secret"
            writer.close()
            await asyncio.to_thread(thread.join)

        run(main())
