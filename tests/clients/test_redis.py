"""redis-py with a Redis server."""

import asyncio

import pytest

redis = pytest.importorskip("redis.asyncio", reason="redis-py is not installed")


def test_many_commands_at_once(run, redis_port):
    async def main():
        async with redis.Redis(port=redis_port, max_connections=20) as client:
            await asyncio.gather(*[client.set(f"many:{i}", i) for i in range(20)])
            assert await client.mget([f"many:{i}" for i in range(20)]) == [b"%d" % i for i in range(20)]
            async with client.pipeline() as pipe:
                for _ in range(1000):
                    pipe.incr("counter")
                assert (await pipe.execute())[-1] - 1000 == await client.incrby("counter", -1000)
            await client.set("large", b"x" * 3_000_000)
            assert await client.get("large") == b"x" * 3_000_000

    run(main())


def test_publish_and_subscribe(run, redis_port):
    async def main():
        async with redis.Redis(port=redis_port) as client, client.pubsub() as pubsub:
            await pubsub.subscribe("news")
            heard = []

            async def listen():
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        heard.append(message["data"])
                        if len(heard) == 10:
                            return

            listening = asyncio.ensure_future(listen())
            await asyncio.sleep(0.05)
            for i in range(10):
                assert await client.publish("news", i) == 1
            await asyncio.wait_for(listening, 10)
            return heard

    assert run(main()) == [b"%d" % i for i in range(10)]


def test_a_wait_that_is_cancelled(run, redis_port):
    async def main():
        async with redis.Redis(port=redis_port) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.blpop(["nothing"], timeout=20)
            assert await client.ping()

    run(main())
