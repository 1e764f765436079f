"""The ready queue: one FIFO, and what belongs to a turn."""

import asyncio
import gc
import threading
import weakref

import pytest


@pytest.fixture
def seen():
    return []


def test_callbacks_run_in_the_order_of_call_soon(loop, turn, seen):
    for i in range(10):
        loop.call_soon(seen.append, i)
    turn()
    assert seen == list(range(10))


def test_call_soon_in_a_callback_runs_in_the_next_turn(loop, turn, seen):
    def callback():
        seen.append("callback")
        loop.call_soon(seen.append, "made by it")

    loop.call_soon(callback)
    turn()
    assert seen == ["callback"]
    turn()
    assert seen == ["callback", "made by it"]


def test_one_order_for_handles_tasks_and_future_callbacks(loop, turn, seen, future, Task):
    async def note(value):
        seen.append(value)

    future.add_done_callback(lambda _: seen.append("future"))
    loop.call_soon(seen.append, 1)
    tasks = [loop.create_task(note("task"))]
    loop.call_soon(seen.append, 2)
    future.set_result(None)
    loop.call_soon_threadsafe(seen.append, 3)
    tasks.append(Task(note("another"), loop=loop))
    tasks.append(asyncio.Task(note("stock"), loop=loop))
    loop.call_soon(seen.append, 4)
    turn()
    assert seen == [1, "task", 2, "future", 3, "another", "stock", 4]


def test_callbacks_that_are_cancelled_by_earlier_ones(loop, turn, seen):
    handles = []
    loop.call_soon(lambda: [handle.cancel() for handle in handles])
    handles += [loop.call_soon(seen.append, i) for i in range(3)]
    loop.call_soon(seen.append, "last")
    turn()
    assert seen == ["last"]


def test_exception_of_one_does_not_stop_the_others(loop, turn, seen, reports):
    loop.call_soon(seen.append, 1)
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(seen.append, 2)
    turn()
    assert seen == [1, 2]
    assert [type(report["exception"]) for report in reports()] == [ZeroDivisionError]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["call_soon", "call_soon_threadsafe", "done callback", "task", "stock task"])
def test_exit_leaves_at_once_and_the_rest_runs_later(loop, turn, seen, future, error, where):
    def leave(*args):
        raise error("now")

    async def leave_task():
        leave()

    loop.call_soon(seen.append, 1)
    match where:
        case "done callback":
            future.add_done_callback(leave)
            future.set_result(None)
        case "task":
            task = loop.create_task(leave_task())
        case "stock task":
            task = asyncio.Task(leave_task(), loop=loop)
        case _:
            getattr(loop, where)(leave)
    loop.call_soon(seen.append, 2)
    with pytest.raises(error, match="^now$"):
        loop.run_forever()
    assert not loop.is_running()
    assert seen == [1]
    turn()
    assert seen == [1, 2]
    if "task" in where:
        assert type(task.exception()) is error


def test_100_000_callbacks_run_in_one_turn(loop, turn, seen):
    loop.set_debug(False)  # as many creation tracebacks take a minute
    for i in range(100_000):
        loop.call_soon(seen.append, i)
    turn()
    assert seen == list(range(100_000))


def test_a_chain_of_100_000_callbacks_ends(loop, seen):
    loop.set_debug(False)

    def step(n):
        if n:
            loop.call_soon(step, n - 1)
        else:
            loop.stop()

    loop.call_soon(step, 100_000)
    loop.run_forever()


def test_queue_grows_and_shrinks_in_waves(loop, turn, seen):
    total = 0
    for wave in [1, 100, 3, 5_000, 0, 17, 1_024, 1_025, 1]:
        for _ in range(wave):
            loop.call_soon(seen.append, total)
            total += 1
        turn()
    assert seen == list(range(total))


def test_queue_that_grows_while_it_runs(loop, turn, seen):
    def spread(depth):
        seen.append(depth)
        if depth < 10:
            loop.call_soon(spread, depth + 1)
            loop.call_soon(spread, depth + 1)

    loop.call_soon(spread, 0)
    turn(11)
    assert seen == [depth for depth in range(11) for _ in range(2**depth)]


def test_callbacks_may_collect_garbage(loop, turn, seen):
    def callback(i):
        gc.collect()
        seen.append(i)

    for i in range(10):
        loop.call_soon(callback, i)
        loop.call_later(0, callback, 10 + i)
    turn()
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize("close", [True, False], ids=["closed", "dropped"])
@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_loop_that_is_freed_drops_its_queue(loop_factory, close, future):
    class Argument:
        pass

    loop = loop_factory()
    loop.__dict__["myself"] = loop
    arguments = [Argument() for _ in range(4)]
    watches = [weakref.ref(argument) for argument in arguments]
    loop.call_soon(id, arguments.pop())
    loop.call_later(100, id, arguments.pop())
    loop.call_soon_threadsafe(id, arguments.pop())
    loop.create_future().add_done_callback(arguments.pop())
    if close:
        loop.close()
    del loop
    gc.collect()
    assert [watch() for watch in watches] == [None] * 4


@pytest.mark.parametrize("made", ["before the run", "in the run", "by a thread", "after the run"])
@pytest.mark.parametrize("end", ["ran", "cancelled", "waiting"])
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_cycle_through_a_handle_is_collected(loop_factory, made, end, method):
    class Keeper:
        def called(self):
            self.was_called = True

    def play():
        loop = loop_factory()
        if made == "by a thread":
            loop.set_debug(False)  # where only call_soon_threadsafe() may be called by one
        keeper = Keeper()

        def make():
            keeper.loop = loop
            if method == "call_later":
                keeper.handle = loop.call_later(0 if end == "ran" else 100, keeper.called)
            else:
                keeper.handle = getattr(loop, method)(keeper.called)
            if end == "cancelled":
                keeper.handle.cancel()
            gc.collect()

        def run():
            if made == "in the run":
                make()
            elif made == "by a thread":
                thread = threading.Thread(target=make)
                thread.start()
                thread.join()
            if end == "waiting":
                loop.stop()
            else:
                loop.call_later(0.001, loop.stop)

        loop.call_soon(run)
        if made == "before the run":
            make()
        loop.run_forever()
        if made == "after the run":
            make()
            if end == "ran":
                run()
                loop.run_forever()
            loop.call_soon(id, 0)  # who keeps the last handle is looked at when the next one is made
        assert keeper.handle.cancelled() is (end == "cancelled")
        if end != "waiting" or made != "before the run":  # else it depends on the method
            assert hasattr(keeper, "was_called") is (end == "ran")
        return weakref.ref(keeper)

    watch = play()
    gc.collect()
    assert watch() is None


def test_close_drops_the_queue(loop, seen):
    class Argument:
        pass

    argument = Argument()
    watch = weakref.ref(argument)
    loop.call_soon(seen.append, argument)
    del argument
    loop.close()
    assert watch() is None
    assert seen == []
