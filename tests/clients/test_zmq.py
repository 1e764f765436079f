"""pyzmq: zmq.asyncio, which reads the edge-triggered descriptor of each socket with add_reader()."""

import asyncio

import pytest

from .asgi_apps import loop_kind

zmq = pytest.importorskip("zmq")
zmq_asyncio = pytest.importorskip("zmq.asyncio")
auth_asyncio = pytest.importorskip("zmq.auth.asyncio")


@pytest.fixture
def context(loop):
    with zmq_asyncio.Context() as context:
        context.linger = 0
        yield context


@pytest.mark.parametrize("transport", ["tcp", "ipc", "inproc"])
def test_request_and_reply(run, kind, context, tmp_path, transport):
    async def serve(socket):
        while True:
            *parts, last = await socket.recv_multipart()
            await socket.send_multipart([*parts, last.upper(), loop_kind().encode()])

    async def main():
        with context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
            address = {"tcp": "tcp://127.0.0.1:0", "ipc": f"ipc://{tmp_path}/s", "inproc": "inproc://s"}[transport]
            server.bind(address)
            client.connect(server.last_endpoint.decode())
            serving = asyncio.create_task(serve(server))
            for i in range(100):
                await client.send_multipart([b"%d" % i, b"word" * i])
                assert await client.recv_multipart() == [b"%d" % i, b"WORD" * i, kind.encode()]
            serving.cancel()
            await asyncio.wait([serving])

    run(main())


def test_publish_and_subscribe(run, context):
    async def subscriber(address, topic, ready):
        with context.socket(zmq.SUB) as socket:
            socket.connect(address)
            socket.subscribe(topic)
            socket.subscribe(b"all")
            numbers = []
            while True:
                topic, _, number = (await socket.recv()).partition(b" ")
                if topic == b"all":
                    if number == b"end":
                        return numbers
                    ready.set()
                else:
                    numbers.append(int(number))

    async def main():
        with context.socket(zmq.PUB) as publisher:
            publisher.bind("tcp://127.0.0.1:0")
            address = publisher.last_endpoint.decode()
            readies = [asyncio.Event() for _ in range(4)]
            tasks = [
                asyncio.create_task(subscriber(address, topic, ready))
                for topic, ready in zip([b"even", b"odd"] * 2, readies, strict=True)
            ]
            while not all(ready.is_set() for ready in readies):
                await publisher.send(b"all begin")
                await asyncio.sleep(0.005)
            for i in range(500):
                await publisher.send(b"%s %d" % ([b"even", b"odd"][i % 2], i))
            await publisher.send(b"all end")
            even, odd = list(range(0, 500, 2)), list(range(1, 500, 2))
            assert await asyncio.gather(*tasks) == [even, odd, even, odd]

    run(main())


def test_many_messages_through_workers(run, context):
    async def work(source, sink):
        with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
            pull.connect(source)
            push.connect(sink)
            while True:
                number = int(await pull.recv())
                await push.send(b"%d" % number**2)

    async def main():
        with context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
            push.bind("tcp://127.0.0.1:0")
            pull.bind("tcp://127.0.0.1:0")
            addresses = push.last_endpoint.decode(), pull.last_endpoint.decode()
            workers = [asyncio.create_task(work(*addresses)) for _ in range(3)]
            sending = asyncio.gather(*[push.send(b"%d" % i) for i in range(500)])
            results = [int(await pull.recv()) for _ in range(500)]
            await sending
            assert sorted(results) == [i**2 for i in range(500)]
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)

    run(main())


def test_polling_timeouts_and_cancellation(run, context):
    async def main():
        with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
            one.bind("inproc://pair")
            other.connect("inproc://pair")
            assert await one.poll(10) == 0
            poller = zmq_asyncio.Poller()
            poller.register(one, zmq.POLLIN)
            polling = poller.poll(20_000)
            await other.send(b"x")
            assert await polling == [(one, zmq.POLLIN)]
            assert await one.recv() == b"x"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.recv(), 0.01)
            await other.send(b"not lost")
            assert await one.recv() == b"not lost"
            one.rcvtimeo = 10
            with pytest.raises(zmq.Again):
                await one.recv()

    run(main())


def test_curve_with_an_authenticator(run, context):
    """A task that answers libzmq's own requests over inproc."""

    async def main():
        authenticator = auth_asyncio.AsyncioAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
        public, secret = zmq.curve_keypair()
        with context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
            pull.curve_secretkey, pull.curve_server = secret, True
            push.curve_serverkey = public
            push.curve_publickey, push.curve_secretkey = zmq.curve_keypair()
            pull.bind("tcp://127.0.0.1:0")
            push.connect(pull.last_endpoint.decode())
            await push.send(b"secret")
            assert await pull.recv() == b"secret"
        authenticator.stop()

    run(main())
