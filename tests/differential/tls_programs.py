"""Programs of one TLS transport and its peer as plain data, and what runs them.

As transport_programs.py, with these keys besides: "server" (which side the transport is), "version" (of TLS, "1.2" or
"1.3"), "upgrade" (by start_tls()) and "chunks", the sizes in bytes into which the peer cuts its ciphertext, by turns.
The peer is an ssl.SSLObject between two buffers, on a plain socket that the script drives.

To see a program again: PYTHONPATH=tests/shared python tests/differential/tls_programs.py "{'wire': ...}"
"""

import asyncio
import functools
import itertools
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import stock
import tracing
import transport_programs

PIECES = 40  # at most, after which the rest goes at once


@functools.cache
def certificate():
    """A context for each side, with a certificate made for the occasion."""
    with tempfile.TemporaryDirectory() as folder:
        key, cert = Path(folder, "key.pem"), Path(folder, "cert.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert]
            + ["-days", "2", "-subj", "/CN=localhost"],
            check=True,
            capture_output=True,
        )
        return key.read_text() + cert.read_text()


@functools.cache
def contexts(version):
    """(for servers, for clients), of one version of TLS."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate())
        file.flush()
        server.load_cert_chain(file.name)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.minimum_version = context.maximum_version = {
            "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3,
        }[version]
    return server, client


def all_ops(program):
    return itertools.chain(program["script"], *program["reactions"].values())


def has_limit_of_zero(program):
    return (program["limits"] or (None,))[0] == 0 or any(op[:2] == ("limits", 0) for op in all_ops(program))


class Program(transport_programs.Program):
    def __init__(self, program, kind, note):
        super().__init__(program, kind, note)
        if any(op[0] == "pause" for op in all_ops(program)):
            # How much is read ahead while reading is paused is not promised: what fits in any case.
            self.most = min(self.most, 30_000)
        if has_limit_of_zero(program):
            # asyncio's SSLProtocol pauses and resumes by turns then, each time that data comes: it comes uncut.
            self.most = 1000
            self.buffer_size = 20_000
        server, client = contexts(program["version"])
        self.context = server if program["server"] else client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer_context = client if program["server"] else server
        self.tls = peer_context.wrap_bio(self.incoming, self.outgoing, server_side=not program["server"])
        self.chunks = itertools.cycle(program["chunks"])

    # The peer's side of the wire.

    def send_ciphertext(self):
        """Cut into chunks, with turns between them, while the transport takes it."""
        data = memoryview(self.outgoing.read())
        for piece in itertools.count():
            if not data:
                return "all"
            size = next(self.chunks) if piece < PIECES else len(data)
            try:
                data = data[self.peer.send(data[:size]) :]
            except BlockingIOError:
                before = self.moves
                self.turn(3)
                if self.moves == before:
                    self.outgoing.write(bytes(data))
                    return "stuck"
            except ConnectionError:
                # The transport is lost. If meanwhile, it depends on the size of its reads whether all was gone before.
                if piece == 0:
                    raise
                return "all"
            self.turn()

    def take_ciphertext(self):
        """Whether there was any, or the end."""
        try:
            data = self.peer.recv(1 << 20)
        except BlockingIOError:
            return False
        if data:
            self.incoming.write(data)
        elif not self.peer_at_end:
            self.peer_at_end = True
            self.incoming.write_eof()
        else:
            return False
        return True

    def shake_hands(self):
        try:
            for _ in range(100):
                try:
                    self.tls.do_handshake()
                except ssl.SSLWantReadError:
                    self.send_ciphertext()
                    self.turn()
                    self.take_ciphertext()
                else:
                    break
            self.send_ciphertext()
        except OSError as exc:  # the transport gave up: its protocol's connection_made() raised
            self.note("the peer's handshake", type(exc).__name__)

    def op_peer_send(self, size, seed):
        self.tls.write(transport_programs.content(min(transport_programs.SIZES[size], self.most), seed) or b"x")
        return self.send_ciphertext()

    def op_peer_take(self):
        taken = bytearray()
        quiet = 0
        end = None
        while quiet < transport_programs.QUIET:
            quiet = 0 if self.take_ciphertext() else quiet + 1
            try:
                while data := self.tls.read(1 << 16):
                    taken += data
                end = "end"
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as exc:
                end = type(exc).__name__, exc.reason
            self.turn()
        return len(taken), hash(bytes(taken)), end, self.peer_at_end

    def op_peer_unwrap(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.send_ciphertext()

    def op_peer_junk(self, size):
        self.outgoing.write(b"\x00junk" * (1 + size))
        return self.send_ciphertext()

    def op_peer_eof(self):
        self.peer.shutdown(socket.SHUT_WR)

    # The owner of the loop.

    def op_abort(self):
        # Of one that was closed twice stock's has forgotten its protocol.
        if stock.TLS_ABORTS_CLOSED or getattr(self.transport, "_ssl_protocol", self) is not None:
            self.transport.abort()

    async def connect(self, protocol):
        server = self.program["server"]
        if self.program["upgrade"]:
            make = asyncio.Protocol
            transport, lower = await self.loop.create_connection(make, sock=self.near)
            return await self.loop.start_tls(transport, protocol, self.context, server_side=server), lower
        if server:
            return await self.loop.connect_accepted_socket(lambda: protocol, self.near, ssl=self.context)
        return await self.loop.create_connection(lambda: protocol, sock=self.near, ssl=self.context, server_hostname="")

    def run(self):
        protocol = transport_programs.PROTOCOLS[self.program["protocol"]](self, "first")
        connecting = self.loop.create_task(self.connect(protocol))
        self.turn(2)
        self.shake_hands()
        for _ in range(30):
            self.turn()
            if connecting.done():
                break
        if exc := connecting.exception():
            self.note("no connection", tracing.describe(exc))
            self.end()
            return
        self.transport = connecting.result()[0]
        self.settle()
        if self.program["limits"] is not None:
            self.op(("limits", *self.program["limits"]))
        for op in self.program["script"]:
            self.op(op)
            self.settle()
        self.note("the end")
        if not self.dead:
            self.op_abort()
        self.end()


run = Program.traced


if __name__ == "__main__":
    tracing.show(run, sys.argv[1])
