"""Programs of one pipe transport and its other end as plain data, and what runs them.

    {"end": "read" | "write", "wire": "pipe" | "socketpair", "eof": bool, "limits": None | (high, low),
     "reactions": {callback's name: [op, ...]}, "script": [op, ...]}

As transport_programs.py, with the end that the transport is.

To see a program again: PYTHONPATH=tests/shared python tests/differential/pipe_programs.py "{'end': ...}"
"""

import os
import socket
import sys

import stock
import tracing
import transport_programs


class End:
    """An end of a pipe, with the methods of a socket that programs call."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def setblocking(self, is_blocking):
        os.set_blocking(self.fd, is_blocking)

    def send(self, data):
        return os.write(self.fd, data)

    def recv(self, size):
        return os.read(self.fd, size)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


METHODS = {"limits": "set_write_buffer_limits", "pause": "pause_reading", "resume": "resume_reading"}


class Program(transport_programs.Program):
    knows_its_end = False
    ends = "close", "abort", "write_eof"

    def connect_sockets(self, wire):
        if wire == "socketpair":
            near, far = socket.socketpair()
        else:
            far, near = map(End, os.pipe())
        return (near, far) if self.program["end"] == "write" else (far, near)

    def op(self, op):
        # Each end has its own methods.
        if op[0].startswith("peer_") or hasattr(self.transport, METHODS.get(op[0], op[0])):
            super().op(op)

    def before_close(self):
        pass  # op_abort() looks itself

    def op_abort(self):
        if not (self.transport.is_closing() and self.transport.get_write_buffer_size() == 0):
            self.transport.abort()  # else stock calls connection_lost() once more, or has lost its loop

    def op_is_closing(self):
        return self.transport.is_closing()

    def op_is_reading(self):
        return self.transport.is_reading() if stock.PIPES_TELL else None

    def op_get_write_buffer_size(self):
        return self.transport.get_write_buffer_size() > 0

    def give_up(self):
        if self.program["end"] == "write":
            self.op_abort()
        else:
            self.transport.close()

    async def connect(self):
        protocol = transport_programs.PROTOCOLS["plain"](self, "first")
        connect = self.loop.connect_write_pipe if self.program["end"] == "write" else self.loop.connect_read_pipe
        return await connect(lambda: protocol, self.near)


run = Program.traced


if __name__ == "__main__":
    tracing.show(run, sys.argv[1])
