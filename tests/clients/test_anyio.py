"""anyio on its asyncio backend, with the loop under test as its loop_factory."""

import asyncio
import math
import signal
import subprocess
import sys

import pytest

from .asgi_apps import loop_kind

anyio = pytest.importorskip("anyio")
abc = pytest.importorskip("anyio.abc")
from_thread = pytest.importorskip("anyio.from_thread")
to_thread = pytest.importorskip("anyio.to_thread")
streams_tls = pytest.importorskip("anyio.streams.tls")
text = pytest.importorskip("anyio.streams.text")


@pytest.fixture
def go(kind, loop_factory):
    """Runs a coroutine function to its end, on the loop under test."""

    async def checked(function):
        assert loop_kind() == kind
        with anyio.fail_after(30):
            return await function()

    return lambda function: anyio.run(checked, function, backend_options={"loop_factory": loop_factory})


class TestTasks:
    def test_a_group_waits_for_its_tasks_and_cancels_them_on_an_error(self, go):
        ended = []

        async def work(i, task_status=anyio.TASK_STATUS_IGNORED):
            task_status.started(i)
            try:
                await anyio.sleep(math.inf if i else 0.01)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.005)
                ended.append(i)
                raise
            raise ZeroDivisionError

        async def main():
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    assert [await group.start(work, i) for i in reversed(range(10))] == list(reversed(range(10)))
            assert [type(exc) for exc in caught.value.exceptions] == [ZeroDivisionError]

        go(main)
        assert sorted(ended) == list(range(1, 10))

    def test_scopes_nest(self, go):
        async def main():
            with anyio.move_on_after(0.01) as outer:
                with anyio.move_on_after(10) as inner:
                    await anyio.sleep_forever()
            assert outer.cancelled_caught and not inner.cancelled_caught

            with anyio.CancelScope() as scope:
                scope.cancel()
                with anyio.CancelScope(shield=True) as shield:
                    await anyio.sleep(0.005)
                    with anyio.move_on_after(0.005):
                        await anyio.sleep_forever()
                    assert not shield.cancel_called
                with pytest.raises(asyncio.CancelledError):
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(asyncio.CancelledError):  # again and again, until the scope ends
                    await anyio.sleep(10)
                await anyio.sleep(10)
            assert scope.cancelled_caught
            await anyio.lowlevel.checkpoint()

            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await asyncio.gather(*[anyio.sleep_forever() for _ in range(3)])

        go(main)

    def test_cancelling_a_task_that_waits_for_another(self, go):
        """anyio looks into our tasks for what they wait for, to cancel each in its time."""

        async def main():
            event, log = anyio.Event(), []

            async def wait(name):
                try:
                    await event.wait()
                finally:
                    log.append(name)

            async def outer():
                async with anyio.create_task_group() as group:
                    for name in "abc":
                        group.start_soon(wait, name, name=f"waits {name}")
                    await anyio.wait_all_tasks_blocked()
                    names = {info.name for info in anyio.get_running_tasks()}
                    assert {"waits a", "waits b", "waits c"} <= names
                    await wait("group")

            async with anyio.create_task_group() as group:
                group.start_soon(outer)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert sorted(log) == ["a", "b", "c", "group"]

        go(main)

    def test_synchronisation(self, go):
        async def main():
            send, receive = anyio.create_memory_object_stream[int](3)
            limiter, lock, most, sums = anyio.CapacityLimiter(2), anyio.Lock(), 0, []

            async def produce(stream, start):
                async with stream:
                    for i in range(start, start + 100):
                        await stream.send(i)

            async def consume(stream):
                nonlocal most
                async with stream:
                    async for i in stream:
                        async with limiter:
                            most = max(most, limiter.borrowed_tokens)
                            async with lock:
                                sums.append(i)

            async with anyio.create_task_group() as group:
                for i in range(5):
                    group.start_soon(produce, send.clone(), i * 100)
                    group.start_soon(consume, receive.clone())
                send.close()
                receive.close()
            assert sorted(sums) == list(range(500))
            assert 1 <= most <= 2

        go(main)


