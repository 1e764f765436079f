"""Programs of one StreamReader, what feeds it and the tasks that read from it, as plain data; and what runs them.

    {"limit": int, "pausable": bool, "script": [op, ...]}

    ("feed", size, seed)        feed_data(); the bytes have newlines
    ("eof",), ("exception",)    feed_eof(), set_exception()
    ("read", method, argument)  a new task that calls the method
    ("cancel", i), ("turn", n)  of the i-th task, of the loop
    ("look",), ("hold",), ("drop",), ("extend", size), ("set", size)    what programs do with _buffer
    ("state",)                  note what the reader shows

To see a program again: PYTHONPATH=tests/shared python tests/differential/reader_programs.py "{'limit': ...}"
"""

import asyncio
import random
import sys

import tracing

METHODS = ["read", "readexactly", "readuntil", "readline", "__anext__"]
SEPARATORS = [b"\n", b"\n\n", b"a\n", b"", bytearray(b"b")] + [(b"\n", b"ab")] * (sys.version_info >= (3, 13))


def message(size, seed):
    return bytes(random.Random(seed).choices(b"aab\n", k=size))


class Transport:
    def __init__(self, note, pausable):
        self.note = note
        self.pausable = pausable

    def pause_reading(self):
        self.note("pause")
        if not self.pausable:
            raise NotImplementedError

    def resume_reading(self):
        self.note("resume")


class Program:
    def __init__(self, program, reader, note):
        self.program = program
        self.reader = reader
        self.note = note
        self.tasks = []
        self.held = None
        reader.set_transport(Transport(note, program["pausable"]))

    async def run(self):
        for op in self.program["script"]:
            try:
                result = await getattr(self, "op_" + op[0])(*op[1:])
                if result is not None:
                    self.note(op[0], tracing.describe(result))
            except Exception as exc:
                self.note(op[0], tracing.describe(exc))
        await self.op_turn(3)
        for task in self.tasks:
            task.cancel()
        await self.op_turn(3)
        await self.op_state()

    async def op_feed(self, size, seed):
        return self.reader.feed_data(message(size, seed))

    async def op_eof(self):
        self.reader.feed_eof()

    async def op_exception(self):
        self.reader.set_exception(OSError("gone"))

    async def read(self, number, method, argument):
        try:
            if method in ("readline", "__anext__"):
                result = await getattr(self.reader, method)()
            elif method == "readuntil":
                result = await self.reader.readuntil(SEPARATORS[argument % len(SEPARATORS)])
            else:
                result = await getattr(self.reader, method)(argument)
        except BaseException as exc:
            partial = getattr(exc, "partial", None), getattr(exc, "consumed", None)
            self.note("raised", number, tracing.describe(exc), partial)
            raise
        self.note("read", number, result)

    async def op_read(self, method, argument):
        self.tasks.append(asyncio.get_running_loop().create_task(self.read(len(self.tasks), method, argument)))
        self.tasks[-1].add_done_callback(lambda task: task.cancelled() or task.exception())

    async def op_cancel(self, i):
        if self.tasks:
            return self.tasks[i % len(self.tasks)].cancel()

    async def op_turn(self, count):
        for _ in range(count):
            await asyncio.sleep(0)
        self.note("turn")

    async def op_look(self):
        return bytes(self.reader._buffer)

    async def op_hold(self):
        self.held = self.reader._buffer

    async def op_drop(self):
        self.held = None

    async def op_extend(self, size):
        self.reader._buffer.extend(message(size, size))

    async def op_set(self, size):
        self.reader._buffer = bytearray(message(size, size))

    async def op_state(self):
        reader = self.reader
        self.note(repr(reader._eof), reader._paused, reader.at_eof(), tracing.describe(reader.exception()))
        self.note(reader._waiter is None, reader._transport is None, self.held is not None and bytes(self.held))
        self.note("repr", tracing.plain(repr(reader)))


def traced(program, loop_class, reader_class):
    """Run a program, and return what it noted."""

    def run(note):
        loop = loop_class()
        try:
            reader = reader_class(program["limit"], loop)
            loop.run_until_complete(Program(program, reader, lambda *what: note(*what)).run())
        finally:
            loop.close()

    return tracing.traced(run)


if __name__ == "__main__":
    import asyncloop

    tracing.show(
        lambda program, kind: traced(
            program, kind.loop, asyncio.StreamReader if kind is tracing.STOCK else asyncloop.StreamReader
        ),
        sys.argv[1],
    )
