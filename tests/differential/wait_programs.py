"""Programs of tasks that wait with time limits and for one another, as plain data, and what runs them.

    {"bodies": [body, ...], "script": [op, ...]}        body = [op, ...]

An op of a body is a tuple: a name and its arguments, which are small numbers and bodies. A task runs a body. The script
is what the owner of the loop does: start tasks, turn the loop, move its clock, cancel. Each result and exception is
noted, with the exceptions behind it and how often the task was asked to cancel.

To see a program again: python tests/differential/wait_programs.py asyncio|asyncloop|... "{'bodies': ...}"
"""

import asyncio
import contextlib
import gc
import re
import sys

import asyncloop

MESSAGES = [None, "one", "two"]
DELAYS = [0, -1, None, 1, 2, 1000, 1e-9]  # of timeouts; the clock stands still, unless the script moves it


class Odd(BaseException):
    pass


EXCEPTIONS = [ValueError, asyncio.CancelledError, Odd, TimeoutError, KeyboardInterrupt, GeneratorExit]


class Clock:
    """A loop's clock that stands still."""

    now = 100.0

    def time(self):
        return self.now


def clocked(loop_class):
    return type("Clocked", (Clock, loop_class), {})


# The module whose functions are used, the class of the loop, and whether its clock is ours to move.
KINDS = {
    "asyncio": (asyncio, asyncio.SelectorEventLoop),
    "asyncloop": (asyncloop, asyncloop.Loop),
    "mixed": (asyncloop, asyncio.SelectorEventLoop),
    "asyncio clocked": (asyncio, clocked(asyncio.SelectorEventLoop)),
    "asyncloop clocked": (asyncloop, clocked(asyncloop.Loop)),
    "mixed clocked": (asyncloop, clocked(asyncio.SelectorEventLoop)),
}


