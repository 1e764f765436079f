"""Makes many connections: soak.py [--tls | --unix] [--connections N]. The exit status is 1 if something grows.

A server in this process and clients in another, both on asyncloop, make connections that end in all ways: closed in
good order by either side, aborted, reset, half closed, dropped in the middle of a TLS handshake, garbage instead of
TLS. After each twentieth of the connections the program notes the descriptors, the live memory blocks and the resident
memory of both processes. After the first fifth, which fills free lists and caches, none of them may grow.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import asyncloop  # noqa: E402

PARALLEL = 50
SLACK = {"fds": 0, "blocks": 500, "kib": 1500}  # by how much a count may exceed its highest value in the first fifth
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the connection ends with RST


def usage():
    """Return the numbers of descriptors, memory blocks and KiB that this process has now."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return {"fds": len(os.listdir("/proc/self/fd")), "blocks": sys.getallocatedblocks(), "kib": resident}


def reset(transport):
    """End the connection with RST, where there is such a thing."""
    sock = transport.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


class Answering(asyncio.Protocol):
    """Answers each message. Its first byte says how the connection ends."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        transport = self.transport
        match data[0] % 8:
            case 0:
                transport.write(data)
                transport.close()
            case 1:
                transport.abort()
            case 2:
                transport.write(data * 50)
                transport.abort()
            case 3:
                reset(transport)
            case 4:
                transport.pause_reading()
                transport.write(data)
                transport.close()
            case _:
                transport.write(data)


class Visit(asyncio.Protocol):
    """Sends one message, and ends the connection in a random way when the answer comes, or before."""

    def __init__(self, dice, done):
        self.dice = dice
        self.done = done

    def connection_made(self, transport):
        self.transport = transport
        way = self.dice.randrange(8)
        transport.write(bytes([self.dice.randrange(256)]) * self.dice.choice([1, 100, 20_000]))
        if way == 0:
            transport.abort()
        elif way == 1:
            transport.close()
        elif way == 2 and transport.can_write_eof():
            with contextlib.suppress(OSError):  # the connection is lost already
                transport.write_eof()

    def data_received(self, data):
        way = self.dice.randrange(3)
        if way == 0:
            self.transport.abort()
        elif way == 1:
            self.transport.close()
        else:
            reset(self.transport)

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_result(None)


async def visit(dice, address, tls):
    """Make one connection, and wait for its end."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    raw = tls is not None and dice.randrange(10) == 0  # send bytes that are no TLS, or not all of a hello
    options = {} if tls is None or raw else {"ssl": tls, "server_hostname": "localhost"}

    def protocol():
        return Visit(dice, done)

    try:
        if isinstance(address, str):
            transport, _ = await loop.create_unix_connection(protocol, address, **options)
        else:
            transport, _ = await loop.create_connection(protocol, "127.0.0.1", address, **options)
        if raw:
            await asyncio.wait({done}, timeout=0.05)  # a short hello leaves the server waiting for the rest
            transport.abort()
        await asyncio.wait_for(done, 30)
    except (ConnectionError, ssl.SSLError):
        pass


async def clients(address, use_tls, connections):
    """Make all connections. Print usage() of this process after each part, as a line of JSON."""
    tls = None
    if use_tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    dice = random.Random(1)
    part = max(connections // 20, PARALLEL)
    for _ in range(connections // part):
        left = part

        async def worker():
            nonlocal left
            while left > 0:
                left -= 1
                await visit(dice, address, tls)

        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(worker())
        del group
        await asyncio.sleep(0.1)
        print(json.dumps(usage()), flush=True)
        sys.stdin.readline()


async def serve(options):
    """Serve the clients. Return the lists of usage() of both processes."""
    held = {"server": [], "clients": []}
    strange = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: strange.append(context))
    with tempfile.TemporaryDirectory() as folder:
        tls = None
        if options.tls:
            from net import pyload

            tls = pyload.certificate(folder)
        if options.unix:
            address = os.path.join(folder, "socket")
            server = await loop.create_unix_server(Answering, address, ssl=tls, backlog=200)
        else:
            server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=tls, backlog=200)
            address = server.sockets[0].getsockname()[1]
        clients = await asyncio.create_subprocess_exec(
            *[sys.executable, __file__, "--clients", json.dumps([address, options.tls, options.connections])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        while line := await clients.stdout.readline():
            await asyncio.sleep(0.1)
            held["clients"].append(json.loads(line))
            held["server"].append(usage())
            if not options.quiet:
                print(len(held["server"]) * 5, "%", held["server"][-1], held["clients"][-1], flush=True)
            clients.stdin.write(b"\n")
        if await clients.wait():
            raise SystemExit("the clients failed")
        server.close()
    for context in strange:
        if not isinstance(context.get("exception"), ssl.SSLError):
            raise SystemExit(f"reported to the exception handler: {context}")
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--unix", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--clients", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        asyncloop.run(clients(*json.loads(options.clients)))
        return 0
    held = asyncloop.run(serve(options))
    grown = 0
    for side, history in held.items():
        warm, rest = history[: len(history) // 5 + 1], history[len(history) // 5 + 1 :]
        for what, slack in SLACK.items():
            before, after = max(h[what] for h in warm), rest[-1][what]
            grown += after > before + slack
            print(f"{side:8} {what:6} {before:>9,} -> {after:>9,}{'   GROWS' if after > before + slack else ''}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
