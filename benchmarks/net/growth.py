"""What an echo costs when there are many connections that do nothing."""

import asyncio
import contextlib

from net.echo import Echo
from net.tcp_echo import Echoing, protocol_server

from net import pyload

PATIENCE = 60  # seconds for all idle connections


class Counted(Echoing):
    made = 0

    def connection_made(self, transport):
        super().connection_made(transport)
        Counted.made += 1


serve = protocol_server(Counted)


class Growth(Echo):
    """A message of 1 KiB echoed to 16 connections among `idle` others."""

    has_floor = False

    def __init__(self, idle):
        super().__init__(self.serve_crowd, 1, "growth.connections", f"TCP echo among {idle:,}")
        self.name = f"growth.connections_{idle}"
        self.operation += f", {idle:,} others idle"
        self.idle = idle

    @contextlib.asynccontextmanager
    async def serve_crowd(self, listening):
        pyload.allow_many_files()
        listening.listen(4096)
        port = listening.getsockname()[1]
        async with serve(listening):
            with pyload.peer(port, "idle", self.idle, self.load_core):
                async with asyncio.timeout(PATIENCE):
                    while Counted.made < self.idle:
                        await asyncio.sleep(0.02)
                yield


connections = [Growth(idle) for idle in (10, 1_000, 10_000)]
