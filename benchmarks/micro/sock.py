"""sock_* without a network: what the loop adds to the system calls."""

import socket

from case import micro

MESSAGE = b"x" * 1024


@micro("sock_* on a socketpair", operation="1 KiB sent by sock_sendall, received by another task and sent back")
def socketpair(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def work(count):
        async def echo():
            for _ in range(count):
                await loop.sock_sendall(theirs, await loop.sock_recv(theirs, 2048))

        echoing = loop.create_task(echo())
        for _ in range(count):
            await loop.sock_sendall(ours, MESSAGE)
            assert len(await loop.sock_recv(ours, 2048)) == len(MESSAGE)
        await echoing

    yield work
    ours.close()
    theirs.close()
