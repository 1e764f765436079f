"""Watched descriptors: added, replaced, removed, closed under the watching."""

import asyncio
import socket


async def reader_and_writer():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    with a, b:
        read, written = loop.create_future(), loop.create_future()
        loop.add_reader(a, lambda: (loop.remove_reader(a), read.set_result(a.recv(10))))
        loop.add_writer(b, lambda: (loop.remove_writer(b), written.set_result(b.send(b"x"))))
        await asyncio.gather(read, written)


async def replaced():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    with a, b:
        for _ in range(10):
            loop.add_reader(a, lambda argument: None, object())
            loop.add_writer(a, lambda argument: None, object())
        loop.remove_reader(a)
        loop.remove_writer(a)


async def refused():
    loop = asyncio.get_running_loop()
    for wrong in (-1, "text", 9999, object()):
        try:
            loop.add_reader(wrong, lambda argument: None, object())
        except (OSError, ValueError):
            pass
    with open(__file__) as file:
        try:
            loop.add_reader(file, print)
        except PermissionError:
            pass


async def closed_while_watched():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    fd = a.fileno()
    loop.add_reader(a, lambda argument: None, object())
    a.close()
    b.close()
    await asyncio.sleep(0)
    loop.remove_reader(fd)


async def failing():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    with a, b:

        def fail():
            loop.remove_reader(a)
            raise ValueError

        loop.add_reader(a, fail)
        b.send(b"x")
        await asyncio.sleep(0.001)


def watched_when_the_loop_closes(new_event_loop):
    loop = new_event_loop()
    a, b = socket.socketpair()
    with a, b:
        loop.add_reader(a, lambda argument: None, loop)
        loop.add_writer(b, lambda argument: None, loop)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def signal_handlers(new_event_loop):
    import os
    import signal

    loop = new_event_loop()
    done = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, done.set_result, None)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_until_complete(done)
    loop.add_signal_handler(signal.SIGUSR1, lambda argument: None, object())
    loop.close()
