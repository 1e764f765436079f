"""Programs of tasks that share locks and queues as plain data, and what runs them.

    {"sizes": [int, int, int], "bodies": [[op, ...], ...], "script": [op, ...]}

An op is a tuple: a name and its arguments, which are small numbers (any index is taken modulo what there is). A task
runs a body. The script is what the owner of the loop does: start tasks, turn the loop, cancel, and step coroutines by
hand. Each result and exception is noted, and after each op of the script all that can be seen of the primitives.

To see a program again: python tests/differential/primitive_programs.py asyncio|asyncloop|mixed "{'sizes': ...}"
"""

import asyncio
import gc
import re
import sys

import asyncloop

KINDS = {
    "asyncio": (asyncio, asyncio.SelectorEventLoop),
    "asyncloop": (asyncloop, asyncloop.new_event_loop),
    "mixed": (asyncloop, asyncio.SelectorEventLoop),
}
EXCEPTIONS = [ValueError, asyncio.CancelledError, KeyError, GeneratorExit, TimeoutError]
SHUTS_DOWN = hasattr(asyncio.Queue, "shutdown")


class Unique:
    """The hooks of a queue that keeps each item once."""

    def _init(self, maxsize):
        self._queue = {}

    def _put(self, item):
        if item == 5:
            raise LookupError(item)
        self._queue[item] = None

    def _get(self):
        return self._queue.popitem()[0]


class Loud:
    """Methods of a queue that a subclass overrides."""

    def put_nowait(self, item):
        return super().put_nowait(item + 100)

    def full(self):
        return super().full()


def look(op):
    """What can be seen of a primitive."""
    shown = re.sub(r"<(\S*\.)?(\w+) (object )?at 0x[0-9a-f]+", r"<\2", repr(op))
    private = [
        (name, len(waiters) if (waiters := getattr(op, name)) is not None else None)
        for name in ("_waiters", "_getters", "_putters")
        if hasattr(op, name)
    ]
    numbers = [
        (name, getattr(op, name))
        for name in ("_value", "_locked", "_unfinished_tasks", "_maxsize")
        if hasattr(op, name)
    ]
    return shown, private, numbers, getattr(op, "_loop", None) is not None


