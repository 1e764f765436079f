"""The transport as an object: what it says of itself, how it ends, what becomes of its socket."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
import threading
import warnings
import weakref

import pytest


def test_is_an_asyncio_transport(connect, Recorder):
    transport, _ = connect(Recorder())
    assert isinstance(transport, asyncio.Transport)
    assert isinstance(transport, asyncio.ReadTransport)
    assert isinstance(transport, asyncio.WriteTransport)


def test_connection_made_gets_the_transport_first(connect, Recorder):
    protocol = Recorder()
    transport, _ = connect(protocol)
    assert protocol.calls == ["connection_made"]
    assert protocol.transport is transport


def test_has_attributes_and_weak_references(connect, Recorder):
    transport, _ = connect(Recorder())
    transport.remark = "mine"
    assert transport.remark == "mine"
    assert weakref.ref(transport)() is transport


class TestExtraInfo:
    def test_names_both_ends(self, connect, Recorder):
        transport, peer = connect(Recorder())
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()

    def test_unknown_name_gives_the_default(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_extra_info("colour") is None
        assert transport.get_extra_info("colour", "blue") == "blue"
        assert transport.get_extra_info("sslcontext") is None

    def test_names_stay_known_after_the_end(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, peer = connect(protocol)
        transport.abort()
        eventually(lambda: protocol.lost)
        assert transport.get_extra_info("peername") == peer.getsockname()

    def test_socket_can_be_asked_and_configured(self, connect, Recorder):
        transport, peer = connect(Recorder())
        sock = transport.get_extra_info("socket")
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        assert sock.fileno() >= 0
        assert sock.getpeername() == peer.getsockname()
        assert sock.getsockname() == peer.getpeername()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1

    def test_socket_is_the_same_each_time(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_extra_info("socket") is transport.get_extra_info("socket")

    def test_socket_stays_non_blocking(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_extra_info("socket").gettimeout() == 0

    def test_a_copy_of_an_accepted_socket_is_non_blocking(self, loop, run, Recorder):
        async def main():
            accepted = loop.create_future()
            accepting = Recorder()
            accepting.connection_made = accepted.set_result
            server = await loop.create_server(lambda: accepting, "127.0.0.1", 0)
            with socket.create_connection(server.sockets[0].getsockname()):
                transport = await accepted
                with transport.get_extra_info("socket").dup() as copy:
                    assert copy.gettimeout() == 0
                assert not os.get_blocking(transport.get_extra_info("socket").fileno())
                transport.abort()
                server.close()
                await asyncio.sleep(0)

        run(main())

    @pytest.mark.parametrize("meanwhile", ["abort", "ask"])
    def test_socket_that_a_thread_is_still_making(self, loop, run, Recorder, meanwhile):
        """A thread asks for it, and before it has got it the connection ends, or somebody else asks."""
        protocol = Recorder()
        begun, go_on = threading.Event(), threading.Event()
        found = []

        def wait(frame, event, arg):
            if event == "return" and frame.f_code is socket.socket.__init__.__code__:
                begun.set()
                go_on.wait(10)

        def ask():
            sys.setprofile(wait)
            try:
                found.append(protocol.transport.get_extra_info("socket"))
            finally:
                sys.setprofile(None)
                begun.set()  # asyncio has made it long ago

        async def main():
            server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
            with socket.create_connection(server.sockets[0].getsockname()) as peer:
                while protocol.transport is None:
                    await asyncio.sleep(0.001)
                fd = protocol.transport._sock_fd
                thread = threading.Thread(target=ask)
                thread.start()
                await asyncio.to_thread(begun.wait)
                if meanwhile == "ask":
                    found.append(protocol.transport.get_extra_info("socket"))
                    assert found[-1].fileno() == fd
                protocol.transport.abort()
                while not protocol.lost:
                    await asyncio.sleep(0.001)
                others = socket.socketpair()  # one of them gets the number
                go_on.set()
                await asyncio.to_thread(thread.join)
                assert [sock.fileno() for sock in found] == [-1] * len(found)
                protocol.transport = None
                found.clear()
                gc.collect()
                with others[0], others[1]:
                    others[0].send(b"x")
                    assert others[1].recv(10) == b"x"
                peer.close()
            server.close()

        run(main())

    def test_addresses_come_from_the_methods_of_a_socket_class(self, loop, run, tcp_pair, Recorder):
        class Proxied(socket.socket):
            def getsockname(self):
                return ("me", 1)

            def getpeername(self):
                return ("you", 2)

        near, _ = tcp_pair
        sock = Proxied(fileno=near.detach())
        sock.setblocking(False)
        transport, _ = run(loop.create_connection(Recorder, sock=sock))
        assert transport.get_extra_info("sockname") == ("me", 1)
        assert transport.get_extra_info("peername") == ("you", 2)
        transport.abort()
        run(asyncio.sleep(0))

    def test_socket_is_closed_with_the_transport(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, _ = connect(protocol)
        sock = transport.get_extra_info("socket")
        transport.close()
        eventually(lambda: protocol.lost)
        assert sock.fileno() == -1


class TestClose:
    def test_loses_the_connection_once_and_without_error(self, connect, Recorder, settle):
        protocol = Recorder()
        transport, _ = connect(protocol)
        assert not transport.is_closing()
        transport.close()
        assert transport.is_closing()
        settle()
        assert protocol.calls == ["connection_made", "connection_lost"]
        assert protocol.lost == [None]
        assert transport.is_closing()

    def test_connection_lost_waits_for_the_next_turn(self, connect, Recorder, settle):
        protocol = Recorder()
        transport, _ = connect(protocol)
        transport.close()
        assert protocol.lost == []
        settle()
        assert protocol.lost == [None]

    @pytest.mark.parametrize("first", ["close", "abort"])
    @pytest.mark.parametrize("second", ["close", "abort"])
    def test_twice_is_once(self, connect, Recorder, settle, first, second):
        protocol = Recorder()
        transport, _ = connect(protocol)
        getattr(transport, first)()
        getattr(transport, second)()
        settle()
        getattr(transport, second)()
        settle()
        assert protocol.lost == [None]

    def test_peer_sees_the_end(self, connect, Recorder, receive_all):
        transport, peer = connect(Recorder())
        transport.close()
        assert receive_all(peer) == b""

    def test_sends_queued_bytes_first(self, connect, Recorder, receive_all, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = stuff(transport)
        transport.close()
        assert transport.is_closing()
        assert protocol.lost == []
        assert len(receive_all(peer)) == written
        assert protocol.lost == [None]

    def test_reads_no_more_while_it_sends_the_rest(self, connect, Recorder, settle, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        stuff(transport)
        transport.close()
        peer.sendall(b"too late")
        settle()
        assert "data_received" not in protocol.calls

    def test_makes_pause_and_resume_reading_no_ops(self, connect, Recorder, settle):
        transport, _ = connect(Recorder())
        transport.close()
        transport.pause_reading()
        transport.resume_reading()
        settle()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()

    def test_forgets_the_protocol(self, connect, Recorder, settle):
        protocol = Recorder()
        transport, _ = connect(protocol)
        assert transport.get_protocol() is protocol
        transport.close()
        settle()
        assert transport.get_protocol() is None

    def test_from_connection_made(self, connect, Recorder, settle):
        class Protocol(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.close()

        protocol = Protocol()
        connect(protocol)
        settle()
        assert protocol.calls == ["connection_made", "connection_lost"]
        assert protocol.lost == [None]

    def test_from_connection_lost_does_nothing(self, connect, Recorder, settle):
        class Protocol(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                self.transport.close()
                self.transport.abort()

        protocol = Protocol()
        transport, _ = connect(protocol)
        transport.close()
        settle()
        assert protocol.lost == [None]

    @pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio's wants an argument, and calls connection_lost() again
    def test_private_end_from_connection_lost_is_reported(self, connect, Recorder, settle, take_reports):
        class Protocol(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                self.transport._call_connection_lost()

        protocol = Protocol()
        transport, _ = connect(protocol)
        sock = transport.get_extra_info("socket")
        transport.close()
        settle()
        assert protocol.lost == [None]
        assert sock.fileno() == -1
        (report,) = take_reports()
        assert "is already entered" in str(report["exception"])


class TestAbort:
    def test_loses_the_connection_without_error(self, connect, Recorder, settle):
        protocol = Recorder()
        transport, _ = connect(protocol)
        transport.abort()
        assert transport.is_closing()
        assert protocol.lost == []
        settle()
        assert protocol.lost == [None]

    def test_drops_queued_bytes(self, connect, Recorder, settle, stuff):
        protocol = Recorder()
        transport, _ = connect(protocol)
        stuff(transport)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        settle()
        assert protocol.lost == [None]

    def test_ends_a_close_that_waits_for_the_peer(self, connect, Recorder, settle, stuff):
        protocol = Recorder()
        transport, _ = connect(protocol)
        stuff(transport)
        transport.close()
        settle()
        assert protocol.lost == []
        transport.abort()
        settle()
        assert protocol.lost == [None]


class TestSetProtocol:
    def test_replaces_the_protocol(self, connect, Recorder, eventually):
        first, second = Recorder(), Recorder()
        transport, peer = connect(first)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        peer.sendall(b"for the second")
        eventually(lambda: second.data == b"for the second")
        transport.close()
        eventually(lambda: second.lost)
        assert first.calls == ["connection_made"]
        assert second.calls == ["data_received", "connection_lost"]

    def test_switches_between_protocol_and_buffered_protocol(self, connect, Recorder, BufferedRecorder, eventually):
        plain, buffered = Recorder(), BufferedRecorder()
        transport, peer = connect(plain)
        peer.sendall(b"one")
        eventually(lambda: plain.data == b"one")
        transport.set_protocol(buffered)
        peer.sendall(b"two")
        eventually(lambda: buffered.data == b"two")
        transport.set_protocol(plain)
        peer.sendall(b"three")
        eventually(lambda: plain.data == b"onethree")
        assert buffered.calls == ["get_buffer", "buffer_updated"]

    def test_from_data_received_holds_for_the_next_data(self, connect, Recorder, BufferedRecorder, eventually):
        buffered = BufferedRecorder()

        class Upgrading(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.set_protocol(buffered)

        first = Upgrading()
        _, peer = connect(first)
        peer.sendall(b"upgrade")
        eventually(lambda: first.data == b"upgrade")
        peer.sendall(b"upgraded")
        eventually(lambda: buffered.data == b"upgraded")
        assert first.data == b"upgrade"

    def test_from_buffer_updated_holds_for_the_next_data(self, connect, Recorder, BufferedRecorder, eventually):
        plain = Recorder()

        class Upgrading(BufferedRecorder):
            def buffer_updated(self, nbytes):
                super().buffer_updated(nbytes)
                self.transport.set_protocol(plain)

        first = Upgrading()
        _, peer = connect(first)
        peer.sendall(b"upgrade")
        eventually(lambda: first.data == b"upgrade")
        peer.sendall(b"upgraded")
        eventually(lambda: plain.data == b"upgraded")

    def test_methods_assigned_on_the_instance_are_called(self, connect, Recorder, eventually):
        protocol = Recorder()
        received = []
        protocol.data_received = received.append
        _, peer = connect(protocol)
        peer.sendall(b"here")
        eventually(lambda: received)
        assert received == [b"here"]

    def test_protocol_need_not_derive_from_asyncio(self, connect, eventually):
        class Duck:
            data = lost = None

            def connection_made(self, transport):
                pass

            def data_received(self, data):
                self.data = data

            def eof_received(self):
                pass

            def connection_lost(self, exc):
                self.lost = True

        duck = Duck()
        _, peer = connect(duck)
        peer.sendall(b"quack")
        peer.close()
        eventually(lambda: duck.lost)
        assert duck.data == b"quack"


class TestRepr:
    def test_tells_descriptor_and_state(self, connect, Recorder, stuff):
        transport, _ = connect(Recorder())
        fd = transport.get_extra_info("socket").fileno()
        assert f"fd={fd} " in repr(transport)
        assert "read=polling" in repr(transport)
        assert "write=<idle, bufsize=0>" in repr(transport)
        transport.pause_reading()
        assert "read=idle" in repr(transport)
        stuff(transport)
        assert f"write=<polling, bufsize={transport.get_write_buffer_size()}>" in repr(transport)

    def test_tells_that_it_is_closing_and_closed(self, connect, Recorder, settle):
        transport, _ = connect(Recorder())
        transport.close()
        assert " closing " in repr(transport)
        settle()
        assert " closed " in repr(transport)


@contextlib.contextmanager
def unclosed_transport_warning():
    """Expects the warning; its socket may warn as well, depending on which of them the collector meets first."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [w.category for w in caught if str(w.message).startswith("unclosed transport <")] == [ResourceWarning]


