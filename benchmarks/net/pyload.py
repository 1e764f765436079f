"""A load generator for what load.c cannot do: TLS, connections that come and go, and idle connections.

The generator is this file, run as a program in a process of its own:

    pyload.py PORT PID KIND CONNECTIONS SIZE WARM SECONDS OPERATIONS

KIND is some of the words tls, connect, idle, drain. As with load.c, a connection has at most one message on its way, a
message is random bytes and must come back unchanged, and the generator reads the server's CPU clock. With "connect" an
operation is a connection: made, one echo, closed. With "idle" the connections are made, and stay until the process is
killed. With "drain" there is one connection, and the bytes that come over it are dropped.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

from case import Missing

from net import load

STALL = 10  # seconds without an echo end the load


def certificate(folder):
    """Make a self-signed certificate; return the server's SSLContext.

    Raises:
        Missing: there is no openssl program.
    """
    path, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", path]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise Missing("The TLS cases need the program openssl (Debian: apt install openssl).") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context


def drive(port, kind, size, seconds, operations, core=None, connections=16, pid=None):
    """Load a server, as load.drive(); blocks, so it belongs into a thread of its own.

    Args:
        kind: words of "tls connect".
        port, size, seconds, operations, core, connections, pid: as for load.drive().
    """
    arguments = port, pid or os.getpid(), kind, connections, size, seconds / 3, seconds, operations or 0
    return load.run([sys.executable, __file__, *arguments], core, env=environment())


@contextlib.contextmanager
def peer(port, kind, connections=1, core=None):
    """Let another process connect to this one meanwhile; yields it (a Popen) before the connections are made.

    Args:
        kind: "idle", "idle tls" or "drain".
        port, connections, core: as for load.drive().
    """
    command = [sys.executable, __file__, port, 0, kind, connections, 0, 0, 0, 0]
    process = subprocess.Popen(list(map(str, command)), env=environment())
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.kill()
        process.wait()


def environment():
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}


def allow_many_files():
    """Raise the number of files that this process may have open to what it is allowed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Connector:
    def __init__(self, port, kind):
        self.address = "127.0.0.1", port
        self.tls = None
        if "tls" in kind:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE

    def connect(self):
        sock = socket.create_connection(self.address, STALL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(sock) if self.tls else sock


class Messages:
    def __init__(self, size):
        self.size = size
        self.noise = os.urandom(size + 4096)
        self.inbox = memoryview(bytearray(size))
        self.sent = 0

    def send(self, sock):
        """Send another message; return where it begins in the noise, and when it was sent."""
        self.sent += 1
        at = self.sent % 4096
        started = time.monotonic_ns()
        sock.sendall(self.noise[at : at + self.size])
        return at, started

    def receive(self, sock, at):
        got = 0
        while got < self.size:
            n = sock.recv_into(self.inbox[got:])
            if not n:
                raise SystemExit("the server closed a connection")
            got += n
        if self.inbox != self.noise[at : at + self.size]:
            raise SystemExit("an echo is wrong")


def echoes(connector, messages, connections):
    """Yield how long each echo took, in ns."""
    poll = select.epoll()
    socks = {}
    for _ in range(connections):
        sock = connector.connect()
        poll.register(sock, select.EPOLLIN)
        socks[sock.fileno()] = sock, *messages.send(sock)
    while events := poll.poll(STALL):
        for fd, _ in events:
            sock, at, started = socks[fd]
            messages.receive(sock, at)
            latency = time.monotonic_ns() - started
            socks[fd] = sock, *messages.send(sock)
            yield latency
    raise SystemExit("no echo for too long")


def visits(connector, messages, connections):
    """Yield how long each connection took that was made, served and closed, in ns."""
    while True:
        socks = []
        for _ in range(connections):
            started = time.monotonic_ns()
            socks.append((connector.connect(), started))
        sent = [messages.send(sock)[0] for sock, _ in socks]
        for (sock, started), at in zip(socks, sent, strict=True):
            messages.receive(sock, at)
            sock.close()
            yield time.monotonic_ns() - started


def stay(connector, connections):
    """Connect, and wait to be killed, which resets the connections: 10,000 ports must not stay in TIME_WAIT."""
    allow_many_files()
    socks = [connector.connect() for _ in range(connections)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    signal.pause()


def drain(connector):
    """Read whatever comes, until its end."""
    sock = connector.connect()
    buffer = bytearray(1024 * 1024)
    while sock.recv_into(buffer):
        pass


def main(port, pid, kind, connections, size, warm, seconds, operations):
    connector = Connector(int(port), kind)
    if "idle" in kind:
        return stay(connector, int(connections))
    if "drain" in kind:
        return drain(connector)
    cpu_clock = ~int(pid) << 3 | 2  # what clock_getcpuclockid() makes of it on Linux
    work = (visits if "connect" in kind else echoes)(connector, Messages(int(size)), int(connections))
    end = time.monotonic() + float(warm)
    while time.monotonic() < end:
        next(work)
    latencies, wanted = [], int(operations)
    wall, cpu = time.monotonic_ns(), time.clock_gettime_ns(cpu_clock)
    end = time.monotonic() + float(seconds)
    while len(latencies) < wanted if wanted else time.monotonic() < end:
        latencies.append(next(work))
    cpu, wall = time.clock_gettime_ns(cpu_clock) - cpu, time.monotonic_ns() - wall
    latencies.sort()
    percentiles = [latencies[int(part * len(latencies))] for part in (0.5, 0.99, 0.999)] if latencies else []
    print(len(latencies), cpu, wall, *percentiles)
    sys.stdout.flush()
    os._exit(0)  # in the middle of messages


if __name__ == "__main__":
    main(*sys.argv[1:])
