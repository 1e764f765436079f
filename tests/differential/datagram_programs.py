"""Programs of one datagram transport and its peer as plain data, and what runs them.

    {"wire": "udp" | "connected" | "unix", "limits": None | (high, low), "reactions": {callback's name: [op, ...]},
     "script": [op, ...]}

As transport_programs.py: the peer is a plain non-blocking socket, which the script drives. Between UDP sockets of one
host nothing ever waits; between Unix sockets it does when the peer does not take it.

To see a program again: PYTHONPATH=tests/shared python tests/differential/datagram_programs.py "{'wire': ...}"
"""

import asyncio
import socket
import sys
import tempfile

import stock
import tracing
import transport_programs

SIZES = [0, 1, 100, 9000, 60_000, 70_000]  # the last one is more than UDP takes


class Protocol(transport_programs.Seen, asyncio.DatagramProtocol):
    def connection_lost(self, exc):
        try:
            super().connection_lost(exc)
        finally:
            self.run.is_lost = True

    def datagram_received(self, data, addr):
        self.run.note(self.name, "datagram", len(data), hash(data), addr == self.run.peer_address)
        self.run.react("datagram_received")

    def error_received(self, exc):
        self.say("error_received", tracing.describe(exc))


class Program(transport_programs.Program):
    knows_its_end = False
    is_lost = False

    def connect_sockets(self, wire):
        """The transport makes its socket itself: one that it is given it takes for unconnected."""
        self.folder = tempfile.TemporaryDirectory()
        self.is_unix = wire == "unix"
        self.family = socket.AF_UNIX if self.is_unix else socket.AF_INET
        peer = socket.socket(self.family, socket.SOCK_DGRAM)
        peer.bind(self.folder.name + "/peer" if self.is_unix else ("127.0.0.1", 0))
        self.peer_address = peer.getsockname()
        return peer, peer

    def op(self, op):
        # Stock's unconnected transport that is lost has no socket and does not know: AttributeError.
        if not (op[0].startswith("send") and self.is_lost and self.program["wire"] == "udp"):
            super().op(op)

    def data(self, *args):
        raise AssertionError("datagrams are never put together")

    # What a protocol may do.

    def op_send(self, size, seed, where):
        addr = {"nowhere": None, "peer": self.peer_address, "bad": ("127.0.0.1", -1), "junk": 7}[where]
        if where == "bad" and self.is_unix:
            addr = "/nonexistent"
        try:
            return self.transport.sendto(transport_programs.content(SIZES[size], seed)[: SIZES[size]], addr)
        except ValueError as exc:
            return str(exc).replace(str(self.peer_address), "the peer's")

    def op_send_junk(self, what):
        self.transport.sendto(["text", None, 7, memoryview(b"abcd")[::2], bytearray(b"xy")][what])

    def op_look(self):
        size = self.transport.get_write_buffer_size()
        if self.is_lost:
            size = 0  # stock goes on counting what abort() has dropped
        return self.transport.is_closing(), size if stock.DATAGRAMS_COUNT else size > 0

    # What the peer does.

    def op_peer_send(self, size, seed, times):
        data = transport_programs.content(SIZES[size], seed)[: SIZES[size]]
        for _ in range(times):
            self.peer.sendto(data, self.transport.get_extra_info("sockname"))

    def op_peer_take(self):
        taken = []
        quiet = 0
        while quiet < transport_programs.QUIET:
            try:
                data = self.peer.recv(1 << 17)
            except BlockingIOError:
                quiet += 1
                self.turn()
            else:
                quiet = 0
                taken.append((len(data), hash(data)))
        return taken

    # The owner of the loop.

    async def connect(self):
        local = self.folder.name + "/near" if self.is_unix else ("127.0.0.1", 0)
        remote = None if self.program["wire"] == "udp" else self.peer_address
        return await self.loop.create_datagram_endpoint(
            lambda: Protocol(self, "first"), local, remote, family=self.family
        )

    def end(self):
        super().end()
        self.folder.cleanup()


run = Program.traced


if __name__ == "__main__":
    tracing.show(run, sys.argv[1])
