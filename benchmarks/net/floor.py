"""The servers in floor.c, without Python: the load generators can use them instead of a server on a loop."""

import contextlib
import os
import subprocess

from net.compile import program


def build():
    """Return the path of the program, compiled on first use; raises Missing if it cannot be."""
    return program("floor", "ev", needs=" (it needs libev; Debian: apt install libev-dev)")


@contextlib.contextmanager
def serving(kind, sock, size=0, core=None):
    """Let another process serve on a socket; yields its pid.

    Args:
        kind: "echo", "udp" or "http".
        sock: bound, and listening if it is of streams; closed here.
        size: bytes of the body of a response.
        core: the CPU it may use; None for those of this process.
    """
    with sock:
        command = [build(), kind, sock.fileno(), size]
        server = subprocess.Popen(list(map(str, command)), pass_fds=[sock.fileno()])
    try:
        if core is not None:
            os.sched_setaffinity(server.pid, {core})
        yield server.pid
    finally:
        server.kill()
        server.wait()