class TestDropped:
    def test_unclosed_transport_warns_and_closes_its_socket(self, connect, Recorder, settle, receive_all):
        transport, peer = connect(Recorder())
        transport.pause_reading()  # a reading transport is held by its loop
        settle()
        with unclosed_transport_warning():
            del transport
            gc.collect()
        assert receive_all(peer) == b""

    def test_reading_transport_is_held_by_the_loop(self, connect, Recorder, eventually):
        protocol = Recorder()
        transport, peer = connect(protocol)
        ref = weakref.ref(transport)
        protocol.transport = None
        del transport
        gc.collect()
        assert ref() is not None
        peer.sendall(b"still there")
        eventually(lambda: protocol.data == b"still there")

    def test_writing_transport_is_held_by_the_loop(self, connect, Recorder, receive_all, stuff):
        protocol = Recorder()
        transport, peer = connect(protocol)
        written = stuff(transport)
        transport.close()
        protocol.transport = None
        del transport, protocol
        gc.collect()
        assert len(receive_all(peer)) == written

    def test_closed_transport_leaves_no_reference_cycle(self, kind, connect, Recorder, eventually):
        if kind == "asyncio" and sys.version_info < (3, 12):
            pytest.skip("a stock transport of 3.11 holds itself by a bound method")
        protocol = Recorder()
        data, lost = protocol.data, protocol.lost
        transport, peer = connect(protocol)
        peer.sendall(b"ping")
        eventually(lambda: data)
        transport.write(b"pong")
        transport.close()
        eventually(lambda: lost)
        refs = [weakref.ref(transport), weakref.ref(protocol)]
        gc.disable()
        try:
            del transport, protocol
            assert [ref() for ref in refs] == [None, None]
        finally:
            gc.enable()

    def test_loop_closed_under_an_open_transport(self, loop, connect, Recorder):
        protocol = Recorder()
        transport, peer = connect(protocol)
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            transport.close()
        protocol.transport = None
        with unclosed_transport_warning():
            del transport
            gc.collect()
        assert peer.recv(1) == b""

    def test_loop_closed_under_a_transport_that_has_not_sent_all(self, loop, connect, Recorder, stuff):
        protocol = Recorder()
        transport, _ = connect(protocol)
        stuff(transport)
        loop.close()
        protocol.transport = None
        with unclosed_transport_warning():
            del transport
            gc.collect()


