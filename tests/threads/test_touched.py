"""What belongs to a loop of one thread may be touched by others: no memory error, and the loop goes on.

asyncio says of little that it may be called by other threads. So the results are only compared where it does.
"""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

SECONDS = 0.3

# In stock asyncio these are Python objects, whose code raises where another thread has just changed them.
ours_only = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@pytest.fixture
def touch(loop_factory):
    """Runs main(shared), a coroutine function, while another thread calls poke(shared) again and again."""

    def touch(main, poke):
        shared = {}
        ready, done = threading.Event(), threading.Event()
        errors = []

        def other():
            ready.wait(20)
            try:
                while not done.is_set():
                    poke(shared)
            except BaseException as exc:
                errors.append(exc)

        async def run():
            try:
                await main(shared, ready)
            finally:
                ready.set()

        thread = threading.Thread(target=other)
        thread.start()
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(run())
                done.set()
                thread.join(20)
        finally:
            done.set()
            ready.set()
        assert not thread.is_alive()
        assert errors == []

    return touch


def until():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield


def test_futures(touch):
    async def main(shared, ready):
        loop = asyncio.get_running_loop()
        for _ in until():
            shared["future"] = future = loop.create_future()
            shared["task"] = task = loop.create_task(asyncio.sleep(0.0002))
            ready.set()
            loop.call_later(0.0001, lambda future=future: future.done() or future.set_result(5))
            with contextlib.suppress(asyncio.CancelledError):
                await future
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def poke(shared):
        for future in shared["future"], shared["task"]:
            future.add_done_callback(str)
            future.remove_done_callback(str)
            future.done()
            future.cancelled()
            with contextlib.suppress(TypeError):  # asyncio's own code: it may be done before its callbacks are shown
                repr(future)
            with contextlib.suppress(asyncio.InvalidStateError, asyncio.CancelledError):
                future.result()
            with contextlib.suppress(asyncio.InvalidStateError, asyncio.CancelledError):
                future.exception()
            future.get_loop()
        shared["task"].get_name()
        shared["task"].cancelling()
        shared["task"].get_coro()

    touch(main, poke)


def test_futures_that_are_cancelled(touch):
    async def main(shared, ready):
        loop = asyncio.get_running_loop()
        for _ in until():
            shared["future"] = loop.create_future()
            shared["task"] = loop.create_task(asyncio.sleep(0.0002))
            ready.set()
            for future in shared["future"], shared["task"]:
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    await asyncio.wait_for(future, 0.001)

    def poke(shared):
        for future in shared["task"], shared["future"]:
            future.cancel()

    touch(main, poke)


def test_results_set_by_the_other_thread(touch):
    async def main(shared, ready):
        loop = asyncio.get_running_loop()
        for _ in until():
            shared["future"] = loop.create_future()
            ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(shared["future"], 0.01)

    def poke(shared):
        with contextlib.suppress(asyncio.InvalidStateError):
            shared["future"].set_result(1)
        with contextlib.suppress(asyncio.InvalidStateError):
            shared["future"].set_exception(ZeroDivisionError())

    async def tolerant(shared, ready):
        with contextlib.suppress(ZeroDivisionError):
            await main(shared, ready)

    touch(tolerant, poke)


@ours_only
def test_handles(touch):
    async def main(shared, ready):
        loop = asyncio.get_running_loop()
        for _ in until():
            shared["soon"] = loop.call_soon(str)
            shared["later"] = loop.call_later(0.0001, str)
            ready.set()
            await asyncio.sleep(0)

    def poke(shared):
        for handle in shared["soon"], shared["later"]:
            repr(handle)
            handle.get_context()
            handle.cancel()
            handle.cancelled()
        shared["later"].when()

    touch(main, poke)


@ours_only
def test_loop(touch):
    async def main(shared, ready):
        shared["loop"] = asyncio.get_running_loop()
        ready.set()
        for _ in until():
            await asyncio.sleep(0.0001)

    def poke(shared):
        loop = shared["loop"]
        loop.call_soon(int)
        loop.call_later(0.0001, int).cancel()
        loop.call_at(loop.time() + 0.0001, int)
        loop.create_future().cancel()
        loop.is_running()
        loop.get_debug()
        repr(loop)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, int)
            loop.remove_reader(ours)

    touch(main, poke)


@ours_only
def test_transports(touch):
    async def main(shared, ready):
        async def serve(reader, writer):
            while await reader.read(100):
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        for _ in until():
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            shared["transport"] = writer.transport
            ready.set()
            for _ in range(5):
                writer.write(b"x" * 100)
                await asyncio.sleep(0)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        server.close()

    def poke(shared):
        transport = shared["transport"]
        repr(transport)
        transport.is_closing()
        transport.get_extra_info("peername")
        transport.get_write_buffer_size()
        transport.get_protocol()
        transport.write(b"y")
        transport.pause_reading()
        transport.resume_reading()

    touch(main, poke)


@ours_only
def test_transports_that_are_closed(touch):
    async def main(shared, ready):
        async def serve(reader, writer):
            while await reader.read(100):
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        for _ in until():
            with contextlib.suppress(OSError, RuntimeError):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                shared["transport"] = writer.transport
                ready.set()
                for _ in range(3):
                    writer.write(b"x" * 100)
                    await asyncio.sleep(0.0001)
                writer.close()
                await writer.wait_closed()
        server.close()

    def poke(shared):
        shared["transport"].abort()
        shared["transport"].close()
        time.sleep(0.0002)

    touch(main, poke)


@ours_only
def test_datagrams(touch):
    async def main(shared, ready):
        loop = asyncio.get_running_loop()
        for _ in until():
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
            shared["transport"] = transport
            ready.set()
            for _ in range(5):
                transport.sendto(b"x", transport.get_extra_info("sockname"))
                await asyncio.sleep(0)
            transport.close()

    def poke(shared):
        transport = shared["transport"]
        repr(transport)
        transport.sendto(b"y", transport.get_extra_info("sockname"))
        transport.get_write_buffer_size()

    touch(main, poke)
