"""The sock_* methods: at once, after waiting, cancelled while waiting, and with sockets that are not fit for them."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time

import pytest


@pytest.fixture
def pair():
    """Two connected non-blocking TCP sockets, closed after the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        yield a, b


@pytest.fixture
def udp_pair():
    """Two non-blocking UDP sockets on 127.0.0.1, closed after the test."""
    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        for sock in (a, b):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        yield a, b


@pytest.fixture
def listener():
    """A non-blocking listening TCP socket, closed after the test."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


def fill(sock):
    """Sends until the kernel takes no more; -> the number of bytes sent."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += sock.send(bytes(65536))
    return sent


def drain(sock):
    with contextlib.suppress(BlockingIOError):
        while sock.recv(1 << 20):
            pass


# name -> the call that has to wait, and a function that ends the waiting from the other side
def waiting(loop, name, a, b):
    if name == "sock_sendall":
        fill(a)
        return loop.sock_sendall(a, b"x"), lambda: drain(b)
    call = {
        "sock_recv": lambda: loop.sock_recv(a, 10),
        "sock_recv_into": lambda: loop.sock_recv_into(a, bytearray(10)),
        "sock_recvfrom": lambda: loop.sock_recvfrom(a, 10),
        "sock_recvfrom_into": lambda: loop.sock_recvfrom_into(a, bytearray(10)),
    }[name]
    return call(), lambda: b.send(b"x")


WAITING = ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall"]


class TestOfNothing:
    """No byte asked for, none taken: as the socket's own methods, which ask the system for recvfrom() alone."""

    def test_recv_returns_at_once(self, loop, run, pair):
        assert run(loop.sock_recv(pair[0], 0)) == b""

    @pytest.mark.parametrize("make", [bytearray, lambda: memoryview(bytearray(3))[3:]])
    def test_recv_into_returns_at_once(self, loop, run, pair, make):
        assert run(loop.sock_recv_into(pair[0], make())) == 0

    def test_recv_takes_no_datagram(self, loop, run, udp_pair):
        a, b = udp_pair
        b.sendto(b"first", a.getsockname())
        assert run(loop.sock_recv(a, 0)) == b""
        assert run(loop.sock_recv_into(a, bytearray())) == 0
        assert run(loop.sock_recv(a, 100)) == b"first"

    def test_recvfrom_takes_one(self, loop, run, udp_pair):
        a, b = udp_pair
        b.sendto(b"first", a.getsockname())
        b.sendto(b"second", a.getsockname())
        b.sendto(b"third", a.getsockname())
        assert run(loop.sock_recvfrom(a, 0)) == (b"", b.getsockname())
        assert run(loop.sock_recvfrom_into(a, bytearray())) == (0, b.getsockname())
        assert run(loop.sock_recv(a, 100)) == b"third"


class TestRecv:
    def test_returns_the_bytes_that_have_come(self, loop, run, pair):
        a, b = pair
        b.send(b"hello")
        data = run(loop.sock_recv(a, 100))
        assert data == b"hello"
        assert type(data) is bytes

    def test_takes_no_more_than_asked(self, loop, run, pair):
        a, b = pair
        b.send(b"hello")
        assert run(loop.sock_recv(a, 2)) == b"he"
        assert run(loop.sock_recv(a, 2)) == b"ll"
        assert run(loop.sock_recv(a, 2)) == b"o"

    def test_waits(self, loop, run, pair):
        a, b = pair
        loop.call_later(0.01, b.send, b"later")
        assert run(loop.sock_recv(a, 100)) == b"later"

    def test_gives_nothing_at_the_end(self, loop, run, pair):
        a, b = pair
        b.close()
        assert run(loop.sock_recv(a, 100)) == b""

    def test_gives_nothing_when_the_end_comes_while_waiting(self, loop, run, pair):
        a, b = pair
        loop.call_later(0.01, b.close)
        assert run(loop.sock_recv(a, 100)) == b""

    @pytest.mark.parametrize("wait", [False, True])
    def test_raises_the_networks_errors(self, loop, run, pair, wait):
        a, b = pair

        def reset():
            b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            b.close()

        if wait:
            loop.call_later(0.01, reset)
        else:
            reset()
        with pytest.raises(ConnectionResetError):
            run(loop.sock_recv(a, 100))

    def test_of_nothing_gives_nothing(self, loop, run, pair):
        a, b = pair
        b.send(b"x")
        assert run(loop.sock_recv(a, 0)) == b""

    def test_of_a_negative_size_is_refused(self, loop, run, pair):
        with pytest.raises(ValueError, match="negative buffersize in recv"):
            run(loop.sock_recv(pair[0], -1))

    @pytest.mark.parametrize("wrong", ["10", None, 1.5])
    def test_of_no_number_is_refused(self, loop, run, pair, wrong):
        with pytest.raises(TypeError):
            run(loop.sock_recv(pair[0], wrong))

    def test_of_a_large_size_takes_little_memory(self, loop, run, pair):
        a, b = pair
        b.send(b"little")
        data = run(loop.sock_recv(a, 10_000_000))
        assert data == b"little"
        assert data.__sizeof__() < 100


