"""The websockets library, client and server."""

import asyncio

import pytest

pytest.importorskip("websockets")
client = pytest.importorskip("websockets.asyncio.client")
server = pytest.importorskip("websockets.asyncio.server")


def test_many_clients_talk_at_once(run):
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def talk(uri, i):
        async with client.connect(uri, proxy=None) as connection:
            for j in range(20):
                await connection.send(f"{i} {j}")
                assert await connection.recv() == f"{i} {j}"
            await connection.send(bytes(100_000))
            assert await connection.recv() == bytes(100_000)
            await (await connection.ping())

    async def main():
        async with server.serve(echo, "127.0.0.1", 0) as serving:
            host, port = serving.sockets[0].getsockname()
            await asyncio.gather(*[talk(f"ws://{host}:{port}", i) for i in range(20)])

    run(main())


def test_server_closes_on_its_clients(run):
    async def greet(connection):
        await connection.send("bye")

    async def main():
        async with server.serve(greet, "127.0.0.1", 0) as serving:
            host, port = serving.sockets[0].getsockname()
            async with client.connect(f"ws://{host}:{port}", proxy=None) as connection:
                return [message async for message in connection]

    assert run(main()) == ["bye"]