class TestSocketOptions:
    def test_nagle_is_off(self, connect, Recorder):
        transport, _ = connect(Recorder())
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_nagle_is_off_for_accepted_sockets(self, loop, run, tcp_pair, Recorder, settle):
        near, _ = tcp_pair
        transport, protocol = run(loop.connect_accepted_socket(Recorder, near))
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()
        settle()
        assert protocol.lost == [None]

    def test_a_unix_socket_pair_serves_as_well(self, loop, run, Recorder, eventually, settle):
        near, far = socket.socketpair()
        with far:
            near.setblocking(False)
            transport, protocol = run(loop.create_connection(Recorder, sock=near))
            far.sendall(b"ping")
            eventually(lambda: protocol.data == b"ping")
            transport.write(b"pong")
            settle()
            assert far.recv(10) == b"pong"
            transport.close()
            settle()


@pytest.mark.parametrize("name", ["add_reader", "add_writer"])
def test_descriptor_of_a_transport_cannot_be_watched(loop, connect, Recorder, name):
    transport, _ = connect(Recorder())
    fd = transport.get_extra_info("socket").fileno()
    with pytest.raises(RuntimeError, match=f"File descriptor {fd} is used by transport "):
        getattr(loop, name)(fd, print)


@pytest.mark.parametrize("name", ["remove_reader", "remove_writer"])
def test_descriptor_of_a_transport_cannot_be_unwatched(loop, connect, Recorder, name):
    transport, _ = connect(Recorder())
    fd = transport.get_extra_info("socket").fileno()
    with pytest.raises(RuntimeError, match=f"File descriptor {fd} is used by transport "):
        getattr(loop, name)(fd)


def test_a_socket_that_would_have_to_wait_cannot_be_read_beside_its_transport(loop, run, connect, Recorder):
    transport, _ = connect(Recorder())
    fd = transport.get_extra_info("socket").fileno()
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    try:
        with pytest.raises(RuntimeError, match="is used by transport"):
            run(loop.sock_recv(sock, 10))
    finally:
        sock.detach()


def test_descriptor_is_free_for_watching_once_the_transport_closes(loop, connect, Recorder):
    transport, _ = connect(Recorder())
    fd = transport.get_extra_info("socket").fileno()
    transport.close()
    assert loop.remove_reader(fd) is False
