"""Tasks: their coroutines, steps, cancellation, contexts, names; what asyncio builds of them."""

import asyncio
import io
import sys

import asyncloop

from . import evil, values
from .operations import operation


async def frame(world, script):
    """A coroutine whose frame holds evil objects, and whose end is a script as well."""
    held = world.make(evil.Evil, script + 1)
    try:
        return await world.body(script)
    finally:
        world.hook(script + 2)
        del held


async def generator(world, script):
    held = world.make(evil.Evil, script + 1)
    try:
        while True:
            world.hook(script)
            yield held
            await asyncio.sleep(0)
    finally:
        await world.body(script + 2)


def coroutine(world, n):
    match n % 8:
        case 0:
            return world.make(evil.Coroutine, n // 8)
        case 1:
            return world.pick("coro", n // 8)
        case _:
            return frame(world, n // 8)


@operation(2)
def new_coroutine(world, a, b, c):
    world.add("coro", coroutine(world, a))


@operation(10, 3)
def spawn(world, a, b, c):
    loop = world.loop(a)
    options = {"name": (None, "name", world.make(evil.Text, c, "name"), world.make(evil.Evil, c))[b % 4]}
    if (context := values.context(world, c // 4)) is not None:
        options["context"] = context
    if c % 4 == 3 and sys.version_info >= (3, 12):
        options["eager_start"] = True
    match b // 4 % 6:
        case 0:
            task = world.make(evil.Task, c, coroutine(world, b), loop=world.any_loop(a), **options)
        case 1:
            task = asyncloop.Task(coroutine(world, b), loop=world.any_loop(a), **options)
        case 2:
            if options.get("eager_start"):  # a context that is entered: asyncio's task stays the current one for ever
                options.pop("context", None)
                if values.runs_elsewhere(loop):
                    options.pop("eager_start")
            task = asyncio.Task(coroutine(world, b), loop=loop, **options)
        case _:
            options.pop("eager_start", None)
            task = loop.create_task(coroutine(world, b), **options)
    world.add("task", task)


@operation(5, 5)
def cancel_task(world, a, b, c):
    world.pick("task", a).cancel(values.value(world, b))


@operation(1)
def uncancel_task(world, a, b, c):
    world.pick("task", a).uncancel()


@operation(3, 5)
def init_task(world, a, b, c):
    task = world.pick("task", a)
    if isinstance(task, asyncloop.Task):  # asyncio's own crash in the interpreter
        task.__init__(coroutine(world, b), loop=world.any_loop(c))


@operation(3, 3)
def look_at_task(world, a, b, c):
    task = world.pick("task", a)
    match b % 8:
        case 0:
            task.print_stack(file=io.StringIO())
        case 1:
            world.add("kept", task.get_stack(limit=world.make(evil.Evil, c)))
        case 2:
            repr(task)
        case 3:
            world.add("coro", task.get_coro())
        case 4:
            world.add("context", task.get_context())
        case 5:
            task.set_name(world.make(evil.Evil, c))
        case 6:
            world.add("kept", (task._fut_waiter, task._must_cancel, task._coro, task.get_name()))
        case 7:
            task._log_destroy_pending = False


@operation(1)
def all_tasks(world, a, b, c):
    world.offer(asyncio.all_tasks(world.loop(a)))


@operation(1)
def enter_task(world, a, b, c):
    """What other implementations of tasks do around a step."""
    loop, task = world.loop(a), world.pick("task", b)
    asyncio.tasks._enter_task(loop, task)
    world.hook(c)
    asyncio.tasks._leave_task(loop, task)


@operation(2, 3)
def run_in_context(world, a, b, c):
    world.pick("context", a).run(world.hook, b)


@operation(4, 3)
def set_variable(world, a, b, c):
    """Let the current context hold something, and let go of what it held."""
    evil.variables[a % len(evil.variables)].set(values.value(world, b))


# --- coroutines -------------------------------------------------------------------------------------------------------


@operation(6, 3)
async def sleep(world, a, b, c):
    await asyncio.sleep((0, 0, 0.0005, 1000)[b % 4], values.value(world, c))


@operation(3)
async def await_odd(world, a, b, c):
    """Await what is no future, or not in the way a future wants it."""
    match b % 4:
        case 0:
            await world.make(evil.Awaited, c)
        case 1:
            await world.make(evil.Evil, c)
        case 2:
            await world.make(evil.Coroutine, c)
        case 3 if sys.version_info >= (3, 12):
            # 3.11 crashes where a coroutine that another awaits is closed and lets go of what keeps the other alive: it
            # reads the stack of a frame that runs, to close what that one awaits.
            await world.pick("coro", c)


@operation(3)
async def combine(world, a, b, c):
    loop, first, second = world.loop(a), world.pick("future", b), world.pick("future", c)
    match a % 6:
        case 0:
            await asyncio.gather(first, second, frame(world, b), return_exceptions=b % 2 == 0)
        case 1:
            await asyncio.wait([first, second], timeout=0.001, return_when=asyncio.FIRST_COMPLETED)
        case 2:
            await asyncio.shield(first)
        case 3:
            await asyncio.wait_for(first, 0.001)
        case 4:
            async with asyncio.timeout(0.0005), asyncio.TaskGroup() as group:
                world.add("task", group.create_task(frame(world, c)))
                await second
        case 5:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(frame(world, c), loop))


@operation(1)
async def iterate(world, a, b, c):
    agen = generator(world, a)
    world.add("kept", agen)
    async for held in agen:
        world.add("evil", held)
        if b % 2:
            break
    if c % 2:
        await agen.aclose()
