"""Random programs of tasks, futures, cancellations and callbacks run exactly as on stock asyncio.

A program draws its next step from a generator of random numbers while it runs, and notes everything it sees. If
anything is scheduled in another order, the notes differ from there on.
"""

import asyncio
import random
import sys

import pytest

STEPS = 12
TURNS = 300


class Program:
    def __init__(self, seed, loop, futures, tasks):
        self.rng = random.Random(seed)
        self.loop = loop
        self.future_kinds = futures
        self.task_kinds = tasks
        self.notes = []
        self.tasks = []
        self.futures = [self.make_future() for _ in range(3)]

    def note(self, *what):
        current = asyncio.current_task(self.loop)
        self.notes.append((current and current.get_name(), *what))

    def make_future(self):
        return self.rng.choice(self.future_kinds)(loop=self.loop)

    def make_task(self, depth):
        name = f"task {len(self.tasks)}"
        eager = {"eager_start": True} if sys.version_info >= (3, 12) and self.rng.random() < 0.2 else {}
        # The place in the list is taken before the task exists: an eager one makes others meanwhile.
        self.tasks.append(None)
        place = len(self.tasks) - 1
        task = self.rng.choice(self.task_kinds)(self.work(depth), loop=self.loop, name=name, **eager)
        self.tasks[place] = task
        return task

    def any_task(self):
        return self.rng.choice([task for task in self.tasks if task is not None] or [self.make_task(3)])

    def called(self, future):
        self.note("called", future.done() and not future.cancelled() and repr(future.exception()))

    def run(self):
        for _ in range(3):
            self.make_task(0)
        for _ in range(TURNS):
            self.turn()
            if self.rng.random() < 0.1:
                self.meddle()
        for _ in range(50):
            pending = [task for task in self.tasks if not task.done()]
            for task in pending:
                self.note("cancel", task.get_name(), task.cancel())
            self.turn()
        for task in self.tasks:
            ending = "cancelled" if task.cancelled() else repr(task.exception()) if task.done() else "pending"
            self.note(task.get_name(), ending, task.cancelling())
            task._log_destroy_pending = False
        for future in self.futures:
            future._log_traceback = False
        return self.notes

    def turn(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def meddle(self):
        """What callbacks and tasks do to others."""
        match self.rng.randrange(7):
            case 0:
                self.note("cancel", self.any_task().cancel(self.rng.choice(["x", None, 7])))
            case 1 | 2:
                future = self.futures.pop(self.rng.randrange(len(self.futures)))
                self.futures.append(self.make_future())
                match 0 if future.done() else self.rng.randrange(3):  # a task that waited for it may have cancelled it
                    case 0:
                        self.note("cancel future", future.cancel("future"))
                    case 1:
                        future.set_exception(ValueError(len(self.notes)))
                        future._log_traceback = False
                    case 2:
                        future.set_result(len(self.notes))
            case 3:
                self.any_task().add_done_callback(self.called)
            case 4:
                self.rng.choice(self.futures).add_done_callback(self.called)
            case 5:
                self.loop.call_soon(self.note, "call_soon")
            case 6:
                self.loop.call_soon(self.meddle)

    async def wait(self, depth):
        match self.rng.randrange(9):
            case 0 | 1:
                return await asyncio.sleep(0, "slept")
            case 2 | 3:
                return await self.rng.choice(self.futures)
            case 4 if depth < 3:
                return await self.make_task(depth + 1)
            case 5 if depth < 3:
                children = [self.make_task(depth + 1) for _ in range(2)]
                return len(await asyncio.gather(*children, return_exceptions=self.rng.random() < 0.5))
            case 6:
                return await asyncio.shield(self.rng.choice(self.futures))
            case 7 if depth < 3:
                return await self.work(depth + 1)
            case 8:
                both = [self.any_task(), self.rng.choice(self.futures)]
                done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                return len(done), len(pending)

    async def work(self, depth):
        for _ in range(self.rng.randrange(STEPS)):
            self.meddle()
            try:
                self.note("got", repr(await self.wait(depth)))
            except RuntimeError as exc:  # a task that waits for itself
                self.note("error", str(exc).split(":")[0])
            except (ValueError, asyncio.CancelledError) as exc:
                me = asyncio.current_task()
                self.note("raised", type(exc).__name__, exc.args, me.cancelling())
                if self.rng.random() < 0.5:
                    raise
                self.note("uncancel", me.uncancel())
        return depth


def run_program(seed, loop, futures, tasks):
    errors = []
    loop.set_exception_handler(lambda loop, context: errors.append(context["message"].split()[0]))
    notes = Program(seed, loop, futures, tasks).run()
    return notes, len(errors) > 0


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("mixed", [False, True], ids=["own", "mixed"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_same_notes_as_stock(loop, Future, Task, seed, mixed):
    stock_loop = asyncio.SelectorEventLoop()
    futures, tasks = ([Future, asyncio.Future], [Task, asyncio.Task]) if mixed else ([Future], [Task])
    try:
        got = run_program(seed, loop, futures, tasks)
        stock = [asyncio.Future] * len(futures), [asyncio.Task] * len(tasks)
        expected = run_program(seed, stock_loop, *stock)
    finally:
        stock_loop.close()
    assert got == expected
