"""UDP echo: one endpoint that answers everybody."""

import asyncio
import socket

from net.echo import Echo

from net import load


class Echoing(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class UdpEcho(Echo):
    """Datagrams echoed by one socket; the figure is the CPU time of the serving process per datagram.

    Args:
        name, title: as for Case.
        size: of a datagram, in bytes.
        clients: how many have one on its way all the time.
    """

    def __init__(self, name, title, size, clients):
        super().__init__(None, 1, name, title)
        self.name = name
        self.title = title
        self.operation = f"a datagram of {size} bytes echoed, {clients} clients"
        self.size = size
        self.clients = clients

    async def measure(self, seconds, operations):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echoing, sock=sock)
        drive = load.drive, port, self.size, seconds, operations, self.load_core, self.clients, "udp"
        try:
            return await asyncio.to_thread(*drive)
        finally:
            transport.close()


many = UdpEcho("udp.echo_1k", "UDP echo, 1 KiB", 1024, 16)
small = UdpEcho("udp.echo_64", "UDP echo, 64 bytes", 64, 16)
alone = UdpEcho("udp.echo_alone", "UDP echo, 64 bytes, one client", 64, 1)