class TestNetwork:
    async def echo(self, stream):
        async with stream:
            async for chunk in stream:
                await stream.send(chunk)

    async def talk(self, stream, size):
        async with stream, anyio.create_task_group() as group:
            data = bytes(range(250)) * (size // 250)
            group.start_soon(stream.send, data)
            received = b""
            while len(received) < len(data):
                received += await stream.receive()
            assert received == data

    def test_tcp(self, go):
        async def main():
            async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
                async with anyio.create_task_group() as group:
                    group.start_soon(listener.serve, self.echo)
                    port = listener.extra(abc.SocketAttribute.local_port)
                    async with anyio.create_task_group() as clients:
                        for _ in range(10):
                            clients.start_soon(self.talk, await anyio.connect_tcp("localhost", port), 1_000_000)
                    stream = await anyio.connect_tcp("127.0.0.1", port)
                    await stream.send(b"last")
                    await stream.send_eof()
                    assert await stream.receive() == b"last"
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive()
                    await stream.aclose()
                    group.cancel_scope.cancel()

        go(main)

    def test_tls(self, go, tls):
        async def main():
            async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
                secure = streams_tls.TLSListener(listener, tls.server, standard_compatible=False)
                async with anyio.create_task_group() as group:
                    group.start_soon(secure.serve, self.echo)
                    port = listener.extra(abc.SocketAttribute.local_port)
                    options = {"tls": True, "ssl_context": tls.client, "tls_standard_compatible": False}
                    stream = await anyio.connect_tcp("localhost", port, **options)
                    await self.talk(stream, 500_000)
                    group.cancel_scope.cancel()

        go(main)

    def test_unix(self, go, tmp_path):
        async def main():
            async with await anyio.create_unix_listener(tmp_path / "socket") as listener:
                async with anyio.create_task_group() as group:
                    group.start_soon(listener.serve, self.echo)
                    await self.talk(await anyio.connect_unix(tmp_path / "socket"), 1_000_000)
                    group.cancel_scope.cancel()

        go(main)

    def test_udp(self, go):
        async def main():
            async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
                port = server.extra(abc.SocketAttribute.local_port)
                async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
                    for i in range(20):
                        await client.send(b"%d" % i)
                        data, address = await server.receive()
                        await server.sendto(data * 2, *address)
                        assert await client.receive() == b"%d" % i * 2

        go(main)


class TestProcesses:
    def test_run_process(self, go):
        async def main():
            done = await anyio.run_process([sys.executable, "-c", "print(input()[::-1])"], input=b"hello\n")
            assert done.stdout == b"olleh\n"
            with pytest.raises(subprocess.CalledProcessError):
                await anyio.run_process("exit 3")

        go(main)

    def test_open_process(self, go):
        async def main():
            async with await anyio.open_process("while read line; do echo got $line; done; kill -9 $$") as process:
                lines = text.TextReceiveStream(process.stdout)
                for i in range(20):
                    await process.stdin.send(b"%d\n" % i)
                    assert await lines.receive() == f"got {i}\n"
                await process.stdin.aclose()
                assert await process.wait() == -signal.SIGKILL

            with anyio.move_on_after(0.05) as scope:
                async with await anyio.open_process(["sleep", "60"]) as process:
                    await process.wait()
            assert scope.cancelled_caught
            assert process.returncode == -signal.SIGKILL

        go(main)

    def test_signals(self, go):
        async def main():
            with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
                for wanted in signal.SIGUSR2, signal.SIGUSR1:
                    signal.raise_signal(wanted)
                    assert await anext(signals) == wanted

        go(main)


class TestThreads:
    def test_to_a_thread_and_back(self, go, kind):
        async def main():
            def work(n):
                from_thread.run_sync(seen.append, n)
                assert from_thread.run(double, n) == 2 * n
                return n + 1

            async def double(n):
                assert loop_kind() == kind
                await anyio.sleep(0)
                return 2 * n

            seen, results = [], []

            async def one(n):
                results.append(await to_thread.run_sync(work, n))

            async with anyio.create_task_group() as group:
                for n in range(50):
                    group.start_soon(one, n)
            assert sorted(seen) == list(range(50))
            assert sorted(results) == list(range(1, 51))

        go(main)

    def test_a_portal_from_outside(self, kind, loop_factory):
        """How starlette's TestClient and others call asynchronous code of a loop in another thread."""
        with from_thread.start_blocking_portal(backend_options={"loop_factory": loop_factory}) as portal:
            assert portal.call(loop_kind) == kind
            assert portal.call(anyio.sleep, 0.001) is None
            future, started = portal.start_task(self.started)
            assert started == "started"
            future.cancel()
            with portal.wrap_async_context_manager(portal.call(anyio.create_task_group)) as group:
                portal.call(group.start_soon, anyio.sleep, 0.001)

    @staticmethod
    async def started(task_status):
        task_status.started("started")
        await anyio.sleep_forever()


def test_files(go, tmp_path):
    async def main():
        path = anyio.Path(tmp_path / "file")
        await path.write_text("a\nb\n")
        async with await anyio.open_file(path) as file:
            assert [line async for line in file] == ["a\n", "b\n"]
        assert [entry.name async for entry in anyio.Path(tmp_path).iterdir()] == ["file"]

    go(main)
