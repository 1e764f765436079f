"""Answer each line in capitals, on one port, with all cores.

python examples/cores.py              nc 127.0.0.1 8888, in other terminals; Ctrl-C ends it and prints who did what
python examples/cores.py --workers 2 --how threads
"""

import argparse
import asyncio
import contextlib
import functools
import socket
import sys
from pathlib import Path

try:
    import asyncloop
except ModuleNotFoundError:  # not installed: the one in this tree
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import asyncloop


async def serve(host, port, worker):
    """Serve in one worker until all are stopped. -> the number of lines that it has answered."""
    answered = 0

    async def answer(reader, writer):
        nonlocal answered
        try:
            with contextlib.suppress(ConnectionError):
                async for line in reader:
                    writer.write(line.upper())
                    await writer.drain()
                    answered += 1
        finally:
            writer.close()

    # Each worker has a listening socket of its own, and the kernel chooses one for each connection.
    server = await asyncio.start_server(answer, host, port, reuse_port=True)
    # With its newline, so that lines of several workers do not mix.
    print(f"worker {worker.number} of {worker.workers} is ready ({worker.how})\n", end="", flush=True)
    # Ctrl-C and SIGTERM cancel this function. To have a result all the same it returns.
    with contextlib.suppress(asyncio.CancelledError):
        await worker.stopping.wait()
    server.close()
    return answered


def main():
    parser = argparse.ArgumentParser(description="Answer each line in capitals, with all cores.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0: any")
    parser.add_argument("--workers", type=int, help="by default one for each core")
    parser.add_argument("--how", default="auto", help="threads, interpreters, processes or auto")
    options = parser.parse_args()
    # It holds the port, so that no other program takes it while the workers start. It does not listen.
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((options.host, options.port))
        host, port = holder.getsockname()
        print(f"serving on {host}:{port}", flush=True)
        # A partial of a function of this module, because interpreters and processes import it by its name.
        answered = asyncloop.run_workers(functools.partial(serve, host, port), workers=options.workers, how=options.how)
    for number, lines in enumerate(answered):
        print(f"worker {number} has answered {lines} lines")


if __name__ == "__main__":
    main()
