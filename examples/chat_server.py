"""A chat server with asyncio streams. Talk to it with chat_client.py, or with `nc 127.0.0.1 8888`.

python examples/chat_server.py                  stops cleanly on Ctrl-C
python examples/chat_server.py --loop asyncio   the same on the stock loop

The conversation is lines of UTF-8. The first is the nickname; then /who, /quit, or anything to say to all others.
"""

import argparse
import asyncio
import contextlib
import re
import signal

from loops import add_loop_option, run

NICKNAME = re.compile(r"\w{1,20}")
LONGEST_LINE = 4096  # bytes
LARGEST_BACKLOG = 256 * 1024  # bytes that wait for a client who does not read, before we give up on them
TIME_TO_LOG_IN = 60  # seconds


class Hangup(Exception):
    """The client has gone, or had better go."""


class Client:
    """One connection: whole lines in, whole lines out."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.nickname = None
        self.task = asyncio.current_task()

    async def receive(self):
        """Return the next line, without its end; Hangup if there is none."""
        try:
            line = await self.reader.readline()
        except ValueError:
            self.send(f"* no line may be longer than {LONGEST_LINE} bytes, good-bye")
            raise Hangup from None
        except OSError:
            raise Hangup from None
        if not line:
            raise Hangup
        return line.decode(errors="replace").strip()

    def send(self, line):
        """Send a line without waiting: a message to all must not wait for the slowest of them."""
        if self.writer.is_closing():
            return
        self.writer.write(line.encode() + b"\n")
        if self.writer.transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self.writer.transport.abort()  # ends receive() as well

    async def close(self):
        """Close the connection once everything has been sent."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Chat:
    """Everybody who is here."""

    def __init__(self):
        self.connections = set()  # of Client, with or without a nickname
        self.members = {}  # nickname -> Client

    async def welcome(self, reader, writer):
        """Serve one client from hello to good-bye: asyncio.start_server runs this as a task for each connection."""
        client = Client(reader, writer)
        self.connections.add(client)
        try:
            async with asyncio.timeout(TIME_TO_LOG_IN):
                await self.log_in(client)
            await self.converse(client)
        except (Hangup, TimeoutError):
            pass
        finally:
            self.log_out(client)
            await client.close()
            self.connections.discard(client)

    async def log_in(self, client):
        client.send("* welcome! What is your nickname?")
        while True:
            nickname = await client.receive()
            if not NICKNAME.fullmatch(nickname):
                client.send("* a nickname is 1 to 20 letters, digits and underscores; another, please")
            elif nickname in self.members:
                client.send(f"* {nickname} is taken; another, please")
            else:
                break
        self.tell_all(f"* {nickname} has come")
        client.nickname = nickname
        self.members[nickname] = client
        client.send(f"* hello {nickname}; /who says who is here, /quit leaves")
        print(f"{nickname} has come, {len(self.members)} here", flush=True)

    def log_out(self, client):
        if client.nickname is None:
            return
        del self.members[client.nickname]
        self.tell_all(f"* {client.nickname} has left")
        print(f"{client.nickname} has left, {len(self.members)} here", flush=True)

    async def converse(self, client):
        while True:
            line = await client.receive()
            match line:
                case "":
                    pass
                case "/quit":
                    client.send("* good-bye")
                    return
                case "/who":
                    client.send(f"* here: {', '.join(sorted(self.members))}")
                case _ if line.startswith("/"):
                    client.send(f"* there is no {line.split()[0]}, only /who and /quit")
                case _:
                    self.tell_all(f"{client.nickname}: {line}", but=client)
            # receive() does not wait while lines are at hand; let the others have their turn all the same.
            await asyncio.sleep(0)

    def tell_all(self, line, but=None):
        for member in self.members.values():
            if member is not but:
                member.send(line)

    async def close(self):
        """Say good-bye to everybody and wait until they have got it, for two seconds at most."""
        self.tell_all("* the server stops, good-bye")
        tasks = [client.task for client in self.connections]
        for client in self.connections:
            client.writer.close()
        if tasks:
            await asyncio.wait(tasks, timeout=2)
        for client in self.connections:
            client.writer.transport.abort()


async def serve(host, port):
    """Serve until SIGINT (Ctrl-C) or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    chat = Chat()
    server = await asyncio.start_server(chat.welcome, host, port, limit=LONGEST_LINE)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"Listening on {host} port {port}; Ctrl-C stops.", flush=True)
    try:
        await stop.wait()
    finally:
        server.close()
        await chat.close()
        await server.wait_closed()
    print("Stopped.")


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    add_loop_option(parser)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 takes any free one (default: %(default)s)")
    args = parser.parse_args()
    run(serve(args.host, args.port), args.loop)


if __name__ == "__main__":
    main()
