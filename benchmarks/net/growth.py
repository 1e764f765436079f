"""What an echo costs when there are many connections that do nothing."""

import asyncio

from net.echo import Echo, listen
from net.tcp_echo import Echoing, protocol_server

from net import pyload

PATIENCE = 60  # seconds for all idle connections


class Counted(Echoing):
    made = 0

    def connection_made(self, transport):
        super().connection_made(transport)
        Counted.made += 1


class Growth(Echo):
    """A message of 1 KiB echoed to 16 connections among `idle` others."""

    has_floor = False

    def __init__(self, idle):
        super().__init__(protocol_server(Counted), 1, "growth.connections", f"TCP echo among {idle:,}")
        self.name = f"growth.connections_{idle}"
        self.operation += f", {idle:,} others idle"
        self.idle = idle

    async def measure(self, seconds, operations):
        pyload.allow_many_files()
        listening = listen()
        listening.listen(4096)
        port = listening.getsockname()[1]
        async with self.serve(listening):
            with pyload.peer(port, "idle", self.idle, self.load_core):
                async with asyncio.timeout(PATIENCE):
                    while Counted.made < self.idle:
                        await asyncio.sleep(0.02)
                return await asyncio.to_thread(self.drive, port, seconds, operations)


connections = [Growth(idle) for idle in (10, 1_000, 10_000)]
