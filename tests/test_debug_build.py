"""What a debug build (make debug) adds: it counts the objects of our C types."""

import asyncio
import gc

import pytest

import asyncloop
from asyncloop import _core

if not hasattr(_core, "_live"):
    pytest.skip("needs a debug build: make test ASYNCLOOP_DEBUG=1", allow_module_level=True)


@pytest.fixture
def grown():
    """Tells how many more objects there are than at the start, by type, where that is not 0."""
    gc.collect()
    before = _core._live()

    def grown():
        gc.collect()
        return {name: count - before[name] for name, count in _core._live().items() if count != before[name]}

    return grown


class TestLive:
    def test_handles_on_the_free_list_are_not_counted(self, grown):
        loop = asyncloop.new_event_loop()
        handles = [loop.call_soon(print) for _ in range(3)] + [loop.call_later(100, print) for _ in range(2)]
        assert grown() == {"Loop": 1, "Handle": 3, "TimerHandle": 2}
        loop.close()
        del handles
        assert grown() == {"Loop": 1}
        del loop
        assert grown() == {}

    def test_a_task_that_waits(self, grown):
        async def main():
            waiting = asyncio.get_running_loop().create_future()
            task = asyncio.ensure_future(asyncio.wait_for(waiting, None))
            before = grown()
            await asyncio.sleep(0)
            after = grown()
            waiting.set_result(None)
            await task
            return before, after

        before, after = asyncloop.run(main())
        assert before == {"Loop": 1, "Task": 2, "Future": 1}
        assert after == {"Loop": 1, "Task": 2, "Future": 1, "FutureIter": 1}
        assert grown() == {}

    def test_objects_of_a_python_class_are_not_counted(self, grown):
        class Future(asyncloop.Future):
            pass

        loop = asyncloop.new_event_loop()
        futures = [Future(loop=loop), asyncloop.Future(loop=loop)]
        assert grown() == {"Loop": 1, "Future": 1}
        loop.close()
        futures.clear()

    def test_connections(self, grown):
        async def main():
            async def serve(reader, writer):
                writer.write(await reader.read(1))
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            during = grown()
            writer.write(b"x")
            assert await reader.read() == b"x"
            writer.close()
            server.close()
            return during

        during = asyncloop.run(main())
        assert during["Listener"] == 1
        assert during["SocketTransport"] in (1, 2)
        assert grown() == {}
