"""Producers and consumers around an asyncio.Queue, in TaskGroups.

python examples/producer_consumer.py             Ctrl-C stops the producers; what they made is still consumed
python examples/producer_consumer.py --pause 0   pauses of one turn of the loop: shows how fast it is

The queue is bounded: producers that are too fast wait in put(), so memory stays bounded too.
"""

import argparse
import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from loops import add_loop_option, run


@dataclass
class Statistics:
    produced: Counter = field(default_factory=Counter)  # producer -> items
    consumed: Counter = field(default_factory=Counter)  # consumer -> items
    longest_queue: int = 0
    waited: float = 0.0  # seconds in the queue, of all items together
    longest_wait: float = 0.0

    def note_consumed(self, consumer, waited):
        self.consumed[consumer] += 1
        self.waited += waited
        self.longest_wait = max(self.longest_wait, waited)


async def produce(name, queue, items, pause, stop, statistics):
    """Put `items` things into the queue, or fewer if `stop` is set before."""
    for _ in range(items):
        if stop.is_set():
            return
        await work(pause)
        await queue.put(time.perf_counter())
        statistics.produced[name] += 1
        statistics.longest_queue = max(statistics.longest_queue, queue.qsize())


async def consume(name, queue, pause, statistics):
    """Take things from the queue until a None comes."""
    while (made_at := await queue.get()) is not None:
        statistics.note_consumed(name, time.perf_counter() - made_at)
        await work(pause)


async def work(pause):
    """Stand in for whatever takes time, `pause` seconds on average: a request, a query, a file."""
    await asyncio.sleep(random.uniform(0, 2 * pause))


async def run_all(args):
    """Run producers and consumers to their end; return the Statistics."""
    statistics = Statistics()
    queue = asyncio.Queue(args.queue_size)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)

    async with asyncio.TaskGroup() as consumers:
        for number in range(args.consumers):
            consumers.create_task(consume(f"consumer {number + 1}", queue, args.pause * 2, statistics))

        async with asyncio.TaskGroup() as producers:
            for number in range(args.producers):
                items = share(args.items, args.producers, number)
                producers.create_task(produce(f"producer {number + 1}", queue, items, args.pause, stop, statistics))

        # The inner group has ended, so nothing more will come: one None for each consumer, behind the last item.
        # (From Python 3.13 on, queue.shutdown() says the same.)
        for _ in range(args.consumers):
            await queue.put(None)

    if stop.is_set():
        print("Stopped early; everything that was produced has been consumed.")
    return statistics


def share(items, shares, number):
    """Return how many of the items fall to the share with this number, as evenly as it goes."""
    return items // shares + (number < items % shares)


def show(statistics, seconds):
    items = statistics.consumed.total()
    for counts in (statistics.produced, statistics.consumed):
        for name in sorted(counts, key=lambda name: int(name.split()[1])):
            print(f"  {name:<12} {counts[name]:>9,}")
    print(f"Produced {statistics.produced.total():,}, consumed {items:,} in {seconds:.2f} s: ", end="")
    print(f"{items / seconds:,.0f} a second.")
    if items:
        mean = statistics.waited / items
        print(
            f"Waiting in the queue: {mean * 1000:.2f} ms on average, {statistics.longest_wait * 1000:.2f} ms at most; "
            f"at most {statistics.longest_queue} at once."
        )


def main():
    parser = argparse.ArgumentParser(description="Producers and consumers around a queue.")
    add_loop_option(parser)
    parser.add_argument("--items", type=int, metavar="N", default=5000, help="to produce (default: %(default)s)")
    parser.add_argument("--producers", type=int, metavar="N", default=3, help="(default: %(default)s)")
    parser.add_argument("--consumers", type=int, metavar="N", default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--queue-size", type=int, metavar="N", default=100, help="items that may wait (default: %(default)s)"
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=0.001,
        metavar="SECONDS",
        help="to make an item; twice that to use it (default: %(default)s)",
    )
    args = parser.parse_args()
    if min(args.items, args.producers, args.consumers, args.queue_size) < 1 or args.pause < 0:
        parser.error("numbers must be at least 1, the pause not negative")
    print(f"{args.producers} producers, {args.consumers} consumers, {args.items:,} items on {args.loop}.", flush=True)
    started = time.perf_counter()
    statistics = run(run_all(args), args.loop)
    show(statistics, time.perf_counter() - started)


if __name__ == "__main__":
    main()
