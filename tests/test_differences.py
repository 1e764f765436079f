"""What docs/differences.md says and no test elsewhere holds: how asyncio is, and how asyncloop is."""

import asyncio
import collections.abc
import contextvars
import copy
import inspect
import logging
import pickle
import socket
import sys
import unittest.mock

import pytest

COROUTINE_FUNCTIONS = sorted(
    name
    for name, method in inspect.getmembers(asyncio.SelectorEventLoop, inspect.iscoroutinefunction)
    if not name.startswith("_")
)


class Protocol(asyncio.Protocol):
    """Has attributes, unlike asyncio's."""


@pytest.fixture
def is_ours(kind):
    return kind == "asyncloop"


@pytest.fixture
def tasks_are_ours(is_ours, Task):
    return is_ours and Task is not asyncio.Task


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def connect(loop, run, pair):
    """connect(protocol) -> its transport, on one end of `pair`."""
    transports = []

    def connect(protocol):
        transports.append(run(loop.create_connection(lambda: protocol, sock=pair[0]))[0])
        return transports[-1]

    yield connect
    for transport in transports:
        transport.abort()
    run(asyncio.sleep(0.001))


class TestTransports:
    def test_a_transport_has_one_context(self, run, loop, pair, is_ours):
        var = contextvars.ContextVar("var", default="nothing")
        seen = []

        class Client(asyncio.Protocol):
            def connection_made(self, transport):
                seen.append(var.get())
                var.set("made")

            def data_received(self, data):
                seen.append(var.get())

            def connection_lost(self, exc):
                seen.append(var.get())

        async def main():
            var.set("creator")
            transport, _ = await loop.create_connection(Client, sock=pair[0])
            pair[1].send(b"x")
            await asyncio.sleep(0.01)
            transport.pause_reading()
            var.set("resumer")
            transport.resume_reading()
            pair[1].send(b"x")
            await asyncio.sleep(0.01)
            var.set("closer")
            transport.close()
            await asyncio.sleep(0.001)

        run(main())
        has_one = is_ours or sys.version_info >= (3, 15)
        assert seen == ["creator", *(["made"] * 3 if has_one else ["creator", "resumer", "closer"])]

    def test_methods_of_a_socket_class_are_not_called(self, run, loop, pair, is_ours):
        called = set()

        class Socket(socket.socket):
            def __getattribute__(self, name):
                called.add(name)
                return super().__getattribute__(name)

        async def main():
            sock = Socket(fileno=pair[0].detach())
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
            pair[1].send(b"x")
            transport.write(b"x")
            await asyncio.sleep(0.01)
            transport.write_eof()
            transport.close()
            await asyncio.sleep(0.001)

        run(main())
        assert called & {"send", "recv", "shutdown"} == (set() if is_ours else {"send", "recv", "shutdown"})
        assert called >= {"fileno", "getsockname", "setblocking", "close"}

    def test_a_server_makes_no_task_for_a_connection(self, run, loop, is_ours):
        made = []

        def factory(loop, coro, **options):
            made.append(coro.__name__)
            return asyncio.Task(coro, loop=loop, **options)

        async def main():
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            loop.set_task_factory(factory)
            with socket.create_connection(server.sockets[0].getsockname()):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            server.close()

        run(main())
        assert made == ([] if is_ours else ["_accept_connection2"])

    @pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
    def test_report_of_a_failing_protocol_has_protocol_and_transport(self, run, connect, reports, is_ours, method):
        protocol = Protocol()
        setattr(protocol, method, lambda *args: 1 / 0)
        connect(protocol).abort()
        run(asyncio.sleep(0.001))
        (report,) = reports()
        keys = {"protocol", "transport"} if is_ours else {"handle"}
        assert set(report) - {"source_traceback"} == {"message", "exception", *keys}

    def test_the_size_of_a_read_cannot_be_set(self, run, connect, pair, is_ours):
        sizes = []
        protocol = Protocol()
        protocol.data_received = lambda data: sizes.append(len(data))
        connect(protocol).max_size = 10
        pair[1].send(bytes(25))
        run(asyncio.sleep(0.01))
        assert sizes == ([25] if is_ours else [10, 10, 5])

    def test_a_view_that_is_not_contiguous_ends_the_connection(self, run, connect, reports, is_ours):
        protocol = Protocol()
        lost = []
        protocol.connection_lost = lost.append
        transport = connect(protocol)
        transport.write(bytes(10 << 20))
        view = memoryview(bytes(100))[::2]
        if is_ours or sys.version_info >= (3, 12):
            transport.write(view)
        else:
            with pytest.raises(TypeError):
                transport.write(view)
        run(asyncio.sleep(0.001))
        assert [type(exc) for exc in lost] == ([BufferError] if is_ours else [])
        assert len(reports()) == is_ours


