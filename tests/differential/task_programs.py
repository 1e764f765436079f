"""Programs of tasks, futures, callbacks and timers as plain data, and what runs them.

    {"bodies": [[op, ...], ...], "callbacks": [[op, ...], ...], "script": [op, ...], "debug": bool}

An op is a tuple: a name and its arguments, which are small numbers (any index is taken modulo what there is) or lists
of ops. A task runs a body, a callback one of the callbacks, and the script is what the owner of the loop does:
turning it, and moving its clock. Time is the program's, so nothing waits and deadlines come in a certain order.

To see a program again: PYTHONPATH=tests/shared python tests/differential/task_programs.py KIND "{'bodies': ...}"
"""

import asyncio
import contextvars
import gc
import sys

import stock
import tracing

# Ops that a program may run, for programs that make themselves longer and longer. Few enough that eager tasks which
# start one another stay away from the recursion limit: who reaches it first is not defined.
FUEL = 100
VAR = contextvars.ContextVar("VAR", default=0)


class Odd(BaseException):
    """A BaseException that is neither of the two that stop a loop."""


EXCEPTIONS = [ValueError, asyncio.CancelledError, Odd, KeyboardInterrupt, TimeoutError, StopIteration, SystemExit]
MESSAGES = [None, "message", 7]


class Yield:
    """Awaiting it hands the task something that is no future, or the same one twice."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        return (yield self.value)


def is_entered(context):
    """Whether the context is in use: a stock task that starts eagerly in one stays the current task for ever."""
    try:
        context is None or context.run(int)
    except RuntimeError:
        return True
    return False


class OrderedSet(dict):
    """What stands in for a set of tasks: the order in which a group aborts its tasks is that of their addresses."""

    def add(self, task):
        self[task] = None

    def discard(self, task):
        self.pop(task, None)


class Program:
    def __init__(self, program, kind, note):
        self.program = program
        self.kind = kind
        self.note_plain = note
        self.fuel = FUEL
        self.now = 100.0
        self.loop = kind.loop()
        self.loop.time = lambda: self.now
        self.loop.set_exception_handler(self.on_exception)
        self.loop.set_debug(program["debug"])
        self.loop.slow_callback_duration = 1e9
        self.made = self.delays = 0
        self.finalised = []
        self.tasks, self.futures, self.handles, self.contexts = [], [], [], []
        self.lock, self.event, self.queue = asyncio.Lock(), asyncio.Event(), asyncio.Queue(2)
        self.semaphore, self.condition = asyncio.Semaphore(1), asyncio.Condition()
        self.futures += [self.new_future(0), self.new_future(1)]
        self.callbacks = [self.make_callback(ops) for ops in program["callbacks"]]

    # What everybody uses.

    def note(self, *what):
        try:
            task = asyncio.current_task(self.loop)
        except RuntimeError:
            task = None
        self.note_plain(task and tracing.plain(task.get_name()), VAR.get(), *what)

    def on_exception(self, loop, context):
        exc = context.get("exception")
        what = "handler", sorted(context), tracing.plain(context["message"]), exc and tracing.describe(exc)
        if "destroyed" in context["message"] or "never retrieved" in context["message"]:
            # When an object goes is nobody's promise: tracebacks with frames, which C has not, keep some a while.
            self.finalised.append(what)
        else:
            self.note_plain(*what)

    def new_future(self, which):
        return self.kind.futures[which % 2](loop=self.loop)

    def pick(self, things, index):
        return things[index % len(things)] if things else None

    def waitable(self, ref):
        """Tasks and futures are named by (is it a task, index)."""
        is_task, index = ref
        return (is_task and self.pick(self.tasks, index)) or self.pick(self.futures, index)

    def awaitable(self, ref):
        """Like waitable(), but a younger task: cancel() recurses for ever where tasks wait in a circle."""
        is_task, index = ref
        me = int(asyncio.current_task(self.loop).get_name()[1:])
        younger = [task for task in self.tasks if task is not None and int(task.get_name()[1:]) > me]
        return (is_task and self.pick(younger, index)) or self.pick(self.futures, index)

    def context(self, which):
        if which == 0:
            return None
        while len(self.contexts) < which:
            context = contextvars.Context()
            context.run(VAR.set, 1000 + len(self.contexts))
            self.contexts.append(context)
        return self.contexts[which - 1]

    def make_callback(self, ops):
        def callback(*args):
            self.note("callback", [tracing.describe(arg) for arg in args])
            self.sync(ops)

        return callback

    def spawn(self, body, which, context, how):
        self.made += 1
        coro = self.work(self.pick(self.program["bodies"], body))
        # Each has a name: otherwise it is numbered by a counter of the implementation.
        kwargs = {"context": self.context(context), "name": f"T{self.made}"}
        if how == 2 and sys.version_info >= (3, 12) and not is_entered(kwargs["context"]):
            kwargs["eager_start"] = True
        try:
            task = self.kind.tasks[which % 2](coro, loop=self.loop, **kwargs)
        except BaseException:
            coro.close()
            raise
        self.tasks.append(task)
        return task

    def distinct(self, delay):
        """A delay of its own, as the order of equal deadlines is undefined (documentation of call_later())."""
        self.delays += 1
        return None if delay is None else delay + self.delays * 2**-20

    # Ops that do not wait.

    def sync(self, ops):
        for op in ops:
            if self.fuel == 0:
                return
            self.fuel -= 1
            name, *args = op
            try:
                result = getattr(self, "op_" + name)(*args)
            except (RuntimeError, asyncio.InvalidStateError, asyncio.QueueFull, asyncio.QueueEmpty) as exc:
                self.note(name, tracing.describe(exc))
            else:
                self.note(name, tracing.describe(result))

    def op_future(self, which):
        self.futures.append(self.new_future(which))

    def op_create_future(self):
        self.futures.append(self.loop.create_future())

    def op_spawn(self, body, which, context, how):
        self.spawn(body, which, context, how)

    def op_create_task(self, body):
        self.made += 1
        coro = self.work(self.pick(self.program["bodies"], body))
        try:
            self.tasks.append(self.loop.create_task(coro, name=f"C{self.made}"))
        except BaseException:
            coro.close()
            raise

    def op_factory(self, which):
        def factory(loop, coro, **kwargs):
            return self.kind.tasks[0](coro, loop=loop, **kwargs)

        eager = [asyncio.eager_task_factory] if sys.version_info >= (3, 12) else []
        self.loop.set_task_factory(self.pick([None, factory, *eager], which))

    def op_cancel(self, ref, message):
        message = MESSAGES[message]
        return self.waitable(ref).cancel(*([] if message is None else [message]))

    def op_set_result(self, index, value):
        self.pick(self.futures, index).set_result(value)

    def op_set_exception(self, index, which):
        exception = EXCEPTIONS[which]
        if exception is StopIteration:
            try:
                self.pick(self.futures, index).set_exception(exception)
            except TypeError as exc:
                return tracing.describe(exc)
        self.pick(self.futures, index).set_exception(exception(index))
        return None

    def op_look(self, ref):
        waitable = self.waitable(ref)
        return waitable.done(), waitable.cancelled(), repr(waitable)

    def op_result(self, ref):
        try:
            return self.waitable(ref).result()
        except BaseException as exc:
            if isinstance(exc, asyncio.InvalidStateError):
                raise
            return tracing.describe(exc)

    def op_exception(self, ref):
        try:
            return tracing.describe(self.waitable(ref).exception())
        except asyncio.CancelledError as exc:
            return tracing.describe(exc)

    def op_add_done_callback(self, ref, callback, context):
        self.waitable(ref).add_done_callback(self.pick(self.callbacks, callback), context=self.context(context))

    def op_remove_done_callback(self, ref, callback):
        return self.waitable(ref).remove_done_callback(self.pick(self.callbacks, callback))

    def op_call_soon(self, callback, context):
        self.handles.append(self.loop.call_soon(self.pick(self.callbacks, callback), 1, context=self.context(context)))

    def op_call_soon_threadsafe(self, callback, context):
        call = self.loop.call_soon_threadsafe
        self.handles.append(call(self.pick(self.callbacks, callback), "T", context=self.context(context)))

    def op_call_later(self, delay, callback, context):
        call = self.loop.call_later
        self.handles.append(
            call(self.distinct(delay), self.pick(self.callbacks, callback), context=self.context(context))
        )

    def op_call_at(self, delay, callback):
        self.handles.append(
            self.loop.call_at(self.now + self.distinct(delay), self.pick(self.callbacks, callback), delay)
        )

    def op_cancel_handle(self, index):
        if handle := self.pick(self.handles, index):
            handle.cancel()
            return repr(handle), handle.cancelled()
        return None

    def op_look_handle(self, index):
        if handle := self.pick(self.handles, index):
            return repr(handle), handle.cancelled(), handle.when() if isinstance(handle, asyncio.TimerHandle) else None
        return None

    def op_var(self, value):
        VAR.set(value)

    def op_uncancel(self):
        task = asyncio.current_task(self.loop)
        return task and (task.uncancel(), task.cancelling())

    def op_stop(self):
        self.loop.stop()

    def op_close(self):
        self.loop.close()

    def op_all_tasks(self):
        return sorted(tracing.plain(task.get_name()) for task in asyncio.all_tasks(self.loop))

    def op_stack(self, index):
        task = self.pick(self.tasks, index)
        # Of a running task it is the whole stack, the loop's frames among them: it is these that C has none of.
        return task and [f.f_code.co_name for f in task.get_stack() if f.f_code.co_filename == __file__]

    def op_event(self, is_set):
        (self.event.set if is_set else self.event.clear)()

    def op_put_nowait(self, value):
        self.queue.put_nowait(value)

    def op_get_nowait(self):
        return self.queue.get_nowait()

    def op_release(self, which):
        (self.semaphore.release, self.lock.release)[which]()

    def op_notify(self, which):
        (self.condition.notify, self.condition.notify_all)[which]()

    def op_raise(self, which):
        raise EXCEPTIONS[which]("raised")

    def op_debug(self, is_on):
        self.loop.set_debug(is_on)

    def op_nest(self):
        if self.loop.is_running() and not stock.SPOILS_THE_OUTER_RUN:  # for the owner it would run for ever
            self.loop.run_forever()

    # Ops that wait.

    async def work(self, ops):
        task = asyncio.current_task(self.loop)
        if task.get_name().startswith("Task-"):
            self.made += 1
            task.set_name(f"W{self.made}")  # as numbers go on from program to program
        self.note("begins")
        try:
            await self.steps(ops)
        except BaseException as exc:
            self.note("ends", tracing.describe(exc), self.cancelling())
            raise
        self.note("ends")
        return len(ops)

    def cancelling(self):
        task = asyncio.current_task(self.loop)
        return task and task.cancelling()

    async def steps(self, ops):
        for op in ops:
            name, *args = op
            wait = getattr(self, "wait_" + name, None)
            if wait is None:
                self.sync([op])
            elif self.fuel == 0:
                return
            else:
                self.fuel -= 1
                try:
                    result = await wait(*args)
                except RuntimeError as exc:
                    self.note(name, tracing.describe(exc))
                else:
                    self.note(name, tracing.describe(result))

    async def wait_sleep(self, delay):
        return await asyncio.sleep(self.distinct(delay) if delay else 0, "slept")

    async def wait_await(self, ref):
        return await self.awaitable(ref)

    async def wait_yield(self, what):
        return await Yield([None, 42, self.futures[0], asyncio.current_task(self.loop), object][what])

    async def wait_call(self, body):
        return await self.work(self.pick(self.program["bodies"], body))

    async def wait_try(self, ops, then, which):
        try:
            await self.steps(ops)
        except (EXCEPTIONS[which % 3], asyncio.CancelledError) as exc:
            self.note("caught", tracing.describe(exc), self.cancelling())
            await self.steps(then)
        finally:
            self.note("finally")

    async def wait_finally(self, ops, then):
        try:
            await self.steps(ops)
        finally:
            await self.steps(then)

    async def wait_shield(self, ref):
        return await asyncio.shield(self.awaitable(ref))

    async def wait_gather(self, refs, return_exceptions):
        waits = [self.awaitable(ref) for ref in refs]
        return [tracing.describe(r) for r in await asyncio.gather(*waits, return_exceptions=return_exceptions)]

    async def wait_gather_work(self, bodies, return_exceptions):
        works = [self.work(self.pick(self.program["bodies"], body)) for body in bodies]
        return [tracing.describe(r) for r in await asyncio.gather(*works, return_exceptions=return_exceptions)]

    async def wait_wait(self, refs, timeout, when):
        waits = [self.awaitable(ref) for ref in refs]
        when = [asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED][when]
        try:
            done, pending = await asyncio.wait(waits, timeout=self.distinct(timeout), return_when=when)
        finally:
            # It looks at the exceptions of some, in the order of a set, so of addresses: now all have been looked at.
            for wait in waits:
                if wait.done() and not wait.cancelled():
                    wait.exception()
        return [wait in done for wait in waits], [wait in pending for wait in waits]

    async def wait_wait_for(self, ref, timeout):
        return await asyncio.wait_for(self.awaitable(ref), self.distinct(timeout) if timeout else timeout)

    async def wait_wait_for_work(self, body, timeout):
        return await asyncio.wait_for(
            self.work(self.pick(self.program["bodies"], body)), self.distinct(timeout) if timeout else timeout
        )

    async def wait_timeout(self, delay, ops, again):
        async with asyncio.timeout(self.distinct(delay)) as timeout:
            await self.steps(ops)
            if again is not None:
                timeout.reschedule(self.loop.time() + self.distinct(again))
                await self.steps(ops)
        return timeout.expired()

    async def wait_group(self, bodies, ops):
        group = asyncio.TaskGroup()
        group._tasks = OrderedSet()
        async with group:
            for body in bodies:
                self.made += 1
                work = self.work(self.pick(self.program["bodies"], body))
                try:
                    self.tasks.append(group.create_task(work, name=f"G{self.made}"))
                except BaseException:
                    work.close()
                    raise
            await self.steps(ops)

    async def wait_completed(self, refs, timeout):
        # Each once: what as_completed() makes of them is a set, whose order is that of addresses.
        results = []
        for next_one in asyncio.as_completed([self.awaitable(ref) for ref in refs[:1]], timeout=self.distinct(timeout)):
            results.append(tracing.describe(await next_one))
        return results

    async def wait_lock(self, ops):
        async with self.lock:
            await self.steps(ops)

    async def wait_semaphore(self, ops):
        async with self.semaphore:
            await self.steps(ops)

    async def wait_condition(self, ops):
        async with self.condition:
            await self.steps(ops)
            await self.condition.wait()

    async def wait_for_event(self):
        return await self.event.wait()

    async def wait_put(self, value):
        await self.queue.put(value)

    async def wait_get(self):
        return await self.queue.get()

    async def generate(self, ops, number):
        try:
            for value in range(number):
                await self.steps(ops)
                yield value
        finally:
            self.note("generator ends")
            await asyncio.sleep(0)

    async def wait_generator(self, ops, number, stop_after):
        values = []
        generator = self.generate(ops, number)
        async for value in generator:
            values.append(value)
            if value == stop_after:
                break
        return values

    # The owner of the loop.

    def turn(self):
        try:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        except BaseException as exc:
            self.note("run_forever() raises", tracing.describe(exc))

    def run(self):
        for op in self.program["script"]:
            if op[0] == "turn":
                for _ in range(op[1]):
                    self.turn()
            elif op[0] == "advance":
                self.now += op[1]
                self.turn()
            else:
                try:
                    self.sync([op])
                except BaseException as exc:
                    self.note(op[0], tracing.describe(exc))
        self.finish()

    def finish(self):
        """Let everything end: what does not within some turns is cancelled again and again."""
        for _ in range(20):
            self.now += 5
            self.turn()
        self.fuel = 0
        for _ in range(20):
            for task in list(self.tasks):
                if not task.done():
                    try:
                        self.note("at the end", tracing.plain(task.get_name()), task.cancel())
                    except RuntimeError as exc:  # the loop is closed
                        self.note("at the end", tracing.describe(exc))
            for _ in range(3):
                self.turn()
        for index, waitable in enumerate(self.tasks + self.futures):
            self.note(index, tracing.plain(repr(waitable)))
        if not self.loop.is_closed():
            # Not by run_until_complete(): a generator may wait for something that does not come.
            closing = self.kind.tasks[0](self.loop.shutdown_asyncgens(), loop=self.loop, name="closing")
            for _ in range(10):
                self.turn()
            if not closing.done():
                self.note("shutdown_asyncgens() waits")
                closing.cancel()
                self.turn()
        self.loop.close()


def run(program, kind):
    """The trace of a program on a Kind."""

    def act(note):
        asyncio.set_event_loop(None)
        running = Program(program, kind, note)
        contextvars.Context().run(running.run)
        # What nobody retrieved is reported as the objects go, in no defined order.
        left = []
        running.note_plain = running.note = lambda *what: left.append(what)
        for kept in (running.tasks, running.futures, running.handles, running.callbacks):
            kept.clear()
        running.queue = running.condition = running.lock = running.semaphore = running.event = None
        gc.collect()
        note("left", sorted(map(repr, left)), sorted(map(repr, running.finalised)))

    gc.freeze()  # what hypothesis has is not searched again for every program
    try:
        return tracing.traced(act)
    finally:
        gc.unfreeze()


if __name__ == "__main__":
    tracing.show(run, sys.argv[2], sys.argv[1])
