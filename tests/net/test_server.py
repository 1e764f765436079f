"""Server: listening, serving, ending, and what becomes of its connections."""

import asyncio
import gc
import json
import socket
import subprocess
import sys
import weakref

import pytest

WAITS_FOR_CLIENTS = sys.version_info >= (3, 12, 1)  # before, wait_closed() of a closed server returned at once

# What stock does with a connection that never gets its transport.
leaves_the_socket_to_the_collector = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def serve(loop, run, settle):
    """serve(factory, ...) -> a server on a free port of 127.0.0.1, closed after the test."""
    servers = []

    def serve(factory, **options):
        server = run(loop.create_server(factory, "127.0.0.1", 0, **options))
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.close()
    settle()


@pytest.fixture
def dial():
    """dial(server) -> a blocking socket connected to the server, closed after the test."""
    peers = []

    def dial(server):
        peer = socket.create_connection(server.sockets[0].getsockname(), timeout=20)
        peers.append(peer)
        return peer

    yield dial
    for peer in peers:
        peer.close()


@pytest.fixture
def Client(Recorder, settle):
    """A protocol class that keeps its instances; their transports are aborted after the test."""

    class Client(Recorder):
        made = []

        def __init__(self):
            super().__init__()
            self.made.append(self)

    yield Client
    for client in Client.made:
        if client.transport is not None and not client.lost:
            client.transport.abort()
    settle()


class TestServing:
    def test_makes_a_protocol_for_each_connection(self, serve, dial, Client, eventually):
        server = serve(Client)
        for i in range(3):
            dial(server).sendall(b"%d" % i)
        eventually(lambda: len(Client.made) == 3 and all(client.data for client in Client.made))
        assert sorted(bytes(client.data) for client in Client.made) == [b"0", b"1", b"2"]

    def test_connections_know_both_addresses(self, serve, dial, Client, eventually):
        server = serve(Client)
        peer = dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        transport = Client.made[0].transport
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()

    def test_accepted_sockets_are_not_inherited(self, serve, dial, Client, eventually):
        server = serve(Client)
        dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        sock = Client.made[0].transport.get_extra_info("socket")
        assert sock.get_inheritable() is False

    def test_takes_a_burst_of_connections(self, serve, dial, Client, eventually):
        server = serve(Client, backlog=128)
        for _ in range(120):  # all of them in one turn of the loop
            dial(server)
        eventually(lambda: len(Client.made) == 120)

    def test_data_sent_before_accepting_arrives(self, serve, dial, Client, eventually):
        server = serve(Client)
        peer = dial(server)
        peer.sendall(b"early")
        peer.shutdown(socket.SHUT_WR)
        eventually(lambda: Client.made and Client.made[0].lost)
        assert Client.made[0].calls == ["connection_made", "data_received", "eof_received", "connection_lost"]

    @leaves_the_socket_to_the_collector
    def test_factory_that_fails_costs_only_that_connection(self, loop, serve, dial, Client, eventually, settle):
        failures = [ZeroDivisionError()]

        def factory():
            if failures:
                raise failures.pop()
            return Client()

        server = serve(factory)
        loop.set_debug(False)  # where it would be reported
        dial(server)
        settle()
        assert failures == []
        dial(server)
        eventually(lambda: Client.made)

    @leaves_the_socket_to_the_collector
    def test_factory_that_fails_is_reported_in_debug_mode(self, loop, serve, dial, settle, take_reports):
        error = ZeroDivisionError()

        def factory():
            raise error

        server = serve(factory)
        loop.set_debug(True)
        dial(server)
        settle()
        [report] = take_reports()
        assert report["message"] == "Error on transport creation for incoming connection"
        assert report["exception"] is error
        error.__traceback__ = None  # lets the socket go, here

    def test_connections_closed_in_connection_made(self, serve, dial, Client, eventually):
        class Rude(Client):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.close()

        server = serve(Rude)
        peers = [dial(server) for _ in range(5)]
        eventually(lambda: len(Client.made) == 5 and all(client.lost for client in Client.made))
        assert [peer.recv(1) for peer in peers] == [b""] * 5

    def test_closing_the_server_from_connection_made(self, serve, dial, Client, eventually):
        class Last(Client):
            def connection_made(self, transport):
                super().connection_made(transport)
                server.close()

        server = serve(Last)
        peer = dial(server)
        eventually(lambda: not server.is_serving())
        assert server.sockets == ()
        peer.sendall(b"served all the same")
        eventually(lambda: Client.made[0].data == b"served all the same")

    def test_connection_made_and_gone_before_it_is_accepted(self, serve, dial, Client, settle, eventually):
        server = serve(Client)
        dial(server).close()
        dial(server)
        eventually(lambda: len(Client.made) >= 1)
        settle()
        assert server.is_serving()


