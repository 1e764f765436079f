"""A client for chat_server.py: type lines, read the others'.

python examples/chat_client.py                  Ctrl-D or /quit leaves
python examples/chat_client.py --nick ada --port 9999
"""

import argparse
import asyncio
import contextlib
import sys
import threading

from loops import add_loop_option, run


async def chat(host, port, nickname):
    """Connect, and carry lines both ways until one side ends."""
    reader, writer = await asyncio.open_connection(host, port)
    if nickname:
        writer.write(nickname.encode() + b"\n")
    sending = asyncio.create_task(send_lines(writer))
    try:
        # The server has the last word: it closes after /quit, and after the end of our input too.
        async for line in reader:
            print(line.decode(errors="replace"), end="", flush=True)
    finally:
        sending.cancel()
        writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def send_lines(writer):
    lines = start_reading_keyboard()
    while (line := await lines.get()) is not None:
        writer.write(line)
        await writer.drain()
    writer.write_eof()


def start_reading_keyboard():
    """Return a queue that gets the lines of standard input as bytes, and None at its end.

    Reading blocks, so a thread does it. Not asyncio.to_thread: the program waits for such threads when it ends, and
    this one comes back only after one more line. A daemon thread is left behind.
    """
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()

    def read():
        # Our own file object: the interpreter, when it ends, locks sys.stdin, which a waiting thread would hold.
        with open(sys.stdin.fileno(), "rb", closefd=False) as keyboard:
            # The loop is closed while this thread still waits for a line; who types one then, types in vain.
            with contextlib.suppress(RuntimeError):
                for line in keyboard:
                    loop.call_soon_threadsafe(lines.put_nowait, line)
                loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def main():
    parser = argparse.ArgumentParser(description="A client for the chat server.")
    add_loop_option(parser)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="the server's (default: %(default)s)")
    parser.add_argument("--nick", help="nickname (default: you are asked)")
    args = parser.parse_args()
    try:
        run(chat(args.host, args.port, args.nick), args.loop)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"No connection to {args.host} port {args.port}: {error}")


if __name__ == "__main__":
    main()
