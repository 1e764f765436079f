"""create_connection, create_server, connect_accepted_socket and name resolution: which sockets, which errors."""

import asyncio
import contextlib
import errno
import re
import socket
import sys

import pytest


class Protocol(asyncio.Protocol):
    """Keeps its transport, so that tests can end it."""

    transport = None
    lost = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.lost = True


@pytest.fixture
def listen():
    """listen(host) -> a listening socket, closed after the test."""
    with contextlib.ExitStack() as stack:

        def listen(host="127.0.0.1", family=socket.AF_INET):
            return stack.enter_context(socket.create_server((host, 0), family=family))

        yield listen


@pytest.fixture
def refusing():
    """refusing(host) -> an address that nobody listens on, and nobody will during the test."""
    with contextlib.ExitStack() as stack:

        def refusing(host="127.0.0.1"):
            sock = stack.enter_context(socket.socket())
            sock.bind((host, 0))
            return sock.getsockname()

        yield refusing


@pytest.fixture
def hanging():
    """The address of a listening socket that takes no more connections: connecting to it waits."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()


@pytest.fixture
def connect(loop, run):
    """connect(...) -> the transport of create_connection(Protocol, ...), aborted after the test."""
    protocols = []

    def connect(*args, **options):
        transport, protocol = run(loop.create_connection(Protocol, *args, **options))
        protocols.append(protocol)
        assert protocol.transport is transport
        return transport

    yield connect
    for protocol in protocols:
        protocol.transport.abort()
    run(asyncio.sleep(0))


@pytest.fixture
def serve(loop, run):
    """serve(...) -> create_server(Protocol, ...), closed after the test."""
    servers = []

    def serve(*args, **options):
        servers.append(run(loop.create_server(Protocol, *args, **options)))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def resolving_to(*addresses):
    """A replacement for loop.getaddrinfo() that finds these addresses whatever it is asked."""

    async def getaddrinfo(host, port, **options):
        return [
            (
                socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                address,
            )
            for address in addresses
        ]

    return getaddrinfo


class TestCreateConnection:
    def test_to_an_address_connects(self, connect, listen):
        listener = listen()
        transport = connect(*listener.getsockname())
        assert transport.get_extra_info("peername") == listener.getsockname()

    def test_to_a_name_connects(self, connect, listen):
        listener = listen()
        transport = connect("localhost", listener.getsockname()[1])
        assert transport.get_extra_info("peername") == listener.getsockname()

    def test_port_may_be_text(self, connect, listen):
        host, port = listen().getsockname()
        assert connect(host, str(port)).get_extra_info("peername") == (host, port)

    def test_host_may_be_bytes(self, connect, listen):
        host, port = listen().getsockname()
        assert connect(host.encode(), port).get_extra_info("peername") == (host, port)

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_over_ipv6_connects(self, connect, listen):
        listener = listen("::1", socket.AF_INET6)
        transport = connect("::1", listener.getsockname()[1])
        assert transport.get_extra_info("peername") == listener.getsockname()
        assert transport.get_extra_info("socket").family == socket.AF_INET6

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_to_localhost_finds_the_family_that_listens(self, loop, connect, listen, host):
        listener = listen(host, socket.AF_INET6 if ":" in host else socket.AF_INET)
        port = listener.getsockname()[1]
        loop.getaddrinfo = resolving_to(("::1", port, 0, 0), ("127.0.0.1", port))
        transport = connect("localhost", port)
        assert transport.get_extra_info("peername")[0] == host

    def test_of_one_family_has_that_family(self, connect, listen):
        listener = listen()
        transport = connect("localhost", listener.getsockname()[1], family=socket.AF_INET)
        assert transport.get_extra_info("socket").family == socket.AF_INET

    def test_takes_a_connected_socket(self, connect, listen):
        listener = listen()
        sock = socket.create_connection(listener.getsockname())
        address = sock.getsockname()
        transport = connect(sock=sock)
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("peername") == listener.getsockname()
        assert sock.gettimeout() == 0

    def test_binds_a_local_address(self, connect, listen):
        transport = connect(*listen().getsockname(), local_addr=("127.0.0.2", 0))
        assert transport.get_extra_info("sockname")[0] == "127.0.0.2"

    def test_to_bind_a_local_address_that_is_taken_fails(self, loop, run, listen):
        taken = listen().getsockname()
        with pytest.raises(OSError, match=re.escape(f"error while attempting to bind on address {taken!r}: ")) as info:
            run(loop.create_connection(Protocol, *listen().getsockname(), local_addr=taken))
        assert info.value.errno == errno.EADDRINUSE

    def test_returns_transport_and_protocol(self, loop, run, listen):
        made = []

        def factory():
            made.append(Protocol())
            return made[-1]

        transport, protocol = run(loop.create_connection(factory, *listen().getsockname()))
        assert made == [protocol]
        assert transport.get_protocol() is protocol
        transport.abort()
        run(asyncio.sleep(0))


class TestRefusedConnection:
    def test_names_the_address(self, loop, run, refusing):
        address = refusing()
        message = f"[Errno {errno.ECONNREFUSED}] Connect call failed {address!r}"
        with pytest.raises(ConnectionRefusedError, match=re.escape(message)):
            run(loop.create_connection(Protocol, *address))

    def test_to_several_addresses_names_all_in_order(self, loop, run, refusing):
        first, second = refusing("127.0.0.1"), refusing("127.0.0.2")
        loop.getaddrinfo = resolving_to(first, second)
        with pytest.raises(OSError, match="Multiple exceptions: ") as info:
            run(loop.create_connection(Protocol, "example", 80))
        text = str(info.value)
        assert 0 < text.index(repr(first)) < text.index(repr(second))

    def test_to_the_same_address_twice_is_one_error(self, loop, run, refusing):
        address = refusing()
        loop.getaddrinfo = resolving_to(address, address)
        with pytest.raises(ConnectionRefusedError):
            run(loop.create_connection(Protocol, "example", 80))

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors came with 3.12")
    def test_with_all_errors_gives_them_as_a_group(self, loop, run, refusing):
        loop.getaddrinfo = resolving_to(refusing("127.0.0.1"), refusing("127.0.0.2"))
        with pytest.raises(ExceptionGroup, match="create_connection failed") as info:
            run(loop.create_connection(Protocol, "example", 80, all_errors=True))
        assert [type(error) for error in info.value.exceptions] == [ConnectionRefusedError] * 2

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors came with 3.12")
    def test_with_all_errors_gives_a_single_one_as_a_group_too(self, loop, run, refusing):
        with pytest.raises(ExceptionGroup) as info:
            run(loop.create_connection(Protocol, *refusing(), all_errors=True))
        assert len(info.value.exceptions) == 1

    def test_at_first_goes_on_to_the_next_address(self, loop, connect, listen, refusing):
        listener = listen()
        loop.getaddrinfo = resolving_to(refusing(), refusing("127.0.0.2"), listener.getsockname())
        assert connect("example", 80).get_extra_info("peername") == listener.getsockname()

    @pytest.mark.parametrize(
        ("options", "order"),
        [
            ({}, ["::1", "::1", "127.0.0.1", "127.0.0.2"]),
            ({"interleave": 1}, ["::1", "127.0.0.1", "::1", "127.0.0.2"]),
            ({"interleave": 2}, ["::1", "::1", "127.0.0.1", "127.0.0.2"]),
            ({"happy_eyeballs_delay": 1}, ["::1", "127.0.0.1", "::1", "127.0.0.2"]),
            ({"happy_eyeballs_delay": 1, "interleave": 0}, ["::1", "::1", "127.0.0.1", "127.0.0.2"]),
        ],
    )
    def test_tells_the_order_of_attempts(self, loop, run, refusing, options, order):
        # Port 1 is no more listened on by IPv6 than by IPv4; where there is no IPv6 at all, the order is the same.
        loop.getaddrinfo = resolving_to(
            ("::1", 1, 0, 0), ("::1", 1, 0, 1), refusing("127.0.0.1"), refusing("127.0.0.2")
        )
        tried = []
        sock_connect = loop.sock_connect

        async def note(sock, address):
            tried.append(address[0])
            await sock_connect(sock, address)

        loop.sock_connect = note
        with pytest.raises(OSError, match="Multiple exceptions|failed"):
            run(loop.create_connection(Protocol, "example", 80, **options))
        assert tried == order


class TestHappyEyeballs:
    def test_passes_over_an_address_that_does_not_answer(self, loop, connect, listen, hanging):
        listener = listen()
        loop.getaddrinfo = resolving_to(hanging, listener.getsockname())
        transport = connect("example", 80, happy_eyeballs_delay=0.01)
        assert transport.get_extra_info("peername") == listener.getsockname()

    def test_does_not_wait_after_a_refusal(self, loop, connect, listen, refusing):
        listener = listen()
        loop.getaddrinfo = resolving_to(refusing(), listener.getsockname())
        transport = connect("example", 80, happy_eyeballs_delay=60)  # the test has 30 seconds
        assert transport.get_extra_info("peername") == listener.getsockname()

    def test_keeps_the_first_if_it_answers_in_time(self, loop, connect, listen):
        first, second = listen(), listen()
        loop.getaddrinfo = resolving_to(first.getsockname(), second.getsockname())
        transport = connect("example", 80, happy_eyeballs_delay=5)
        assert transport.get_extra_info("peername") == first.getsockname()
        second.settimeout(0.01)
        with pytest.raises(TimeoutError):
            second.accept()


class TestCancelledConnection:
    @pytest.mark.parametrize("options", [{}, {"happy_eyeballs_delay": 0.01}])
    def test_while_connecting_raises_cancelled_error(self, loop, run, hanging, options):
        async def main():
            task = loop.create_task(loop.create_connection(Protocol, *hanging, **options))
            await asyncio.sleep(0.02)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())

    def test_before_the_first_step_raises_cancelled_error(self, loop, run, hanging):
        async def main():
            task = loop.create_task(loop.create_connection(Protocol, *hanging))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())

    def test_once_the_protocol_exists_closes_the_transport(self, loop, run, listen):
        protocol = Protocol()

        async def main():
            task = loop.create_task(loop.create_connection(factory, *listen().getsockname()))
            with pytest.raises(asyncio.CancelledError):
                await task
            while not protocol.lost:
                await asyncio.sleep(0.001)

        def factory():
            loop.call_soon(asyncio.current_task().cancel)
            return protocol

        run(main())
        assert protocol.transport.is_closing()

    def test_by_a_timeout_raises_timeout_error(self, loop, run, hanging):
        with pytest.raises(asyncio.TimeoutError):
            run(asyncio.wait_for(loop.create_connection(Protocol, *hanging), 0.02))


class TestBadConnectionArguments:
    @pytest.mark.parametrize(
        ("args", "options", "message"),
        [
            ((), {}, "host and port was not specified and no sock specified"),
            (("localhost", 80), {"sock": socket.socket}, "host/port and sock can not be specified at the same time"),
            (("localhost", 80), {"server_hostname": "x"}, "server_hostname is only meaningful with ssl"),
            (("localhost", 80), {"ssl_handshake_timeout": 1}, "ssl_handshake_timeout is only meaningful with ssl"),
            (("localhost", 80), {"ssl_shutdown_timeout": 1}, "ssl_shutdown_timeout is only meaningful with ssl"),
        ],
    )
    def test_give_value_error(self, loop, run, args, options, message):
        with pytest.raises(ValueError, match=message):
            run(loop.create_connection(Protocol, *args, **options))

    def test_like_a_datagram_socket(self, loop, run):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="A Stream Socket was expected, got "):
                run(loop.create_connection(Protocol, sock=sock))

    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # stock leaves it to the collector
    def test_like_a_factory_that_fails(self, loop, run, listen):
        def factory():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(loop.create_connection(factory, *listen().getsockname()))

    def test_like_a_name_without_addresses(self, loop, run):
        loop.getaddrinfo = resolving_to()
        with pytest.raises(OSError, match=re.escape("getaddrinfo() returned empty list")):
            run(loop.create_connection(Protocol, "example", 80))

    def test_like_a_name_that_does_not_resolve(self, loop, run):
        with pytest.raises(socket.gaierror):
            run(loop.create_connection(Protocol, "no number", 80, flags=socket.AI_NUMERICHOST))


class TestCreateServer:
    def test_port_0_is_a_free_port(self, serve):
        [sock] = serve("127.0.0.1", 0).sockets
        assert sock.getsockname()[1] > 0

    def test_on_a_list_of_hosts_listens_on_each(self, serve):
        server = serve(["127.0.0.1", "127.0.0.2"], 0)
        assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
        for sock in server.sockets:
            socket.create_connection(sock.getsockname()).close()

    def test_on_the_same_host_twice_is_once(self, serve):
        assert len(serve(["127.0.0.1", "127.0.0.1"], 0).sockets) == 1

    @pytest.mark.parametrize("host", [None, ""])
    def test_on_no_host_is_on_all(self, serve, host):
        server = serve(host, 0, start_serving=False)  # bound, but nobody from outside gets in
        assert "0.0.0.0" in [sock.getsockname()[0] for sock in server.sockets]

    def test_on_a_socket_listens_there(self, serve):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        server = serve(sock=sock)
        assert [sock.getsockname() for sock in server.sockets] == [address]
        socket.create_connection(address).close()

    def test_sets_its_sockets_non_blocking_and_reusable(self, serve):
        [sock] = serve("127.0.0.1", 0).sockets
        assert sock.gettimeout() == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)

    def test_address_in_use(self, loop, run, serve):
        address = serve("127.0.0.1", 0).sockets[0].getsockname()
        with pytest.raises(OSError, match=re.escape(f"error while attempting to bind on address {address!r}")) as info:
            run(loop.create_server(Protocol, *address))
        assert info.value.errno == errno.EADDRINUSE

    def test_reuse_port_shares_the_port(self, serve):
        first = serve("127.0.0.1", 0, reuse_port=True)
        port = first.sockets[0].getsockname()[1]
        second = serve("127.0.0.1", port, reuse_port=True)
        assert second.sockets[0].getsockname()[1] == port

    def test_reuse_address_can_be_turned_off(self, serve):
        [sock] = serve("127.0.0.1", 0, reuse_address=False).sockets
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="keep_alive came with 3.13")
    @pytest.mark.parametrize("keep_alive", [True, False])
    def test_keep_alive(self, serve, keep_alive):
        [sock] = serve("127.0.0.1", 0, keep_alive=keep_alive).sockets
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keep_alive

    def test_backlog_bounds_the_waiting(self, loop, serve, run):
        server = serve("127.0.0.1", 0, backlog=1, start_serving=True)
        address = server.sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(socket.socket()) for _ in range(8)]
            for peer in peers:
                peer.setblocking(False)
                peer.connect_ex(address)
            connected = 0
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.getpeername()
                    connected += 1
        assert connected < 8
        server.close()

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_over_ipv6_is_ipv6_only(self, serve):
        [sock] = serve("::1", 0).sockets
        assert sock.family == socket.AF_INET6
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        socket.create_connection(sock.getsockname()[:2]).close()


class TestBadServerArguments:
    @pytest.mark.parametrize(
        ("args", "options", "error", "message"),
        [
            ((), {}, ValueError, "Neither host/port nor sock were specified"),
            (("x", 1), {"sock": 1}, ValueError, "host/port and sock can not be specified at the same time"),
            (("x", 1), {"ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
            (("x", 1), {"ssl_handshake_timeout": 1}, ValueError, "ssl_handshake_timeout is only meaningful with ssl"),
        ],
    )
    def test_are_refused(self, loop, run, args, options, error, message):
        with pytest.raises(error, match=message):
            run(loop.create_server(Protocol, *args, **options))

    def test_like_a_datagram_socket(self, loop, run):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="A Stream Socket was expected, got "):
                run(loop.create_server(Protocol, sock=sock))

    def test_like_an_address_of_another_machine(self, loop, run):
        with pytest.raises(OSError, match=re.escape("192.0.2.1")):
            run(loop.create_server(Protocol, "192.0.2.1", 0))

    def test_like_a_name_that_does_not_resolve(self, loop, run):
        with pytest.raises(socket.gaierror):
            run(loop.create_server(Protocol, "no number", 0, flags=socket.AI_NUMERICHOST))


class TestConnectAcceptedSocket:
    def test_makes_a_transport(self, loop, run, listen):
        listener = listen()
        with socket.create_connection(listener.getsockname()) as client:
            conn, _ = listener.accept()
            transport, protocol = run(loop.connect_accepted_socket(Protocol, conn))
            assert protocol.transport is transport
            assert conn.gettimeout() == 0
            assert transport.get_extra_info("peername") == client.getsockname()
            transport.write(b"hello")
            assert client.recv(100) == b"hello"
            transport.close()
            run(asyncio.sleep(0.01))
            assert client.recv(100) == b""

    def test_refuses_a_datagram_socket(self, loop, run):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="A Stream Socket was expected, got "):
                run(loop.connect_accepted_socket(Protocol, sock))


class TestNames:
    @pytest.mark.parametrize("debug", [False, True])
    def test_getaddrinfo_returns_the_same_as_socket(self, loop, run, debug):
        loop.set_debug(debug)
        found = run(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
        assert found == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    def test_getaddrinfo_takes_all_options(self, loop, run):
        options = {"family": socket.AF_INET, "proto": socket.IPPROTO_TCP, "flags": socket.AI_PASSIVE}
        found = run(loop.getaddrinfo(None, "80", type=socket.SOCK_STREAM, **options))
        assert [address for *_, address in found] == [("0.0.0.0", 80)]

    def test_getaddrinfo_fails_as_socket_fails(self, loop, run):
        with pytest.raises(socket.gaierror) as info:
            run(loop.getaddrinfo("no number", 80, flags=socket.AI_NUMERICHOST))
        assert info.value.errno == socket.EAI_NONAME

    def test_getnameinfo_returns_the_same_as_socket(self, loop, run):
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert run(loop.getnameinfo(("127.0.0.1", 80), flags)) == ("127.0.0.1", "80")

    def test_many_at_once(self, loop, run):
        async def main():
            return await asyncio.gather(*[loop.getaddrinfo("127.0.0.1", port) for port in range(1, 30)])

        assert [found[0][4][1] for found in run(main())] == list(range(1, 30))