class TestStates:
    def test_serves_from_the_start(self, loop, serve, Client):
        server = serve(Client)
        assert server.is_serving()
        assert server.get_loop() is loop
        assert isinstance(server, asyncio.AbstractServer)

    def test_start_serving_false_waits(self, run, serve, Client, eventually):
        server = serve(Client, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.sockets[0].getsockname())
        run(server.start_serving())
        assert server.is_serving()
        run(server.start_serving())
        with socket.create_connection(server.sockets[0].getsockname()):
            eventually(lambda: Client.made and Client.made[0].transport)

    def test_sockets_can_be_looked_at(self, serve, Client):
        server = serve(Client)
        [sock] = server.sockets
        assert isinstance(server.sockets, tuple)
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        assert sock.family == socket.AF_INET
        assert repr(sock) in repr(server)

    def test_close_stops_listening(self, run, serve, Client):
        server = serve(Client)
        address = server.sockets[0].getsockname()
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        run(server.wait_closed())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    def test_close_twice_is_once(self, run, serve, Client):
        server = serve(Client)
        server.close()
        server.close()
        run(server.wait_closed())
        run(server.wait_closed())

    def test_closed_server_does_not_serve_again(self, run, serve, Client):
        server = serve(Client)
        server.close()
        with pytest.raises(RuntimeError, match="is closed"):
            run(server.serve_forever())

    def test_async_with_closes(self, run, serve, Client):
        server = serve(Client)

        async def main():
            async with server as entered:
                assert entered is server
                assert server.is_serving()

        run(main())
        assert not server.is_serving()

    def test_close_leaves_connections_alone(self, serve, dial, Client, eventually):
        server = serve(Client)
        peer = dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        server.close()
        peer.sendall(b"still there")
        [client] = Client.made
        eventually(lambda: client.data == b"still there")
        assert client.lost == []

    def test_may_be_closed_after_its_loop(self, loop_factory, Client):
        loop = loop_factory()
        server = loop.run_until_complete(loop.create_server(Client, "127.0.0.1", 0))
        loop.close()
        server.close()
        assert server.sockets == ()
        assert not server.is_serving()


class TestServeForever:
    def test_serves_until_cancelled_and_closes(self, loop, run, serve, Client):
        server = serve(Client, start_serving=False)

        async def main():
            task = loop.create_task(server.serve_forever())
            await asyncio.sleep(0)
            assert server.is_serving()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())
        assert not server.is_serving()
        assert server.sockets == ()

    def test_ends_with_close(self, loop, run, serve, Client):
        server = serve(Client)

        async def main():
            task = loop.create_task(server.serve_forever())
            await asyncio.sleep(0)
            server.close()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())

    def test_can_be_awaited_only_once_at_a_time(self, loop, run, serve, Client):
        server = serve(Client)

        async def main():
            task = loop.create_task(server.serve_forever())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match=r"is already being awaited on serve_forever\(\)"):
                await server.serve_forever()
            task.cancel()
            await asyncio.wait([task])

        run(main())