class TestRecvInto:
    @pytest.mark.parametrize("make", [bytearray, lambda n: memoryview(bytearray(n))])
    def test_fills_the_buffer(self, loop, run, pair, make):
        a, b = pair
        buffer = make(10)
        b.send(b"hello")
        assert run(loop.sock_recv_into(a, buffer)) == 5
        assert bytes(buffer) == b"hello\0\0\0\0\0"

    def test_waits(self, loop, run, pair):
        a, b = pair
        buffer = bytearray(10)
        loop.call_later(0.01, b.send, b"later")
        assert run(loop.sock_recv_into(a, buffer)) == 5
        assert buffer.startswith(b"later")

    def test_lets_the_buffer_go(self, loop, run, pair):
        a, b = pair
        buffer = bytearray(10)
        loop.call_later(0.01, b.send, b"later")
        run(loop.sock_recv_into(a, buffer))
        buffer.extend(b"can be resized")

    @pytest.mark.parametrize("wrong", [b"read-only", "text", None])
    def test_needs_a_writable_buffer(self, loop, run, pair, wrong):
        with pytest.raises(TypeError):
            run(loop.sock_recv_into(pair[0], wrong))

    def test_gives_zero_at_the_end(self, loop, run, pair):
        a, b = pair
        b.close()
        assert run(loop.sock_recv_into(a, bytearray(10))) == 0


class TestRecvfrom:
    @pytest.mark.parametrize("wait", [False, True])
    def test_returns_the_address_of_the_sender(self, loop, run, udp_pair, wait):
        a, b = udp_pair
        if wait:
            loop.call_later(0.01, b.sendto, b"hello", a.getsockname())
        else:
            b.sendto(b"hello", a.getsockname())
        assert run(loop.sock_recvfrom(a, 100)) == (b"hello", b.getsockname())

    def test_resolves_a_future_of_another_make(self, loop, run, udp_pair):
        """The result is a tuple, and must not be taken for arguments."""
        a, b = udp_pair
        loop.create_future = lambda: asyncio.Future(loop=loop)
        loop.call_later(0.01, b.sendto, b"hello", a.getsockname())
        assert run(loop.sock_recvfrom(a, 100)) == (b"hello", b.getsockname())

    def test_cuts_a_longer_datagram(self, loop, run, udp_pair):
        a, b = udp_pair
        b.sendto(b"hello", a.getsockname())
        assert run(loop.sock_recvfrom(a, 2)) == (b"he", b.getsockname())

    @pytest.mark.parametrize("wait", [False, True])
    def test_into_fills_the_buffer(self, loop, run, udp_pair, wait):
        a, b = udp_pair
        buffer = bytearray(10)
        if wait:
            loop.call_later(0.01, b.sendto, b"hello", a.getsockname())
        else:
            b.sendto(b"hello", a.getsockname())
        assert run(loop.sock_recvfrom_into(a, buffer)) == (5, b.getsockname())
        assert buffer == b"hello\0\0\0\0\0"

    def test_into_takes_no_more_than_asked(self, loop, run, udp_pair):
        a, b = udp_pair
        buffer = bytearray(10)
        b.sendto(b"hello", a.getsockname())
        assert run(loop.sock_recvfrom_into(a, buffer, 2)) == (2, b.getsockname())
        assert buffer == b"he\0\0\0\0\0\0\0\0"

    def test_into_asked_for_more_than_the_buffer_is_refused(self, loop, run, udp_pair):
        with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
            run(loop.sock_recvfrom_into(udp_pair[0], bytearray(2), 3))