class Program:
    def __init__(self, program, kind):
        module, loop_factory = KINDS[kind]
        self.program = program
        self.trace = []
        self.loop = loop_factory()
        self.loop.set_exception_handler(lambda loop, context: self.note("report", type(context.get("exception"))))
        places, bound, maxsize = program["sizes"]
        self.locks = [module.Lock(), module.Semaphore(places), module.BoundedSemaphore(bound), module.Condition()]
        self.locks.append(module.Condition(self.locks[0]))
        self.events = [module.Event(), module.Event()]
        self.barrier = module.Barrier(2)
        unique = type("UniqueQueue", (Unique, module.Queue), {})
        loud = type("LoudQueue", (Loud, module.Queue), {})
        self.queues = [
            cls(size)
            for cls, size in (
                (module.Queue, maxsize),
                (module.Queue, 0),
                (module.PriorityQueue, maxsize),
                (module.LifoQueue, maxsize),
                (unique, maxsize),
                (loud, maxsize),
            )
        ]
        self.tasks, self.coroutines = [], []

    def note(self, *what):
        self.trace.append(what)

    # --- what tasks do -----------------------------------------------------------------------------------------------

    def method(self, name, index, argument=0):
        """The bound call that an op means."""
        lock = self.locks[index % len(self.locks)]
        queue = self.queues[index % len(self.queues)]
        event = self.events[index % len(self.events)]
        condition = self.locks[3 + index % 2]
        return {
            "acquire": lambda: lock.acquire(),
            "wait": lambda: event.wait(),
            "condition": lambda: condition.wait(),
            "barrier": lambda: self.barrier.wait(),
            "put": lambda: queue.put(argument),
            "get": lambda: queue.get(),
            "join": lambda: queue.join(),
            "enter": lambda: lock.__aenter__(),
            "leave": lambda: lock.__aexit__(None, None, None),
            "reset": lambda: self.barrier.reset(),
            "abort": lambda: self.barrier.abort(),
            "release": lambda: lock.release(),
            "locked": lambda: lock.locked(),
            "set": lambda: event.set(),
            "clear": lambda: event.clear(),
            "notify": lambda: condition.notify(argument),
            "notify_all": lambda: condition.notify_all(),
            "put_nowait": lambda: queue.put_nowait(argument),
            "get_nowait": lambda: queue.get_nowait(),
            "task_done": lambda: queue.task_done(),
            "full": lambda: (queue.full(), queue.empty(), queue.qsize()),
            "shutdown": lambda: SHUTS_DOWN and queue.shutdown(bool(argument % 2)),
            "value": lambda: setattr(lock, "_value", argument) if hasattr(lock, "_value") else None,
        }[name]

    async def run_body(self, name, body):
        for op in body:
            try:
                if op[0] == "sleep":
                    result = await asyncio.sleep(0)
                elif op[0] == "with":
                    lock = self.locks[op[1] % len(self.locks)]
                    async with lock:
                        self.note(name, "has", op[1] % len(self.locks))
                        for _ in range(op[2]):
                            await asyncio.sleep(0)
                    result = None
                elif op[0] in WAITS:
                    result = await self.method(*op)()
                else:
                    result = self.method(*op)()
            except (Exception, asyncio.CancelledError) as exc:
                self.note(name, op[0], describe(exc))
            else:
                self.note(name, op[0], result)

    # --- what the script does -----------------------------------------------------------------------------------------

    def perform(self, op):
        name, *args = op
        if name == "turn":
            for _ in range(args[0]):
                self.loop.call_soon(self.loop.stop)
                self.loop.run_forever()
        elif name == "spawn":
            bodies = self.program["bodies"]
            label = f"task {len(self.tasks)}"
            self.tasks.append(self.loop.create_task(self.run_body(label, bodies[args[0] % len(bodies)])))
        elif name == "task":  # of the coroutine itself
            self.tasks.append(self.loop.create_task(self.method(*args)()))
        elif name == "cancel" and self.tasks:
            self.note("cancel", self.tasks[args[0] % len(self.tasks)].cancel(args[1] or None))
        elif name == "begin":
            self.coroutines.append(self.method(*args)())
        elif name in ("send", "throw", "close", "drop") and self.coroutines:
            self.step(name, args[0] % len(self.coroutines), args[1])
        elif name not in ("cancel", "send", "throw", "close", "drop"):
            self.note(name, self.method(name, *args)())

    def step(self, name, index, which):
        coroutine = self.coroutines[index]

        async def go():  # within the loop, as it may ask for it
            if name == "drop":
                del self.coroutines[index]
            elif name == "send":
                yielded = coroutine.send(None)
                self.note("yields", asyncio.isfuture(yielded) and yielded.done())
            elif name == "throw":
                coroutine.throw(EXCEPTIONS[which % len(EXCEPTIONS)]("x"))
            else:
                self.note("closed", coroutine.close())

        try:
            driver = go()
            self.loop.call_soon(self.drive, driver)
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        finally:
            driver.close()

    def drive(self, driver):
        try:
            driver.send(None)
        except StopIteration:
            pass
        except RuntimeError as exc:  # StopIteration of the coroutine, or its own
            self.note("step", describe(exc.__cause__ or exc))
        except BaseException as exc:
            self.note("step", describe(exc))

    def run(self):
        try:
            for op in self.program["script"]:
                try:
                    self.perform(op)
                except Exception as exc:
                    self.note(op[0], describe(exc))
                self.note([look(one) for one in (*self.locks, *self.events, *self.queues)], self.barrier.n_waiting)
            self.coroutines.clear()
            for _ in range(40):  # a body goes on after it was cancelled
                for task in self.tasks:
                    task.cancel()
                self.perform(("turn", 2))
            for task in self.tasks:
                self.note(task.done() and (task.cancelled() or describe(task.exception()) or task.result()))
            self.note(len(asyncio.all_tasks(self.loop)))
            self.tasks.clear()
            gc.collect()
        finally:
            self.loop.close()
        return self.trace


def describe(exc):
    if exc is None:
        return None
    message = re.sub(r"<(\S*\.)?(\w+) (object )?at 0x[0-9a-f]+", r"<\2", str(exc))
    context = exc.__context__
    return type(exc).__name__, message, type(context).__name__ if context is not None else None, stopped(exc)


def stopped(exc):
    return exc.value if isinstance(exc, StopIteration) else None


WAITS = ("acquire", "wait", "condition", "barrier", "put", "get", "join", "enter", "leave", "reset", "abort")


def run(program, kind):
    return Program(program, kind).run()


if __name__ == "__main__":
    import ast

    for line in run(ast.literal_eval(sys.argv[2]), sys.argv[1]):
        print(line)
