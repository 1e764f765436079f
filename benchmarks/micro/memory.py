"""What a waiting task costs in memory."""

import asyncio
import gc
import os
import time

from case import Case, Result

TASKS = 100_000


def resident_bytes(pid="self"):
    """Return how much memory a process has in RAM; by default this one."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class PendingTask(Case):
    """Resident bytes of tasks that wait on futures of their own; a process can tell this once only."""

    unit = "bytes"

    def run(self, new_loop, seconds, operations=None):
        loop = new_loop()
        try:
            return loop.run_until_complete(self.measure(loop, operations or TASKS))
        finally:
            loop.close()

    def figure(self, result):
        return result.resident / result.operations

    async def measure(self, loop, count):
        async def wait():
            await loop.create_future()

        async def end(tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await end([loop.create_task(wait()) for _ in range(100)])  # what the first tasks import and cache is not theirs
        tasks = [None] * count
        gc.collect()
        before, cpu, wall = resident_bytes(), time.process_time(), time.perf_counter()
        for i in range(count):
            tasks[i] = loop.create_task(wait())
        await asyncio.sleep(0)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.collect()
        resident = resident_bytes() - before
        await end(tasks)
        return Result(count, cpu, wall, resident)


pending_task = PendingTask(
    "memory.pending_task", "bytes per pending task", "a task that waits on a future of its own, 100,000 of them"
)
