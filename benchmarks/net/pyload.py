"""Load for what load.c cannot do: TLS, Unix sockets, and connections that come and go.

Run as a program it is the generator, in a process of its own:

    pyload.py ADDRESS PID KIND CONNECTIONS SIZE WARM SECONDS OPERATIONS

where ADDRESS is a port on 127.0.0.1 or a path, and KIND some of the words tls, unix, connect. As with load.c a
connection never has more than one message on its way, each is noise and must come back as it went, and the server's CPU
clock is read here. With "connect" an operation is a connection: made, one echo, closed.
"""

import os
import select
import socket
import ssl
import subprocess
import sys
import time

from case import Result

STALL = 10  # seconds without an echo end the load


def certificate(folder):
    """Make a self-signed certificate; return the server's SSLContext.

    Raises:
        SystemExit: there is no openssl program.
    """
    path, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", path]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise SystemExit("The TLS cases need the program openssl (Debian: apt install openssl).") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context


def drive(address, kind, size, seconds, operations, core=None, connections=16):
    """Load the echo server of this process, as load.drive(); blocks, so it belongs into a thread of its own.

    Args:
        address: port on 127.0.0.1, or path of a Unix socket.
        kind: words of "tls unix connect".
        size, seconds, operations, core, connections: as for load.drive().
    """
    arguments = [address, os.getpid(), kind, connections, size, seconds / 3, seconds, operations or 0]
    load = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))},
    )
    if core is not None:
        os.sched_setaffinity(load.pid, {core})
    out, err = load.communicate()
    if load.returncode:
        raise RuntimeError(err.strip() or f"the load generator ended with {load.returncode}")
    count, cpu, wall = map(int, out.split())
    return Result(count, cpu / 1e9, wall / 1e9)


class Connector:
    def __init__(self, address, kind):
        self.address = address if "unix" in kind else ("127.0.0.1", int(address))
        self.family = socket.AF_UNIX if "unix" in kind else socket.AF_INET
        self.tls = None
        if "tls" in kind:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE

    def connect(self):
        sock = socket.socket(self.family)
        sock.settimeout(STALL)
        sock.connect(self.address)
        if self.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(sock) if self.tls else sock


class Messages:
    def __init__(self, size):
        self.size = size
        self.noise = os.urandom(size + 4096)
        self.inbox = memoryview(bytearray(size))
        self.sent = 0

    def send(self, sock):
        self.sent += 1
        at = self.sent % 4096
        sock.sendall(self.noise[at : at + self.size])
        return at

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
    """Yield for each echo."""
    poll = select.epoll()
    socks = {}
    for _ in range(connections):
        sock = connector.connect()
        poll.register(sock, select.EPOLLIN)
        socks[sock.fileno()] = [sock, messages.send(sock)]
    while events := poll.poll(STALL):
        for fd, _ in events:
            sock, at = socks[fd]
            messages.receive(sock, at)
            socks[fd][1] = messages.send(sock)
            yield
    raise SystemExit("no echo for too long")


def visits(connector, messages, connections):
    """Yield for each connection that was made, served and closed."""
    while True:
        socks = [connector.connect() for _ in range(connections)]
        sent = [messages.send(sock) for sock in socks]
        for sock, at in zip(socks, sent, strict=True):
            messages.receive(sock, at)
            sock.close()
            yield


def main(address, pid, kind, connections, size, warm, seconds, operations):
    cpu_clock = ~int(pid) << 3 | 2  # what clock_getcpuclockid() makes of it on Linux
    work = (visits if "connect" in kind else echoes)(Connector(address, kind), Messages(int(size)), int(connections))
    end = time.monotonic() + float(warm)
    while time.monotonic() < end:
        next(work)
    count, wanted = 0, int(operations)
    wall, cpu = time.monotonic_ns(), time.clock_gettime_ns(cpu_clock)
    end = time.monotonic() + float(seconds)
    while count < wanted if wanted else time.monotonic() < end:
        next(work)
        count += 1
    print(count, time.clock_gettime_ns(cpu_clock) - cpu, time.monotonic_ns() - wall)
    sys.stdout.flush()
    os._exit(0)  # in the middle of messages


if __name__ == "__main__":
    main(*sys.argv[1:])