class TestSendto:
    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    def test_tells_how_much_it_sent(self, loop, run, udp_pair, make):
        a, b = udp_pair
        assert run(loop.sock_sendto(a, make(b"hello"), b.getsockname())) == 5
        assert run(loop.sock_recvfrom(b, 100)) == (b"hello", a.getsockname())

    def test_of_nothing_sends_an_empty_datagram(self, loop, run, udp_pair):
        a, b = udp_pair
        assert run(loop.sock_sendto(a, b"", b.getsockname())) == 0
        assert run(loop.sock_recvfrom(b, 100)) == (b"", a.getsockname())

    def test_of_too_much_is_refused(self, loop, run, udp_pair):
        a, b = udp_pair
        with pytest.raises(OSError, match="Message too long"):
            run(loop.sock_sendto(a, bytes(100_000), b.getsockname()))

    def test_needs_an_address(self, loop, run, udp_pair):
        with pytest.raises(TypeError):
            run(loop.sock_sendto(udp_pair[0], b"x", None))


class TestSendall:
    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    def test_sends_bytes_like_objects(self, loop, run, pair, make):
        a, b = pair
        assert run(loop.sock_sendall(a, make(b"hello"))) is None
        assert b.recv(100) == b"hello"

    def test_of_nothing_returns_at_once(self, loop, run, pair):
        a, b = pair
        assert run(loop.sock_sendall(a, b"")) is None
        with pytest.raises(BlockingIOError):
            b.recv(1)

    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    def test_of_much_waits_for_a_slow_reader(self, loop, run, pair, make):
        a, b = pair
        data = random.Random(0).randbytes(8_000_000)

        async def read():
            received = bytearray()
            while len(received) < len(data):
                received += await loop.sock_recv(b, 100_000)
                if len(received) % 7 == 0:
                    await asyncio.sleep(0.001)
            return bytes(received)

        async def main():
            reader = loop.create_task(read())
            await loop.sock_sendall(a, make(data))
            return await reader

        assert run(main()) == data

    def test_lets_the_buffer_go(self, loop, run, pair):
        a, b = pair
        data = bytearray(8_000_000)

        async def read():
            left = len(data)
            while left:
                left -= len(await loop.sock_recv(b, 1_000_000))

        async def main():
            reader = loop.create_task(read())
            await loop.sock_sendall(a, data)
            await reader
            data.clear()

        run(main())

    def test_raises_when_the_peer_goes_away_while_waiting(self, loop, run, pair):
        a, b = pair
        loop.call_later(0.01, b.close)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            run(loop.sock_sendall(a, bytes(50_000_000)))

    @pytest.mark.parametrize("wrong", ["text", None, 5])
    def test_needs_bytes(self, loop, run, pair, wrong):
        with pytest.raises(TypeError):
            run(loop.sock_sendall(pair[0], wrong))

    @pytest.mark.parametrize("seed", range(3))
    def test_echo_of_random_sizes_is_complete(self, loop, run, pair, seed):
        a, b = pair
        rng = random.Random(seed)
        pieces = [rng.randbytes(rng.choice([1, 50, 5_000, 300_000])) for _ in range(60)]
        total = sum(map(len, pieces))

        async def echo():
            buffer = bytearray(70_000)
            left = total
            while left:
                if rng.random() < 0.5:
                    n = await loop.sock_recv_into(b, buffer)
                    data = memoryview(buffer)[:n]
                else:
                    data = await loop.sock_recv(b, rng.choice([10, 10_000, 1_000_000]))
                left -= len(data)
                await loop.sock_sendall(b, data)

        async def send():
            for piece in pieces:
                await loop.sock_sendall(a, piece)

        async def main():
            tasks = [loop.create_task(echo()), loop.create_task(send())]
            received = bytearray()
            while len(received) < total:
                received += await loop.sock_recv(a, 50_000)
            await asyncio.gather(*tasks)
            return bytes(received)

        assert run(main()) == b"".join(pieces)

    def test_a_socket_of_another_kind_gets_the_data_themselves(self, loop, run):
        given = []

        class Duck:
            def gettimeout(self):  # asked for in debug mode
                return 0

            def send(self, data):
                given.append(data)
                return len(data)

        data = [1, 2, 3]
        run(loop.sock_sendall(Duck(), data))
        assert given == [data]
        with pytest.raises(AttributeError):
            run(loop.sock_sendall(None, None))