class TestWaitClosed:
    def test_waits_for_close(self, loop, run, serve, Client):
        server = serve(Client)

        async def main():
            task = loop.create_task(server.wait_closed())
            await asyncio.sleep(0.01)
            assert not task.done()
            server.close()
            await task

        run(main())

    @pytest.mark.skipif(not WAITS_FOR_CLIENTS, reason="older versions did not wait for connections")
    def test_waits_for_the_last_connection(self, loop, run, serve, dial, Client, eventually):
        server = serve(Client)
        dial(server)
        dial(server)
        eventually(lambda: len(Client.made) == 2 and all(client.transport for client in Client.made))

        async def main():
            server.close()
            task = loop.create_task(server.wait_closed())
            await asyncio.sleep(0.01)
            assert not task.done()
            Client.made[0].transport.close()
            await asyncio.sleep(0.01)
            assert not task.done()
            Client.made[1].transport.abort()
            await task

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="came with 3.13")
    def test_does_not_wait_for_a_transport_that_was_dropped(self, run, serve, dial, Client, eventually, settle):
        server = serve(Client)
        dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        client = Client.made.pop()
        client.transport.pause_reading()
        settle()
        with pytest.warns(ResourceWarning, match="unclosed"):
            client.transport = None
            del client
            gc.collect()
        server.close()
        run(server.wait_closed())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="came with 3.13")
class TestEndingClients:
    def test_close_clients_sends_queued_bytes(self, serve, dial, Client, eventually, receive_all, stuff):
        server = serve(Client)
        peer = dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        [client] = Client.made
        written = stuff(client.transport)
        server.close()
        server.close_clients()
        assert client.transport.is_closing()
        assert len(receive_all(peer)) == written
        eventually(lambda: client.lost == [None])

    def test_abort_clients_drops_queued_bytes(self, run, serve, dial, Client, eventually, stuff):
        server = serve(Client)
        dial(server)
        eventually(lambda: Client.made and Client.made[0].transport)
        [client] = Client.made
        stuff(client.transport)
        server.close()
        server.abort_clients()
        run(server.wait_closed())
        assert client.lost == [None]

    def test_server_keeps_no_client_alive(self, serve, dial, Client, eventually):
        server = serve(Client)
        dial(server).close()
        eventually(lambda: Client.made and Client.made[0].lost)
        client = Client.made.pop()
        ref = weakref.ref(client.transport)
        client.transport = None
        gc.collect()
        assert ref() is None
        server.close_clients()
        server.abort_clients()


OUT_OF_DESCRIPTORS = """
import asyncio, json, resource, socket, sys, time

kind = sys.argv[1]
if kind == "asyncio":
    new_event_loop = asyncio.SelectorEventLoop
else:
    import asyncloop
    new_event_loop = asyncloop.new_event_loop

reports, made = [], []

class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        made.append(transport)

async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    peers = [socket.socket() for _ in range(4)]
    address = server.sockets[0].getsockname()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = peers[-1].fileno() + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    for peer in peers:
        peer.setblocking(False)
        peer.connect_ex(address)
    cpu = time.process_time()
    await asyncio.sleep(0.5)
    cpu = time.process_time() - cpu
    made_while_out = len(made)
    reports_while_out = len(reports)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    deadline = loop.time() + 10
    while len(made) < 4 and loop.time() < deadline:
        await asyncio.sleep(0.01)
    first = reports[0]
    print(json.dumps({
        "message": first["message"], "errno": first["exception"].errno, "socket": first["socket"].getsockname()[1],
        "port": address[1], "made while out": made_while_out, "made": len(made), "reports": reports_while_out,
        "cpu": cpu,
    }))
    for transport in made:
        transport.abort()
    server.close()
    for peer in peers:
        peer.close()
    await asyncio.sleep(0)

loop = new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


def test_running_out_of_descriptors_is_reported_and_waited_out(kind):
    """EMFILE keeps the listening socket ready: without a pause the loop would spin and report without end."""
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS, kind], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["message"] == "socket.accept() out of system resource"
    assert told["errno"] == 24
    assert told["socket"] == told["port"]
    assert told["made while out"] == 0
    assert told["made"] == 4
    assert told["cpu"] < 0.25  # half a second passed, nearly all of it asleep