class Program:
    def __init__(self, program, kind):
        self.module, loop_class = KINDS[kind]
        self.program = program
        self.trace = []
        self.loop = loop_class()
        self.loop.set_exception_handler(
            lambda loop, context: self.note("", "report", describe(context.get("exception")))
        )
        self.is_clocked = isinstance(self.loop, Clock)
        self.tasks, self.timeouts, self.futures, self.groups = [], [], [], []

    def note(self, *what):
        self.trace.append(what)

    def delay(self, index):
        delay = DELAYS[index % len(DELAYS)]
        return 1000 if delay in (1, 2) and not self.is_clocked else delay

    # --- what tasks do -----------------------------------------------------------------------------------------------

    async def run_body(self, label, body):
        result = None
        for i, (name, *arguments) in enumerate(body):
            here = f"{label}.{i}"
            try:
                result = await getattr(self, f"do_{name}")(here, *arguments)
            except BaseException as exc:
                self.note(here, name, describe(exc), asyncio.current_task().cancelling())
                raise
            self.note(here, name, repr_of(result), asyncio.current_task().cancelling())
        return result

    async def do_turns(self, here, count):
        for _ in range(count):
            await asyncio.sleep(0)
        return count

    async def do_sleep(self, here, delay):
        if self.delay(delay) is None:
            return await self.module.sleep(0, "slept")
        return await self.module.sleep(self.delay(delay), "slept")

    async def do_timeout(self, here, delay, body):
        timeout = self.module.timeout(self.delay(delay))
        self.timeouts.append(timeout)
        try:
            async with timeout as entered:
                self.note(here, entered is timeout, look(timeout))
                return await self.run_body(here, body)
        finally:
            self.note(here, look(timeout))

    async def do_wait_for(self, here, delay, body):
        return await self.module.wait_for(self.run_body(here, body), self.delay(delay))

    async def do_wait_for_task(self, here, delay, body):
        task = self.loop.create_task(self.run_body(here, body), name=f"{here}w")
        self.tasks.append(task)
        return await self.module.wait_for(task, self.delay(delay))

    async def do_wait_for_future(self, here, delay):
        future = self.loop.create_future()
        self.futures.append(future)
        return await self.module.wait_for(future, self.delay(delay))

    async def do_group(self, here, bodies, body):
        group = self.module.TaskGroup()
        self.groups.append(group)
        try:
            async with group as entered:
                self.note(here, entered is group, look_at_group(group))
                for i, one in enumerate(bodies):
                    self.tasks.append(group.create_task(self.run_body(f"{here}t{i}", one), name=f"{here}t{i}"))
                return await self.run_body(here, body)
        finally:
            self.note(here, look_at_group(group))

    async def do_gather(self, here, bodies, which):
        """Of coroutines, tasks and a future, perhaps one of them twice."""
        things = [self.run_body(f"{here}g{i}", one) for i, one in enumerate(bodies)]
        if which & 1:
            things = [self.loop.create_task(one, name=f"{here}g{i}") for i, one in enumerate(things)]
        if which & 2 and things:
            things.append(things[0])
        if which & 4:
            self.futures.append(self.loop.create_future())
            things.append(self.futures[-1])
        if which & 8:
            await asyncio.sleep(0)  # some are done
        outer = self.module.gather(*things, return_exceptions=bool(which & 16))
        self.note(here, type(outer).__name__, len(getattr(outer, "_children", ())))
        result = await outer
        return [describe(one) if isinstance(one, BaseException) else one for one in result]

    async def do_shield(self, here, which, body):
        """Of a coroutine, a task or a future, perhaps of one that others wait for."""
        kind = which % 4
        inner = self.run_body(f"{here}s", body) if kind < 2 else self.loop.create_future()
        if kind == 1:
            inner = self.loop.create_task(inner, name=f"{here}s")
            self.tasks.append(inner)
        elif kind == 2:
            self.futures.append(inner)
        elif kind == 3:
            inner = (self.tasks or [inner])[(which >> 2) % max(len(self.tasks), 1)]
        if which & 16:
            await asyncio.sleep(0)  # it may be done
        outer = self.module.shield(inner)
        self.note(here, outer is inner, outer.done())
        return await outer

    async def do_wait(self, here, bodies, which, delay):
        """For tasks and a future, perhaps for one that others wait for."""
        things = [
            self.loop.create_task(self.run_body(f"{here}w{i}", one), name=f"{here}w{i}") for i, one in enumerate(bodies)
        ]
        self.tasks.extend(things)
        if which & 1:
            self.futures.append(self.loop.create_future())
            things.append(self.futures[-1])
        if which & 2 and self.tasks:
            things += [self.tasks[0]] * 2
        if which & 4:
            await asyncio.sleep(0)  # some are done
        make = (list, tuple, set, frozenset, iter, dict.fromkeys)[which % 6]
        when = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "WRONG")[which // 8 % 4]
        done, pending = await self.module.wait(make(things), timeout=self.delay(delay), return_when=when)
        return sorted(map(name_of, done)), sorted(map(name_of, pending))

    async def do_join(self, here, which, body):
        """A task in a group that runs, perhaps in the group of another task."""
        if self.groups:
            coroutine = self.run_body(f"{here}j", body)
            try:
                self.tasks.append(self.groups[which % len(self.groups)].create_task(coroutine, name=f"{here}j"))
            except RuntimeError as exc:
                coroutine.close()
                self.note(here, describe(exc))

    async def do_cancel_group(self, here, which):
        if self.groups and hasattr(asyncio.TaskGroup, "cancel"):
            self.groups[which % len(self.groups)].cancel()

    async def do_catch(self, here, body):
        try:
            return await self.run_body(here, body)
        except (Exception, Odd, asyncio.CancelledError) as exc:
            return type(exc)

    async def do_finally(self, here, body, after):
        try:
            return await self.run_body(here, body)
        finally:
            await self.run_body(f"{here}f", after)

    async def do_raise(self, here, which):
        raise EXCEPTIONS[which % len(EXCEPTIONS)]("raised")

    async def do_cancel(self, here, message):
        return asyncio.current_task().cancel(MESSAGES[message % len(MESSAGES)])

    async def do_uncancel(self, here):
        return asyncio.current_task().uncancel()

    async def do_reschedule(self, here, which, delay):
        self.reschedule(which, delay)

    async def do_task(self, here, body):
        """A task of what sleep() and so on return."""
        return await self.loop.create_task(self.module.wait_for(self.run_body(here, body), 1000), name=f"{here}n")

    # --- what the script does -----------------------------------------------------------------------------------------

    def reschedule(self, which, delay):
        if self.timeouts:
            delay = self.delay(delay)
            timeout = self.timeouts[which % len(self.timeouts)]
            try:
                timeout.reschedule(None if delay is None else self.loop.time() + delay)
            except RuntimeError as exc:
                self.note("", "reschedule", describe(exc))

    def turn(self, count):
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            try:
                self.loop.run_forever()
            except BaseException as exc:
                self.note("", "loop", describe(exc))

    def perform(self, name, *arguments):
        if name == "turn":
            self.turn(*arguments)
        elif name == "spawn":
            bodies = self.program["bodies"]
            self.tasks.append(
                self.loop.create_task(
                    self.run_body(f"{len(self.tasks)}", bodies[arguments[0] % len(bodies)]), name=f"{len(self.tasks)}"
                )
            )
        elif name == "cancel" and self.tasks:
            which, message = arguments
            self.note("", "cancel", self.tasks[which % len(self.tasks)].cancel(MESSAGES[message % len(MESSAGES)]))
        elif name == "reschedule":
            self.loop.call_soon(self.reschedule, *arguments)
        elif name == "set" and self.futures:
            future = self.futures[arguments[0] % len(self.futures)]
            if not future.done():
                future.set_result("set")
        elif name == "advance" and self.is_clocked:
            self.loop.now += arguments[0]

    def run(self):
        try:
            for op in self.program["script"]:
                self.perform(*op)
                self.note("", [look(timeout) for timeout in self.timeouts])
                self.note("", sorted((task.get_name(), task.cancelling()) for task in self.tasks))
                self.note("", sorted(map(look_at_group, self.groups)))
            for _ in range(60):  # a body goes on after it was cancelled
                for task in sorted(asyncio.all_tasks(self.loop), key=number):
                    task.cancel()
                self.turn(2)
            for task in self.tasks:
                self.note(
                    task.get_name(),
                    task.done() and (task.cancelled() or describe(task.exception()) or repr_of(task.result())),
                )
            self.note("", len(asyncio.all_tasks(self.loop)), len(getattr(self.loop, "_scheduled", ())))
            self.tasks.clear()
            self.timeouts.clear()
            self.groups.clear()
            gc.collect()
        finally:
            self.loop.close()
        # A group cancels its tasks in any order, as they are in a set: what is noted of each task is compared.
        return sorted(self.trace, key=lambda what: what[0])


def name_of(future):
    return future.get_name() if isinstance(future, asyncio.Task) else "future"


def number(task):
    return task.get_name()


def look_at_group(group):
    return (
        re.sub(r"tasks=\d+", "tasks", repr(group)),
        group._entered,
        group._exiting,
        group._aborting,
        group._parent_cancel_requested,
        len(group._tasks),
        group._errors is None,
        len(group._errors or ()),
        group._base_error is None,
        group._on_completed_fut is None,
        group._parent_task is None,
    )


def look(timeout):
    when = timeout.when()
    return (
        re.sub(r"when=[\d.]+", "when", repr(timeout)),
        when is not None,
        timeout.expired(),
        timeout._timeout_handler is not None,
        timeout._task is not None,
        timeout._state,
    )


def repr_of(value):
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def describe(exc, depth=6):
    """An exception, and those behind it."""
    if exc is None or not depth:
        return None
    return (
        type(exc).__name__,
        re.sub(r"<(\S*\.)?(\w+) (object )?at 0x[0-9a-f]+", r"<\2", str(exc)),
        describe(exc.__cause__, depth - 1),
        describe(exc.__context__, depth - 1),
        exc.__suppress_context__,
        sorted([describe(one, depth - 1) for one in getattr(exc, "exceptions", ())], key=repr),
    )


def run(program, kind):
    with contextlib.closing(asyncio.new_event_loop()) as default:
        asyncio.set_event_loop(default)
        try:
            return Program(program, kind).run()
        finally:
            asyncio.set_event_loop(None)


if __name__ == "__main__":
    import ast

    for line in run(ast.literal_eval(sys.argv[2]), sys.argv[1]):
        print(line)