class TestConnect:
    def test_connects_to_a_listening_socket(self, loop, run, listener):
        with socket.socket() as sock:
            sock.setblocking(False)
            assert run(loop.sock_connect(sock, listener.getsockname())) is None
            assert sock.getpeername() == listener.getsockname()

    def test_resolves_a_name(self, loop, run, listener):
        with socket.socket() as sock:
            sock.setblocking(False)
            run(loop.sock_connect(sock, ("localhost", listener.getsockname()[1])))
            assert sock.getpeername() == listener.getsockname()

    def test_the_empty_host_is_none(self, loop, run, listener):
        with socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(socket.gaierror):
                run(loop.sock_connect(sock, ("", listener.getsockname()[1])))

    def test_refused_connection_is_raised(self, loop, run):
        with socket.socket() as unused, socket.socket() as sock:
            unused.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                run(loop.sock_connect(sock, unused.getsockname()))

    def test_of_udp_sets_the_peer(self, loop, run, udp_pair):
        a, b = udp_pair
        run(loop.sock_connect(a, b.getsockname()))
        assert a.getpeername() == b.getsockname()

    def test_connects_a_unix_socket(self, loop, run, tmp_path):
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as sock:
            server.bind(path)
            server.listen()
            sock.setblocking(False)
            run(loop.sock_connect(sock, path))
            assert sock.getpeername() == path

    @pytest.mark.parametrize("wrong", [None, "127.0.0.1", ("127.0.0.1",), 5])
    def test_needs_an_address(self, loop, run, wrong):
        with socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises((TypeError, ValueError)):
                run(loop.sock_connect(sock, wrong))


class TestAccept:
    @pytest.mark.parametrize("wait", [False, True])
    def test_gives_a_socket_and_its_address(self, loop, run, listener, wait):
        with socket.socket() as client:
            if wait:
                loop.call_later(0.01, client.connect, listener.getsockname())
            else:
                client.connect(listener.getsockname())
            conn, address = run(loop.sock_accept(listener))
            with conn:
                assert address == client.getsockname() == conn.getpeername()
                assert type(conn) is socket.socket
                assert conn.family == socket.AF_INET
                assert conn.gettimeout() == 0
                assert conn.get_inheritable() is False

    def test_on_a_socket_that_does_not_listen(self, loop, run, pair):
        with pytest.raises(OSError, match="Invalid argument"):
            run(loop.sock_accept(pair[0]))

    def test_cancelled_leaves_the_connection_to_the_next(self, loop, run, listener):
        async def main():
            task = loop.create_task(loop.sock_accept(listener))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            with socket.create_connection(listener.getsockname()):
                conn, _ = await loop.sock_accept(listener)
                conn.close()

        run(main())


