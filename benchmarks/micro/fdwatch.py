"""Watching a file descriptor."""

import socket

from case import micro


def noop():
    pass


@micro("add_reader event", operation="a callback of add_reader, on a socket that stays readable")
def reader_event(loop):
    readable, peer = socket.socketpair()
    peer.send(b"x")
    fd = readable.fileno()
    left = 0

    def on_readable():
        nonlocal left
        left -= 1
        if not left:
            loop.remove_reader(fd)
            loop.stop()

    def work(count):
        nonlocal left
        left = count
        loop.add_reader(fd, on_readable)
        loop.run_forever()

    yield work
    readable.close()
    peer.close()


@micro("add_reader + remove_reader", operation="a socket watched for a turn of the loop and let go")
def add_remove(loop):
    quiet, peer = socket.socketpair()
    fd = quiet.fileno()
    left = 0

    def watch():
        loop.add_reader(fd, noop)
        loop.call_soon(let_go)

    def let_go():
        nonlocal left
        loop.remove_reader(fd)
        left -= 1
        if left:
            watch()
        else:
            loop.stop()

    def work(count):
        nonlocal left
        left = count
        watch()
        loop.run_forever()

    yield work
    quiet.close()
    peer.close()
