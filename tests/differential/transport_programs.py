"""Programs of one stream transport and its peer as plain data, and what runs them.

    {"wire": "socketpair" | "tcp", "protocol": "plain" | "buffered", "eof": bool, "tls": bool,
     "limits": None | (high, low), "reactions": {callback's name: [op, ...]}, "script": [op, ...]}

The transport is the loop's, the peer a plain non-blocking socket which the script drives; after each op the loop is
turned until nothing moves any more. Reactions are what the protocol does inside of a callback. The trace has the
callbacks in order, with data coalesced: where it is cut is not promised.

To see a program again: PYTHONPATH=tests/shared python tests/differential/transport_programs.py "{'wire': ...}"
"""

import asyncio
import contextlib
import contextvars
import socket
import struct
import sys

import stock
import tracing

QUIET = 4  # turns without a change, after which nothing moves
SIZES = [0, 1, 10, 1000, 300_000, 1_500_000]


def content(size, seed):
    """Bytes that show where they belong."""
    return bytes((i * 7 + seed) % 251 for i in range(min(size, 1000))) * (max(size, 1) // 1000 or 1)


def socketpair():
    return socket.socketpair()


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


class Seen:
    """What all protocols of a program have in common."""

    def __init__(self, run, name):
        self.run = run
        self.name = name

    def say(self, what, *args):
        self.run.note(self.name, what, *args)
        self.run.react(what)

    def connection_made(self, transport):
        self.run.transport = transport
        self.say("connection_made")

    def eof_received(self):
        self.say("eof_received")
        if not (keep_open := self.run.program["eof"]):
            self.run.before_close()
        return keep_open

    def connection_lost(self, exc):
        self.run.dead = self.run.closed_late
        self.say("connection_lost", tracing.describe(exc))

    def pause_writing(self):
        self.say("pause_writing")

    def resume_writing(self):
        self.say("resume_writing")


class Plain(Seen, asyncio.Protocol):
    def data_received(self, data):
        self.run.data(self.name, type(data).__name__, data)


class Buffered(Seen, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        # A memoryview: of a bytearray asyncio's SSLProtocol fills a copy, all but the first record (ours fills it).
        self.buffer = memoryview(bytearray(self.run.buffer_size))
        return self.buffer

    def buffer_updated(self, nbytes):
        self.run.data(self.name, "bytes", bytes(self.buffer[:nbytes]))


PROTOCOLS = {"plain": Plain, "buffered": Buffered}


class Program:
    knows_its_end = stock.KNOWS_ITS_END
    ends = "close", "abort"

    def __init__(self, program, kind, note):
        self.program = program
        self.trace = note
        self.received = []  # [protocol, type, bytes] since the last other note
        self.moves = 0
        self.fuel = 60
        # What a protocol does on data depends on where that is cut, so then it comes in pieces that nobody cuts.
        reacts = "data" in program["reactions"]
        self.buffer_size = 20_000 if reacts else 77
        self.most = 1000 if reacts else max(SIZES)
        self.to_peer = bytearray()
        self.transport = None
        # A stock transport that was closed with something left to send, and has sent it, has lost its loop but does
        # not know (unless it knows_its_end): its methods raise AttributeError. They are not called then.
        self.closed_late = self.dead = False
        self.peer_at_end = False
        self.loop = kind.loop()
        self.loop.set_exception_handler(self.on_exception)
        self.near, self.peer = self.connect_sockets(program["wire"])
        for sock in self.near, self.peer:
            sock.setblocking(False)

    def connect_sockets(self, wire):
        return {"socketpair": socketpair, "tcp": tcp}[wire]()

    def flush(self):
        for name, kind, data in self.received:
            self.trace(name, "data", kind, len(data), hash(bytes(data)))
        self.received.clear()

    def note(self, *what):
        self.moves += 1
        self.flush()
        self.trace(*what)

    def data(self, name, kind, data):
        self.moves += 1
        if self.received and self.received[-1][:2] == [name, kind]:
            self.received[-1][2] += data
        else:
            self.received.append([name, kind, bytearray(data)])
        if "data" in self.program["reactions"]:
            self.react("data")

    def on_exception(self, loop, context):
        exc = context.get("exception")
        keys, message = sorted(context), context["message"]
        if message.startswith("Exception in callback "):
            # asyncio calls these callbacks by way of a Handle, which the context has and the message shows (None once
            # it is cancelled); we have none and name transport and protocol instead. But for the message the
            # documentation has all keys optional.
            keys, message = "", "Exception in callback"
        self.note("handler", keys, tracing.plain(message), exc and tracing.describe(exc))

    def react(self, what):
        for op in self.program["reactions"].get(what, ()):
            if what == "resume_writing" and op[0] in self.ends and not self.knows_its_end:
                continue  # stock calls connection_lost() twice then
            if (what, op[0]) == ("connection_made", "pause") and not stock.PAUSES_EARLY:
                continue  # stock begins to read all the same
            if self.fuel > 0:
                self.fuel -= 1
                if op[0] == "raise":
                    raise ValueError("raised")
                self.op(op)

    def op(self, op):
        name, *args = op
        if self.dead and not name.startswith("peer_"):
            return
        try:
            result = getattr(self, "op_" + name)(*args)
        except Exception as exc:
            self.note(name, tracing.describe(exc))
        else:
            if name.startswith("peer_"):
                self.settle()  # in how many turns what the peer has sent arrives is nobody's promise
            self.note(name, *args, result)

    # What a protocol may do.

    def op_write(self, size, seed):
        self.transport.write(content(SIZES[size], seed))

    def op_writelines(self, sizes):
        if self.transport.is_closing() and self.transport.get_write_buffer_size() == 0:
            return  # from resume_writing(): stock's calls connection_lost() at once, and its caller has lost the loop
        if stock.WRITELINES_PAUSES and (stock.WRITELINES_OF_CLOSED or not self.transport.is_closing()):
            sizes = [size for size in sizes if SIZES[size] or stock.WRITELINES_DRAINS]
            self.transport.writelines([content(SIZES[size], size) for size in sizes])

    def op_write_junk(self, what):
        if what == 3 and self.transport.get_write_buffer_size() > 0:
            return  # an open difference, see the README
        self.transport.write(["text", None, 7, memoryview(b"abcd")[::2], bytearray(b"xy")][what])

    def op_write_eof(self):
        self.transport.write_eof()

    def op_pause(self):
        self.transport.pause_reading()

    def op_resume(self):
        self.transport.resume_reading()

    def before_close(self):
        self.closed_late |= not self.knows_its_end and self.transport.get_write_buffer_size() > 0

    def op_close(self):
        self.before_close()
        self.transport.close()

    def op_abort(self):
        self.transport.abort()

    def op_limits(self, high, low):
        self.transport.set_write_buffer_limits(high, low)
        return self.transport.get_write_buffer_limits()

    def op_look(self):
        transport = self.transport
        return transport.is_closing(), transport.is_reading(), transport.get_write_buffer_size() > 0

    def op_switch(self, protocol):
        self.transport.set_protocol(PROTOCOLS[protocol](self, "switched " + protocol))

    def op_info(self, what):
        return type(self.transport.get_extra_info(what, "default")).__name__

    # What the peer does.

    def op_peer_send(self, size, seed):
        data = memoryview(content(min(SIZES[size], self.most), seed))
        for _ in range(200):
            if not data:
                return "all"
            try:
                data = data[self.peer.send(data) :]
            except BlockingIOError:
                before = self.moves
                self.turn(3)
                if self.moves == before:
                    return "stuck"
        return "long"

    def op_peer_take(self):
        """Read all there is, until the transport has no more."""
        taken = bytearray()
        quiet = 0
        while quiet < QUIET and not self.peer_at_end:
            try:
                data = self.peer.recv(1 << 20)
            except BlockingIOError:
                quiet += 1
                self.turn()
                continue
            quiet = 0
            taken += data
            self.peer_at_end = not data
        return len(taken), hash(bytes(taken)), self.peer_at_end

    def op_peer_eof(self):
        self.peer.shutdown(socket.SHUT_WR)

    def op_peer_close(self):
        if self.program["wire"] == "tcp":
            # The kernel resets a connection that is closed with something unread: whether there is depends on how fast
            # it is. So the end comes first.
            with contextlib.suppress(OSError):
                self.peer.shutdown(socket.SHUT_WR)
            self.settle()
        self.peer.close()

    def op_peer_reset(self):
        if self.program["wire"] == "tcp":
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    # The owner of the loop.

    def turn(self, times=1):
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def settle(self):
        quiet = 0
        while quiet < QUIET:
            before = self.moves
            self.turn()
            quiet = 0 if self.moves != before else quiet + 1

    async def connect(self):
        protocol = PROTOCOLS[self.program["protocol"]](self, "first")
        return await self.loop.create_connection(lambda: protocol, sock=self.near)

    def run(self):
        self.transport, _ = self.loop.run_until_complete(self.connect())
        if self.program["limits"] is not None:
            self.op(("limits", *self.program["limits"]))
        for op in self.program["script"]:
            self.op(op)
            self.settle()
        self.note("the end")
        if not self.dead:
            self.give_up()
        self.end()

    def give_up(self):
        self.transport.abort()

    def end(self):
        self.settle()
        self.flush()
        self.peer.close()
        self.near.close()
        self.loop.close()

    @classmethod
    def traced(cls, program, kind):
        """The trace of a program on a Kind."""

        def act(note):
            contextvars.Context().run(cls(program, kind, note).run)

        return tracing.traced(act)


run = Program.traced


if __name__ == "__main__":
    tracing.show(run, sys.argv[1])