class TestWaiting:
    """What all waiting calls have in common."""

    @pytest.mark.parametrize("name", WAITING)
    def test_ends_when_the_socket_is_ready(self, loop, run, pair, name):
        call, end = waiting(loop, name, *pair)
        loop.call_later(0.01, end)
        run(call)

    @pytest.mark.parametrize("name", WAITING)
    def test_can_be_a_task(self, loop, run, pair, name):
        call, end = waiting(loop, name, *pair)

        async def main():
            task = loop.create_task(call)
            await asyncio.sleep(0.01)
            assert not task.done()
            end()
            await task

        run(main())

    @pytest.mark.parametrize("name", WAITING)
    def test_cancelled_stops_watching(self, loop, run, pair, name):
        call, end = waiting(loop, name, *pair)

        async def main():
            task = loop.create_task(call)
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert loop.remove_reader(pair[0]) is False
            assert loop.remove_writer(pair[0]) is False

        run(main())
        end()

    @pytest.mark.parametrize("name", WAITING)
    def test_finished_stops_watching(self, loop, run, pair, name):
        call, end = waiting(loop, name, *pair)
        loop.call_later(0.01, end)
        run(call)
        run(asyncio.sleep(0))
        assert loop.remove_reader(pair[0]) is False
        assert loop.remove_writer(pair[0]) is False

    @pytest.mark.parametrize("name", WAITING)
    def test_times_out(self, loop, run, pair, name):
        call, _ = waiting(loop, name, *pair)
        with pytest.raises(asyncio.TimeoutError):
            run(asyncio.wait_for(call, 0.01))

    @pytest.mark.parametrize("name", WAITING)
    def test_on_a_closed_socket_fails(self, loop, run, pair, name):
        a, b = pair
        call, _ = waiting(loop, name, a, b)
        a.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(call)

    def test_cancelled_loses_no_data(self, loop, run, pair):
        a, b = pair

        async def main():
            received = b""
            for i in range(200):
                task = loop.create_task(loop.sock_recv(a, 100))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if i % 2:
                    b.send(b"%03d" % i)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    received += await task
            while not received.endswith(b"199"):
                received += await loop.sock_recv(a, 1000)
            return received

        assert run(main()) == b"".join(b"%03d" % i for i in range(1, 200, 2))

    def test_cancelled_then_again_works(self, loop, run, pair):
        a, b = pair

        async def main():
            task = loop.create_task(loop.sock_recv(a, 100))
            await asyncio.sleep(0.01)
            task.cancel()
            again = loop.create_task(loop.sock_recv(a, 100))
            await asyncio.sleep(0.01)
            b.send(b"for the second")
            assert await again == b"for the second"
            assert task.cancelled()

        run(main())

    def test_reading_and_writing_of_one_socket_at_the_same_time(self, loop, run, pair):
        a, b = pair

        async def main():
            reading = loop.create_task(loop.sock_recv(a, 100))
            await asyncio.sleep(0.01)
            fill(a)
            writing = loop.create_task(loop.sock_sendall(a, b"end"))
            await asyncio.sleep(0.01)
            assert not reading.done()
            assert not writing.done()
            b.send(b"reply")
            assert await reading == b"reply"
            assert not writing.done()
            while not writing.done():
                drain(b)
                await asyncio.sleep(0.001)
            await writing

        run(main())

    def test_is_ended_from_another_thread(self, loop, run, pair):
        a, b = pair

        def later():
            time.sleep(0.01)
            b.send(b"from a thread")

        thread = threading.Thread(target=later)
        thread.start()
        assert run(loop.sock_recv(a, 100)) == b"from a thread"
        thread.join()

    def test_outlives_nothing_when_the_loop_closes(self, loop_factory, pair):
        loop = loop_factory()
        task = loop.create_task(loop.sock_recv(pair[0], 10))
        loop.run_until_complete(asyncio.sleep(0.01))
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
        assert task.cancelled()


