"""Other processes and call graphs see our tasks (3.14+): asyncio ps and pstree, awaited-by."""

import asyncio
import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio has call graphs from 3.14")


async def leaf(event):
    await event.wait()


async def group(event):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leaf(event), name="in group 1")
        tasks.create_task(leaf(event), name="in group 2")


async def ask(command):
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "asyncio", command, str(os.getpid())],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode and re.search("permission|not permitted|not available|not supported", done.stderr, re.I):
        pytest.skip(f"the system lets no process read another one's memory: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


async def with_tasks(look):
    event = asyncio.Event()
    tasks = [
        asyncio.create_task(group(event), name="the group"),
        asyncio.create_task(leaf(event)),
        asyncio.create_task(leaf(event), name="before"),
    ]
    tasks[2].set_name("after")
    everything = asyncio.gather(*tasks)
    await asyncio.sleep(0.01)
    try:
        return tasks, await look(tasks)
    finally:
        event.set()
        await everything


def test_ps_shows_tasks_with_stacks_and_awaiters(run):
    tasks, output = run(with_tasks(lambda tasks: ask("ps")))
    rows = {row[2]: row for row in (re.split(r"\s{2,}", line.strip()) for line in output.splitlines()) if len(row) > 3}

    assert rows["the group"][3] == "TaskGroup._aexit -> TaskGroup.__aexit__ -> group"
    assert rows["the group"][1] == hex(id(tasks[0]))
    assert rows[tasks[1].get_name()][3] == "Event.wait -> leaf"
    assert re.fullmatch(r"Task-\d+", tasks[1].get_name())
    assert rows["after"][3] == "Event.wait -> leaf"
    assert "before" not in rows
    for name in ("in group 1", "in group 2"):
        assert rows[name][3] == "Event.wait -> leaf"
        assert rows[name][5] == "the group"
        assert rows[name][6] == hex(id(tasks[0]))


def test_pstree_shows_the_tree(run):
    _, output = run(with_tasks(lambda tasks: ask("pstree")))
    lines = [re.sub(r"[^\w() .-]", "", line).strip() for line in output.splitlines()]
    names = [line.removeprefix("(T) ") for line in lines if line.startswith("(T) ")]

    assert names.index("the group") < names.index("in group 1") < names.index("in group 2")
    assert "after" in names


def awaiters(future):
    return [awaiter.future for awaiter in asyncio.capture_call_graph(future).awaited_by]


def test_future_knows_its_awaiters_until_it_is_done(run, loop):
    async def wait(future):
        return await future

    async def main():
        future = loop.create_future()
        first = asyncio.create_task(wait(future))
        await asyncio.sleep(0)
        assert awaiters(future) == [first]
        second = asyncio.create_task(wait(future))
        await asyncio.sleep(0)
        assert set(awaiters(future)) == {first, second}
        future.set_result(1)
        assert await first == await second == 1
        assert awaiters(future) == []

        future = loop.create_future()
        cancelled = asyncio.create_task(wait(future))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert awaiters(future) == []

    run(main())


def test_a_stock_future_and_a_stock_task_are_in_the_graph(run, loop):
    async def wait(future):
        return await future

    async def main():
        stock_future = asyncio.Future(loop=loop)
        task = loop.create_task(wait(stock_future))
        stock_task = asyncio.Task(wait(task), loop=loop)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert awaiters(stock_future) == [task]
        assert awaiters(task) == [stock_task]
        stock_future.set_result(None)
        await stock_task
        assert awaiters(stock_future) == awaiters(task) == []

    run(main())


def test_unregistered_task_is_not_found_and_ends_well(run):
    async def main():
        task = asyncio.create_task(asyncio.sleep(0.01, 5))
        assert task in asyncio.all_tasks()
        asyncio._unregister_task(task)
        assert task not in asyncio.all_tasks()
        asyncio._register_task(task)
        assert task in asyncio.all_tasks()
        asyncio._unregister_task(task)
        assert await task == 5
        assert task not in asyncio.all_tasks()

    run(main())


def test_done_tasks_leave_the_list(run):
    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(100)]
        assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
