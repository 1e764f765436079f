"""Share a folder: over TCP, over TLS, or over a Unix socket; announced by UDP.

python examples/share.py serve FOLDER                      on a free port, found by `list` and `get` on this machine
python examples/share.py serve FOLDER --tls cert.pem       the certificate with its key, in one file
python examples/share.py serve FOLDER --unix /run/share    where no network is wanted
python examples/share.py get NAME [--ca cert.pem]          print a file; --unix PATH as above
python examples/share.py list                              the names

A request is a name and a newline, "/" for the list of names; the answer is all that comes until the end. Files leave by
loop.sendfile(): the kernel copies them, under TLS the loop does. SIGHUP makes the server print what it has served.
"""

import argparse
import asyncio
import signal
import ssl
import sys
from pathlib import Path

from loops import add_loop_option, run

ANNOUNCED = 46464  # the UDP port that answers with the TCP port


class Share:
    """The folder and those who ask for it."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.served = 0

    async def answer(self, reader, writer):
        try:
            name = (await reader.readline()).decode().rstrip("\n")
            if name == "/":
                names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
                writer.write("".join(f"{name}\n" for name in names).encode())
            elif (path := self.folder / name).resolve().parent == self.folder and path.is_file():
                await writer.drain()
                with path.open("rb") as file:
                    await asyncio.get_running_loop().sendfile(writer.transport, file)
            self.served += 1
        except (ConnectionError, UnicodeDecodeError):
            pass  # who asks may leave, or talk nonsense
        finally:
            writer.close()


class Announcer(asyncio.DatagramProtocol):
    """Answers every datagram with where the share is."""

    def __init__(self, port):
        self.port = port

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(b"%d" % self.port, address)


class Asker(asyncio.DatagramProtocol):
    """Asks an Announcer."""

    def __init__(self):
        self.port = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.sendto(b"where?")

    def datagram_received(self, data, address):
        if not self.port.done():
            self.port.set_result(int(data))

    def error_received(self, error):
        if not self.port.done():
            self.port.set_exception(ConnectionError(f"nobody shares anything here: {error}"))


async def serve(options):
    loop = asyncio.get_running_loop()
    share = Share(options.folder)
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls)
    loop.add_signal_handler(signal.SIGHUP, lambda: print(f"served {share.served} requests", flush=True))
    if options.unix:
        server = await asyncio.start_unix_server(share.answer, options.unix, ssl=tls)
        where, announcer = options.unix, None
    else:
        server = await asyncio.start_server(share.answer, "127.0.0.1", 0, ssl=tls)
        where = port = server.sockets[0].getsockname()[1]
        address = ("127.0.0.1", options.announced)
        announcer, _ = await loop.create_datagram_endpoint(lambda: Announcer(port), local_addr=address)
    print(f"sharing {share.folder} on {where}, Ctrl-C ends it", flush=True)
    try:
        await server.serve_forever()
    finally:
        if announcer:
            announcer.close()


async def ask(options):
    """Send a name and copy the answer to standard output."""
    tls = ssl.create_default_context(cafile=options.ca) if options.ca else None
    name = "localhost" if tls else None
    if options.unix:
        reader, writer = await asyncio.open_unix_connection(options.unix, ssl=tls, server_hostname=name)
    else:
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", options.announced)
        asking, asker = await loop.create_datagram_endpoint(Asker, remote_addr=address)
        try:
            port = await asyncio.wait_for(asker.port, 5)
        finally:
            asking.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    writer.write(f"{options.name}\n".encode())
    while data := await reader.read(256 * 1024):
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description="Share a folder.")
    add_loop_option(parser)
    parser.add_argument("--unix", metavar="PATH", help="a Unix socket instead of TCP")
    parser.add_argument("--announced", type=int, default=ANNOUNCED, metavar="PORT", help="the UDP port of the share")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("folder")
    serving.add_argument("--tls", metavar="FILE", help="a certificate with its key")
    for command in ("get", "list"):
        asking = commands.add_parser(command)
        asking.add_argument("--ca", metavar="FILE", help="whom to trust; without it no TLS")
        asking.set_defaults(name="/")
    commands.choices["get"].add_argument("name")
    options = parser.parse_args()
    try:
        run((serve if options.command == "serve" else ask)(options), options.loop)
    except KeyboardInterrupt:
        print("ended")
    except (OSError, TimeoutError) as error:
        sys.exit(f"share.py: {error or 'no answer'}")


if __name__ == "__main__":
    main()