class TestMisuse:
    CALLS = {
        "sock_recv": (10,),
        "sock_recv_into": (bytearray(10),),
        "sock_recvfrom": (10,),
        "sock_recvfrom_into": (bytearray(10),),
        "sock_sendall": (b"x",),
        "sock_sendto": (b"x", ("127.0.0.1", 9)),
        "sock_connect": (("127.0.0.1", 9),),
        "sock_accept": (),
    }

    @pytest.mark.parametrize("name", CALLS)
    def test_blocking_sockets_are_refused_in_debug_mode(self, loop, run, name):
        loop.set_debug(True)
        with socket.socket() as sock:
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                run(getattr(loop, name)(sock, *self.CALLS[name]))

    @pytest.mark.parametrize("name", ["sock_recv", "sock_sendall", "sock_accept"])
    def test_sockets_with_a_timeout_are_refused_in_debug_mode(self, loop, run, name):
        loop.set_debug(True)
        with socket.socket() as sock:
            sock.settimeout(5)
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                run(getattr(loop, name)(sock, *self.CALLS[name]))

    @pytest.mark.parametrize("name", [name for name in CALLS if name != "sock_connect"])
    def test_closed_sockets_give_the_systems_error(self, loop, run, name):
        sock = socket.socket()
        sock.setblocking(False)
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(getattr(loop, name)(sock, *self.CALLS[name]))

    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.parametrize("wrong", [None, "socket", 5])
    def test_other_objects_are_refused_when_awaited(self, loop, run, name, wrong):
        with pytest.raises((AttributeError, TypeError)):
            run(getattr(loop, name)(wrong, *self.CALLS[name]))

    @pytest.mark.parametrize("name", ["sock_accept", "sock_connect"])
    def test_the_descriptor_is_asked_for_first(self, loop, run, name):
        class Odd:
            family = None

            def __init__(self, error):
                self.error = error

            def gettimeout(self):
                return 0

            def fileno(self):
                raise self.error

        with pytest.raises(ZeroDivisionError):
            run(getattr(loop, name)(Odd(ZeroDivisionError()), *self.CALLS[name]))
        with pytest.raises(BlockingIOError):
            run(getattr(loop, name)(Odd(BlockingIOError()), *self.CALLS[name]))

    @pytest.mark.parametrize("name", [name for name in CALLS if name not in ("sock_accept", "sock_connect")])
    def test_the_method_is_asked_for_first(self, loop, run, name):
        class Odd:
            def gettimeout(self):
                return 0

            def fileno(self):
                raise ZeroDivisionError

        with pytest.raises(AttributeError):
            run(getattr(loop, name)(Odd(), *self.CALLS[name]))

    def test_class_that_raises_in_fileno(self, loop, run, listener):
        class Socket(socket.socket):
            def fileno(self):
                raise ZeroDivisionError

        with Socket(fileno=socket.dup(listener.fileno())) as sock:
            with pytest.raises(ZeroDivisionError):
                run(loop.sock_accept(sock))

    @pytest.mark.parametrize("name", CALLS)
    def test_missing_arguments_give_type_error(self, loop, name):
        with pytest.raises(TypeError):
            getattr(loop, name)()

    def test_errors_come_out_of_the_await_and_not_of_the_call(self, loop, run, pair):
        call = loop.sock_recv(pair[0], -1)
        with pytest.raises(ValueError, match="negative"):
            run(call)

    def test_arguments_may_be_named(self, loop, run, pair):
        a, b = pair
        run(loop.sock_sendall(sock=a, data=b"named"))
        assert run(loop.sock_recv(sock=b, n=10)) == b"named"
        run(loop.sock_sendall(a, data=b"named"))
        assert run(loop.sock_recv_into(sock=b, buf=bytearray(10))) == 5


def test_a_call_that_is_never_awaited_takes_nothing(loop, run, pair):
    a, b = pair
    b.send(b"hello")
    call = loop.sock_recv(a, 10)
    if hasattr(call, "close"):
        call.close()
    del call
    assert run(loop.sock_recv(a, 10)) == b"hello"


def test_toy_server_and_clients(loop, run, listener):
    """Fifty clients at once, each served by its own task."""

    async def serve(conn):
        with conn:
            while data := await loop.sock_recv(conn, 1000):
                await loop.sock_sendall(conn, data.upper())

    async def accept(tasks):
        while True:
            conn, _ = await loop.sock_accept(listener)
            tasks.append(loop.create_task(serve(conn)))

    async def ask(i):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listener.getsockname())
            for j in range(5):
                await loop.sock_sendall(sock, b"client %d %d" % (i, j))
                assert await loop.sock_recv(sock, 100) == b"CLIENT %d %d" % (i, j)

    async def main():
        tasks = []
        accepting = loop.create_task(accept(tasks))
        await asyncio.gather(*[ask(i) for i in range(50)])
        await asyncio.gather(*tasks)
        accepting.cancel()
        await asyncio.wait([accepting])

    run(main())
