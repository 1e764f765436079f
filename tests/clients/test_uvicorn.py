"""uvicorn serving an ASGI application in pure Python (h11), asked over plain streams."""

import asyncio

import pytest

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("h11")


async def application(scope, receive, send):
    assert scope["type"] == "http"
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b" ", "more_body": True})
    await send({"type": "http.response.body", "body": body[::-1]})


def test_requests_are_answered_and_the_server_ends(run):
    async def ask(port, i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b"%d" % i * 1000
        head = b"POST /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (i, len(body))
        writer.write(head + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"/%d " % i in answer
        assert body[::-1][:500] in answer

    async def main():
        config = uvicorn.Config(application, port=0, http="h11", ws="none", lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.gather(*[ask(port, i) for i in range(50)])
        server.should_exit = True
        await serving

    run(main())
