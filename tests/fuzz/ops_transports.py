"""Transports and their protocols: TCP, Unix, TLS, datagrams, pipes, servers, streams; their other ends."""

import asyncio
import os
import socket
import tempfile

from . import evil, values
from .operations import operation


def sockets(world, n):
    """Two connected stream sockets that do not block."""
    if n % 2:
        pair = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            pair = near, listener.accept()[0]
    for sock in pair:
        sock.setblocking(False)
        if n % 8 == 7:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
    return pair


def protocol(world, n):
    if n % 8 == 7:
        reader = world.make(evil.Reader, n // 8, 1000, loop=world.loop(n))
        world.add("kept", reader)
        return asyncio.StreamReaderProtocol(reader, values.callback(world, n // 8) if n % 16 == 15 else None)
    if n % 8 == 6:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=world.loop(n)))
    if n % 8 == 5 and world.pools["protocol"]:
        return world.pick("protocol", n // 8)
    return world.add("protocol", world.make(evil.PROTOCOLS[n % 4 if n % 16 == 3 else n % 3], n // 8))


def tls(world, n, server_side):
    return evil.tls_context(server_side, lambda *args: world.hook_of_tls(n // 2, args) if n % 2 else None)


@operation(8)
def connect(world, a, b, c):
    """A transport for one end of a connection at once, or for both; the end without one is a socket."""
    loop = world.loop(a)
    ends = sockets(world, a // 4)
    waiter = world.add("future", loop.create_future()) if c % 4 == 3 else None
    for sock, made in zip(ends, (True, b % 3 > 0), strict=True):
        if made:
            transport = loop._make_socket_transport(sock, protocol(world, b if made else c), waiter)
            world.add("transport", transport)
            if c % 8 == 1:
                world.add("sock", sock)  # the program holds what it has given
        else:
            world.add("sock", sock)


@operation(4)
def connect_tls(world, a, b, c):
    loop = world.loop(a)
    ends = sockets(world, a // 4)
    for server_side, sock in enumerate(ends):
        if server_side and b % 4 == 3:
            world.add("sock", sock)
            continue
        options = {"server_side": bool(server_side)}
        if not server_side:
            options["server_hostname"] = world.make(evil.Text, c, "localhost") if c % 8 == 7 else None
        if b % 8 == 5:
            options["ssl_handshake_timeout"] = 0.001
        context = tls(world, c, server_side)
        transport = loop._make_ssl_transport(sock, protocol(world, b // 4 + server_side), context, **options)
        world.add("protocol", transport._ssl_protocol)
        world.add("transport", transport)


@operation(3)
async def create_connection(world, a, b, c):
    near, far = sockets(world, a)
    world.add("sock", far)
    context = tls(world, c, False) if b % 4 == 3 else None
    options = {"server_hostname": "", "ssl_handshake_timeout": 0.01} if context else {}
    loop = asyncio.get_running_loop()
    if c % 2:
        world.offer(await loop.create_connection(lambda: protocol(world, b), sock=near, ssl=context, **options))
    else:
        world.offer(await loop.connect_accepted_socket(lambda: protocol(world, b), sock=near, ssl=context))


@operation(3, 3)
async def start_tls(world, a, b, c):
    loop, transport = world.loop(b), world.pick("transport", a)
    upper = await loop.start_tls(
        transport if c % 8 else world.make(evil.Transport, c // 8),
        transport.get_protocol() if c % 2 else protocol(world, c),
        tls(world, c, b % 2),
        server_side=b % 2 == 1,
        ssl_handshake_timeout=(0.002, 1)[c % 2],
        server_hostname=None if b % 2 else "localhost",
    )
    world.add("transport", upper)


@operation(2)
async def serve(world, a, b, c):
    loop = asyncio.get_running_loop()
    context = tls(world, c, True) if b % 4 == 3 else None

    def factory():
        world.hook(c)
        return protocol(world, b)

    if a % 3:
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context, backlog=a)
    else:
        server = await loop.create_unix_server(factory, f"\0fuzz-{os.getpid()}-{b}", ssl=context)
    world.add("server", server)
    await knock(world, a, b, c)


@operation(3)
async def knock(world, a, b, c):
    """Connect to a server."""
    listening = world.pick("server", a).sockets[0]
    for _ in range(1 + b % 3):
        client = world.add("sock", socket.socket(listening.family))
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
        client.send(b"knock")


@operation(2, 3)
def end_server(world, a, b, c):
    server = world.pick("server", a)
    if b % 3 == 0 and hasattr(server, "abort_clients"):
        server.abort_clients()
    server.close()


@operation(2)
async def serve_forever(world, a, b, c):
    await world.pick("server", a).serve_forever()


# --- what a transport is asked ----------------------------------------------------------------------------------------


@operation(12, 5)
def write(world, a, b, c):
    transport = world.pick("transport", a)
    for _ in range(1 + c % 3):
        transport.write(values.data(world, b))


@operation(3, 3)
def writelines(world, a, b, c):
    lines = world.make(evil.Evil, c) if c % 2 else [values.data(world, b), values.data(world, c)] * 3
    world.pick("transport", a).writelines(lines)


@operation(2, 3)
def write_eof(world, a, b, c):
    world.pick("transport", a).write_eof()


@operation(4, 5)
def close_transport(world, a, b, c):
    transport = world.pick("transport", a)
    transport.close() if c % 3 else transport.abort()


@operation(5, 5)
def pause_or_resume(world, a, b, c):
    transport = world.pick("transport", a)
    transport.pause_reading() if b % 2 else transport.resume_reading()


@operation(2)
def set_limits(world, a, b, c):
    high = (0, 1, None, world.make(evil.Evil, c), world.make(evil.Number, c, 100.0))[b % 5]
    world.pick("transport", a).set_write_buffer_limits(high=high, low=0 if c % 2 else None)


@operation(4, 3)
def set_protocol(world, a, b, c):
    world.pick("transport", a).set_protocol(protocol(world, b))


@operation(3, 3)
def look_at_transport(world, a, b, c):
    transport = world.pick("transport", a)
    match b % 6:
        case 0:
            repr(transport)
        case 1:
            world.add("kept", transport.get_extra_info(world.make(evil.Text, c, "socket"), values.value(world, c)))
        case 2:
            world.offer((transport.get_protocol(),))
        case 3:
            transport.is_reading(), transport.is_closing(), transport.get_write_buffer_limits()
        case 4:
            transport.get_write_buffer_size()
        case 5:
            world.add("kept", transport.get_extra_info("ssl_object"))


@operation(2, 3)
def reach_descriptor(world, a, b, c):
    """What the program does with the descriptor of a transport that it has asked for."""
    sock = world.pick("transport", a).get_extra_info("socket")
    if sock is None:
        return
    match b % 4:
        case 0:
            os.close(sock._sock.detach())  # else the object would close the number again, whose ever it is then
        case 1:
            sock.shutdown(socket.SHUT_RDWR)
        case 2:
            other = world.pick("sock", c)
            os.dup2(other.fileno(), sock.fileno())
        case 3:
            world.add("kept", sock)


@operation(3, 3)
def drive_protocol(world, a, b, c):
    """Call a protocol, such as that of TLS or of a stream, as a transport would, or not quite."""
    driven = world.pick("protocol", a)
    match b % 8:
        case 0 | 1:
            world.add("kept", driven.get_buffer((-1, 0, 5, c * 1000)[c % 4]))
        case 2 | 3:
            driven.buffer_updated((0, c, 1, -1)[c % 4])
        case 4:
            driven.data_received(bytes(c))
        case 5:
            driven.eof_received()
        case 6:
            driven.connection_lost(None if c % 2 else world.make(evil.Error, c))
        case 7:
            driven.connection_made(world.pick("transport", c) if c % 2 else world.make(evil.Transport, c))


@operation(2, 3)
def reach_tls(world, a, b, c):
    """What the program does with the engine of a TLS connection."""
    tls_object = world.pick("transport", a).get_extra_info("ssl_object")
    if tls_object is not None:
        match b % 4:
            case 0:
                tls_object.read(c)
            case 1:
                tls_object.unwrap()
            case 2:
                tls_object.write(bytes(c))
            case 3:
                tls_object.context = tls(world, c, True)


@operation(2)
async def sendfile(world, a, b, c):
    with tempfile.TemporaryFile() as file:
        file.write(bytes(b * 2000))
        file.seek(0)
        await asyncio.get_running_loop().sendfile(world.pick("transport", a), file, fallback=c % 4 > 0)


@operation(2)
async def read_stream(world, a, b, c):
    readers = [kept for kept in world.pools["kept"] if isinstance(kept, asyncio.StreamReader)]
    if readers:
        await asyncio.wait_for(readers[a % len(readers)].read(b), 0.001)


# --- datagrams and pipes ----------------------------------------------------------------------------------------------


@operation(4)
def datagrams(world, a, b, c):
    loop = world.loop(a)
    if a % 2:
        near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    else:
        near, far = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        near.bind(("127.0.0.1", 0))
        far.bind(("127.0.0.1", 0))
        far.connect(near.getsockname())
        if b % 2:
            near.connect(far.getsockname())
    for sock in near, far:
        sock.setblocking(False)
    address = far.getsockname() if b % 4 == 3 and a % 2 == 0 else None
    made = world.make(evil.Datagrams, c)
    world.add("transport", loop._make_datagram_transport(near, made, address))
    if c % 3:
        world.add("sock", far)
    else:
        world.add("transport", loop._make_datagram_transport(far, made))


@operation(4)
def send_datagram(world, a, b, c):
    transport = world.pick("transport", a)
    address = (None, ("127.0.0.1", 9), (world.make(evil.Text, c, "127.0.0.1"), world.make(evil.Evil, c)), "")[c % 4]
    for _ in range(1 + c % 40):
        transport.sendto(values.data(world, b)[:1000] if b % 8 != 3 else values.data(world, b), address)


class File(evil.Fires):
    """A pipe's file, which is asked for its number and closed."""

    def __init__(self, number):
        self.number = number

    def fileno(self):
        self.fire()
        return self.number

    def close(self):
        self.fire(shift=2)
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


@operation(4)
def pipes(world, a, b, c):
    """A transport for one end of a pipe, or both."""
    loop = world.loop(a)
    ends = [end.detach() for end in socket.socketpair()] if a % 4 == 0 else os.pipe()
    reading, writing = (world.make(File, c, end) for end in ends)
    for number in ends:
        os.set_blocking(number, False)
    world.add("kept", (reading, writing))
    if b % 3:
        world.add("transport", loop._make_read_pipe_transport(reading, protocol(world, c)))
    if b % 3 < 2:
        world.add("transport", loop._make_write_pipe_transport(writing, protocol(world, c)))
