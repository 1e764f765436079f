"""Sockets and descriptors without a transport: readers, writers, sock_*, the other ends of connections."""

import socket

from . import evil, values
from .operations import operation


class Number(evil.Fires):
    """Has the number of a socket, or says so."""

    def __init__(self, sock):
        self.sock = sock

    def fileno(self):
        self.fire()
        return self.sock.fileno()


class Socket(evil.Fires, socket.socket):
    """A socket whose methods are hooks."""

    def fileno(self):
        self.fire(shift=2)
        return super().fileno()

    def gettimeout(self):
        self.fire(shift=3)
        return super().gettimeout()

    @property
    def type(self):
        self.fire(shift=4)
        return super().type

    @property
    def family(self):
        self.fire(shift=5)
        return super().family

    def close(self):
        self.fire(shift=6)
        super().close()

    def __del__(self):
        self.fire(shift=1)
        super().close()


def descriptor(world, n):
    sock = world.pick("sock", n)
    return (sock, sock.fileno(), world.make(Number, n // 3, sock), world.make(evil.Evil, n))[n // 4 % 4]


@operation(4)
def new_sockets(world, a, b, c):
    for end in socket.socketpair():
        end.setblocking(False)
        if a % 2:
            end = world.make(Socket, b, end.family, end.type, 0, end.detach())
        world.add("sock", end)


@operation(5, 3)
def peer_sends(world, a, b, c):
    world.pick("sock", a).send(bytes(b * (1, 1000)[c % 2]))


@operation(4)
def peer_receives(world, a, b, c):
    world.pick("sock", a).recv(b * 5000)


@operation(3, 5)
def peer_ends(world, a, b, c):
    sock = world.pick("sock", a)
    match c % 4:
        case 0:
            sock.shutdown(b % 3)
        case 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        case _:
            sock.close()


@operation(5, 3)
def add_watch(world, a, b, c):
    loop, watched = world.loop(a), descriptor(world, b)
    if c % 2:
        loop.add_reader(watched, values.callback(world, c // 2))
    else:
        loop.add_writer(watched, values.callback(world, c // 2), values.value(world, c))


@operation(4, 5)
def remove_watch(world, a, b, c):
    loop, watched = world.loop(a), descriptor(world, b)
    loop.remove_reader(watched) if c % 2 else loop.remove_writer(watched)


def sock_operation(world, loop, a, b):
    sock = world.pick("sock", a)
    size = world.make(evil.Evil, b) if b % 3 == 0 else b
    into = world.make(evil.Evil, b) if b % 4 == 0 else bytearray(b)
    match b % 9:
        case 0:
            return loop.sock_recv(sock, size)
        case 1:
            return loop.sock_recv_into(sock, into)
        case 2:
            return loop.sock_recvfrom(sock, size)
        case 3:
            return loop.sock_recvfrom_into(sock, into, size)
        case 4 | 5:
            return loop.sock_sendall(sock, values.data(world, b // 4))
        case 6:
            return loop.sock_sendto(sock, b"data", values.value(world, b))
        case 7:
            return loop.sock_connect(sock, (world.make(evil.Text, b, "127.0.0.1"), 9))
        case 8:
            return loop.sock_accept(sock)


@operation(4)
def new_sock_operation(world, a, b, c):
    """Kept as a coroutine: others spawn a task of it, or drive it by hand."""
    world.add("coro", sock_operation(world, world.loop(c), a, b))


@operation(4)
async def sock_operate(world, a, b, c):
    await sock_operation(world, world.loop(c), a, b)
