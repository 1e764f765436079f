"""grpc.aio: server and client, whose C core polls in a thread and wakes the loop by a socket that it reads."""

import asyncio

import pytest

from .asgi_apps import loop_kind

grpc = pytest.importorskip("grpc")
aio = pytest.importorskip("grpc.aio")


class Words(grpc.GenericRpcHandler):
    """Methods whose messages are plain bytes, so that no compiled protocol is needed."""

    def __init__(self):
        self.cancelled = asyncio.Event()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        return {
            "Upper": grpc.unary_unary_rpc_method_handler(self.upper),
            "Split": grpc.unary_stream_rpc_method_handler(self.split),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Never": grpc.unary_unary_rpc_method_handler(self.never),
        }.get(name)

    async def upper(self, request, context):
        if not request:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no words")
        await context.send_initial_metadata([("loop", loop_kind())])
        await asyncio.sleep(0)
        return request.upper()

    async def split(self, request, context):
        for word in request.split():
            await asyncio.sleep(0)
            yield word

    async def join(self, requests, context):
        return b" ".join([word async for word in requests])

    async def chat(self, requests, context):
        async for word in requests:
            await context.write(word[::-1])

    async def never(self, request, context):
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.fixture
def serve(run):
    """Runs a coroutine function with a channel to a server, and with the server's handler."""

    def serve(use, secure=None):
        async def main():
            server, words = aio.server(), Words()
            server.add_generic_rpc_handlers([words])
            if secure is None:
                port = server.add_insecure_port("127.0.0.1:0")
                channel = aio.insecure_channel(f"127.0.0.1:{port}")
            else:
                cert, key = secure.cert.read_bytes(), secure.key.read_bytes()
                port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
                channel = aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(cert))
            await server.start()
            async with channel:
                await use(channel, words)
            await server.stop(None)

        run(main())

    return serve


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_calls_of_each_kind(serve, kind, tls, secure):
    async def use(channel, words):
        upper = channel.unary_unary("/Words/Upper")
        assert await asyncio.gather(*[upper(b"w%d" % i) for i in range(100)]) == [b"W%d" % i for i in range(100)]
        call = upper(b"x" * 1_000_000)
        assert ("loop", kind) in list(await call.initial_metadata())
        assert await call == b"X" * 1_000_000

        numbers = [b"%d" % i for i in range(200)]
        assert [number async for number in channel.unary_stream("/Words/Split")(b" ".join(numbers))] == numbers

        async def each():
            for number in numbers:
                yield number

        assert await channel.stream_unary("/Words/Join")(each()) == b" ".join(numbers)

        chat = channel.stream_stream("/Words/Chat")()
        for number in numbers:
            await chat.write(number)
            assert await chat.read() == number[::-1]
        await chat.done_writing()
        assert await chat.read() is aio.EOF
        assert await chat.code() is grpc.StatusCode.OK

    serve(use, tls if secure else None)


def test_errors_timeouts_and_cancellation(serve):
    async def use(channel, words):
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/Words/Upper")(b"")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no words")
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/Words/Nothing")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

        never = channel.unary_unary("/Words/Never")
        with pytest.raises(aio.AioRpcError) as caught:
            await never(b"", timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await words.cancelled.wait()

        words.cancelled.clear()
        call = never(b"")
        await asyncio.sleep(0.05)
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()

    serve(use)
