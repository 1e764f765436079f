"""UDP echo: one endpoint that answers everybody."""

import asyncio
import socket

from net.network import Network

from net import floor, load


class Echoing(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class UdpEcho(Network):
    """Datagrams echoed by one socket.

    Args:
        name, title: as for Case.
        size: of a datagram, in bytes.
        clients: how many have one on its way all the time.
    """

    has_floor = True

    def __init__(self, name, title, size, clients):
        super().__init__(name, title, f"a datagram of {size} bytes echoed, {clients} clients")
        self.size = size
        self.clients = clients

    async def measure(self, seconds, operations):
        sock = bound()
        port = sock.getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echoing, sock=sock)
        try:
            return await asyncio.to_thread(self.drive, port, seconds, operations)
        finally:
            transport.close()

    def run_floor(self, seconds, operations=None):
        sock = bound()
        port = sock.getsockname()[1]
        with floor.serving("udp", sock) as pid:
            return self.drive(port, seconds, operations, pid)

    def drive(self, port, seconds, operations, pid=None):
        return load.drive(port, self.size, seconds, operations, self.load_core, self.clients, "udp", pid)


def bound():
    """Return a UDP socket on some port of 127.0.0.1."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


many = UdpEcho("udp.echo_1k", "UDP echo, 1 KiB", 1024, 16)
small = UdpEcho("udp.echo_64", "UDP echo, 64 bytes", 64, 16)
alone = UdpEcho("udp.echo_alone", "UDP echo, 64 bytes, one client", 64, 1)
