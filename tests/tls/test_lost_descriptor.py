"""TLS over a socket that the program closes behind the transport's back: its number is another connection's then."""

import asyncio
import contextlib
import errno
import os
import socket

import pytest


def take(fd, stack):
    """Open connections until one has the descriptor number fd -> its two ends."""
    while True:
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
            stack.enter_context(sock)
        numbers = [sock.fileno() for sock in pair]
        if fd in numbers:
            return pair[:: 1 if numbers[0] == fd else -1]
        assert min(numbers) < fd


LOSSES = {
    "close": lambda sock: sock.close(),
    "detach": lambda sock: os.close(sock.detach()),
    "os.close": lambda sock: os.close(sock.fileno()),
}
USES = {
    "write": lambda transport: transport.write(b"secret"),
    "writelines": lambda transport: transport.writelines([b"sec", b"ret"]),
    "a long write": lambda transport: transport.write(b"s" * (1 << 20)),
    "write, close": lambda transport: (transport.write(b"secret"), transport.close()),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "pause, resume": lambda transport: (transport.pause_reading(), transport.resume_reading()),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "kind, how",
    [("asyncio", how) for how in ("close", "detach")] + [("asyncloop", how) for how in LOSSES],
    indirect=["kind"],
)
@pytest.mark.parametrize("upgraded", [False, True], ids=["from the start", "start_tls"])
def test_a_stranger_is_left_alone(run, loop, Recorder, server_context, client_context, how, use, upgraded):
    served, protocol = Recorder(), Recorder()

    async def connect(near):
        if not upgraded:
            return await loop.create_connection(
                lambda: protocol, sock=near, ssl=client_context, server_hostname="localhost"
            )
        plain, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        return await loop.start_tls(plain, protocol, client_context, server_hostname="localhost"), protocol

    async def main():
        server = await loop.create_server(lambda: served, "127.0.0.1", 0, ssl=server_context)
        near = socket.create_connection(server.sockets[0].getsockname())
        outcome = await connect(near)
        transport = outcome[0]
        fd = near.fileno()
        with contextlib.ExitStack() as stack:
            LOSSES[how](near)
            stranger, other = take(fd, stack)
            with contextlib.suppress(OSError):
                USES[use](transport)
            for _ in range(3):
                with pytest.raises(BlockingIOError):
                    other.recv(1 << 20)
                other.send(b"for the stranger")
                assert stranger.recv(100) == b"for the stranger"
                await asyncio.sleep(0.002)
            transport.abort()
            await asyncio.sleep(0.01)
            stranger.send(b"still here")
            assert other.recv(100) == b"still here"
        server.close()
        if served.transport is not None:
            served.transport.abort()
        await asyncio.sleep(0.01)

    run(main())
    assert protocol.data == b""
    (exc,) = protocol.lost or [None]  # asyncio's start_tls() hands no connection_lost() on to an aborted one
    assert exc is None or exc.errno == errno.EBADF
    loop.unhandled.clear()