class TestTypes:
    def test_loop_is_a_base_event_loop(self, loop, is_ours):
        assert isinstance(loop, asyncio.BaseEventLoop)
        assert isinstance(loop, asyncio.SelectorEventLoop) is not is_ours

    def test_future_and_task_are_subclasses_of_asyncios(self, loop, run, tasks_are_ours):
        async def main():
            return asyncio.current_task()

        for one, kind in (loop.create_future(), asyncio.Future), (run(main()), asyncio.Task):
            assert isinstance(one, kind) and asyncio.isfuture(one)
            assert (type(one) is kind) is not tasks_are_ours

    def test_handles_pass_isinstance(self, loop, is_ours):
        for handle, kind in (loop.call_soon(int), asyncio.Handle), (loop.call_later(1, int), asyncio.TimerHandle):
            assert isinstance(handle, kind)
            assert issubclass(type(handle), kind) is not is_ours
            handle.cancel()

    def test_transport_is_an_asyncio_transport(self, connect, is_ours):
        transport = connect(Protocol())
        assert isinstance(transport, asyncio.Transport)
        assert repr(transport).startswith(
            "<asyncloop.SocketTransport fd=" if is_ours else "<_SelectorSocketTransport fd="
        )

    def test_tls_classes_are_subclasses_of_asyncios(self):
        from asyncio import sslproto

        from asyncloop import _core, _tls

        assert issubclass(_core.SSLTransport, sslproto._SSLProtocolTransport)
        assert issubclass(_tls.SSLProtocol, sslproto.SSLProtocol)

    def test_server_is_a_subclass_of_asyncios(self, run, loop, is_ours):
        server = run(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
        assert isinstance(server, asyncio.Server)
        assert (type(server) is asyncio.Server) is not is_ours
        server.close()

    def test_sock_methods_return_coroutines_of_their_own(self, loop, pair, is_ours):
        operation = loop.sock_recv(pair[0], 1)
        assert isinstance(operation, collections.abc.Coroutine) and asyncio.iscoroutine(operation)
        assert inspect.iscoroutine(operation) is not is_ours
        operation.close()

    @pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated")
    @pytest.mark.parametrize("name", COROUTINE_FUNCTIONS)
    def test_coroutine_functions_are_coroutine_functions(self, loop, is_ours, name):
        is_in_c = is_ours and name.startswith("sock_") and name != "sock_sendfile"
        is_marked = is_ours and name in ("create_server", "create_unix_server", "shutdown_default_executor")
        for method in getattr(loop, name), getattr(type(loop), name):
            assert asyncio.iscoroutinefunction(method) is not is_in_c
            is_unseen = is_in_c or (is_marked and sys.version_info < (3, 12))
            assert inspect.iscoroutinefunction(method) is not is_unseen

    def test_a_mock_of_a_loop_can_be_awaited(self, loop, run):
        mocked = unittest.mock.create_autospec(loop)
        assert run(mocked.create_server(asyncio.Protocol)) is mocked.create_server.return_value

    def test_loop_and_handles_cannot_be_copied(self, kind, loop_factory, is_ours):
        loop = loop_factory()
        for one in loop, loop.call_soon(int):
            if is_ours:
                with pytest.raises(TypeError):
                    copy.copy(one)
            else:
                copied = copy.copy(one)
                if one is loop:
                    copied._closed = True  # else it closes the original's descriptors when it goes
        loop.close()

    def test_futures_and_transports_cannot_be_pickled(self, loop, connect):
        for one in loop.create_future(), connect(Protocol()):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                pickle.dumps(one)


class TestInsides:
    def test_selector_is_not_logged(self, loop_factory, caplog, is_ours):
        caplog.set_level(logging.DEBUG, "asyncio")
        loop_factory().close()
        assert any("Using selector" in message for message in caplog.messages) is not is_ours

    def test_selector_has_no_descriptor(self, loop, is_ours):
        assert hasattr(loop._selector, "fileno") is not is_ours

    def test_what_is_replaced_within_a_step_is_called_from_the_next_turn_on(self, loop, run, monkeypatch, is_ours):
        async def main():
            original, calls = asyncio.BaseEventLoop.call_soon, []

            def counted(*args, **kwargs):
                calls.append(args)
                return original(*args, **kwargs)

            monkeypatch.setattr(asyncio.BaseEventLoop, "call_soon", counted)
            loop.call_soon(int)
            in_this_turn = len(calls)
            await asyncio.sleep(0)
            loop.call_soon(int)
            return in_this_turn, len(calls) > in_this_turn

        assert run(main()) == (0 if is_ours else 1, True)

    def test_patches_of_asyncios_own_loop_class_are_not_seen(self, loop, run, monkeypatch, is_ours):
        calls = []
        original = asyncio.SelectorEventLoop._run_once

        def counted(self):
            calls.append(self)
            return original(self)

        monkeypatch.setattr(asyncio.SelectorEventLoop, "_run_once", counted)
        run(asyncio.sleep(0))
        assert (calls == []) is is_ours

    def test_stack_of_a_callback_has_no_frames_of_the_loop(self, loop, turn, is_ours):
        seen = []
        loop.call_soon(lambda: seen.extend(frame.function for frame in inspect.stack()))
        turn()
        seen = seen[1 : seen.index("run_forever")]
        assert seen == ([] if is_ours else ["_run", "_run_once"])

    def test_a_task_in_a_sock_method_has_no_frame(self, loop, run, pair, is_ours):
        async def main():
            task = loop.create_task(loop.sock_recv(pair[0], 1))
            await asyncio.sleep(0.001)
            stack = task.get_stack()
            task.cancel()
            return len(stack)

        assert run(main()) == (0 if is_ours else 1)


class TestTimers:
    @pytest.mark.parametrize("deadline", ["1", 1j])
    def test_deadline_that_is_no_number_is_refused_at_once(self, loop_factory, is_ours, deadline):
        loop = loop_factory()
        if is_ours:
            with pytest.raises(TypeError):
                loop.call_at(deadline, int)
        else:
            loop.call_at(deadline, int)
            loop.call_soon(loop.stop)
            with pytest.raises(TypeError):
                loop.run_forever()
        loop.close()
