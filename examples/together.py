"""Run shell commands side by side, each line of output under its command's name.

python examples/together.py 'ping -c 3 localhost' 'du -s /usr'    Ctrl-C ends them all
python examples/together.py --input 'tr a-z A-Z' 'wc -l' < FILE   each reads what we read

Ends with the worst exit status.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys

from loops import add_loop_option, run


async def copy_lines(stream, name):
    """Print what a child says, line by line."""
    async for line in stream:
        print(f"{name}: {line.decode(errors='replace')}", end="", flush=True)


async def run_one(number, command, text):
    """Run a command to its end; return its exit status, as a shell gives it."""
    name = f"{number} {command.split()[0]}"
    child = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for us to pass on
    )
    copying = asyncio.create_task(copy_lines(child.stdout, name))
    try:
        with contextlib.suppress(ConnectionError):  # it may not read all, or nothing
            child.stdin.write(text)
            await child.stdin.drain()
        child.stdin.close()
        with contextlib.suppress(ConnectionError):
            await asyncio.shield(child.stdin.wait_closed())  # Ctrl-C is not to cancel what the transport waits for
        await child.wait()
        await copying
    except asyncio.CancelledError:
        os.killpg(child.pid, signal.SIGTERM)
        await child.wait()
        await copying
        raise
    status = child.returncode if child.returncode >= 0 else 128 - child.returncode
    print(f"{name}: ended with {status}", flush=True)
    return status


async def read_all():
    """All of standard input, without keeping anybody waiting."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await reader.read()


async def run_together(options):
    text = await read_all() if options.input else b""
    async with asyncio.TaskGroup() as group:  # unlike gather() it waits for all of them when it is cancelled
        tasks = [group.create_task(run_one(i, command, text)) for i, command in enumerate(options.commands, 1)]
    return max(task.result() for task in tasks)


def main():
    parser = argparse.ArgumentParser(description="Run shell commands side by side.")
    add_loop_option(parser)
    parser.add_argument("--input", action="store_true", help="hand standard input (a pipe) to each of them")
    parser.add_argument("commands", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    try:
        status = run(run_together(options), options.loop)
    except KeyboardInterrupt:
        print("stopped")
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
