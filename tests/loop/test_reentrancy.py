"""Python code run by the loop may do anything to it: close, stop, drop, collect, raise."""

import asyncio
import contextlib
import contextvars
import gc
import random
import sys
import weakref

import pytest


def test_callback_may_not_close_the_loop(loop, turn):
    seen = []

    def close():
        with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
            loop.close()
        seen.append("refused")

    loop.call_soon(close)
    loop.call_soon(seen.append, "rest")
    turn()
    assert seen == ["refused", "rest"]


def test_closing_between_runs_with_everything_pending(loop, turn):
    async def main():
        await asyncio.gather(loop.create_future(), asyncio.sleep(1000))

    task = loop.create_task(main())
    turn(2)
    loop.close()
    for pending in asyncio.all_tasks(loop):
        pending._log_destroy_pending = False
    coro = task.get_coro()
    del task, pending
    with pytest.raises(asyncio.CancelledError):
        coro.throw(asyncio.CancelledError)


def test_last_reference_to_the_loop_dropped_by_a_callback(loop_factory):
    seen = []

    def drop():
        loops.clear()
        gc.collect()
        seen.append("dropped")

    loops = [loop_factory()]
    watch = weakref.ref(loops[0])
    loops[0].call_soon(drop)
    loops[0].call_soon(loops[0].stop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        (lambda run: run())(loops[0].run_forever)
        gc.collect()
    assert seen == ["dropped"]
    assert watch() is None


@pytest.mark.parametrize("where", ["callback", "argument", "timer", "context", "future", "task"])
def test_finaliser_may_schedule_and_collect(loop, turn, where):
    class Attacker:
        def __call__(self, *args):
            pass

        def __del__(self):
            loop.call_soon(seen.append, where)
            loop.call_later(0, seen.append, where)
            gc.collect()

    async def task():
        attacker = Attacker()
        await asyncio.sleep(0)
        del attacker

    seen = []
    match where:
        case "callback":
            loop.call_soon(Attacker())
        case "argument":
            loop.call_soon(id, Attacker())
        case "timer":
            loop.call_later(0, Attacker())
        case "context":
            context = contextvars.Context()
            context.run(contextvars.ContextVar("var").set, Attacker())
            loop.call_soon(id, 1, context=context)
            del context
        case "future":
            future = loop.create_future()
            future.add_done_callback(Attacker())
            future.set_result(Attacker())
            del future
        case "task":
            loop.create_task(task())
    turn(5)
    assert set(seen) == {where}
    assert len(seen) == (4 if where == "future" else 2)


def test_finaliser_that_raises(loop, turn, monkeypatch):
    class Odd:
        def __del__(self):
            raise ValueError("in __del__")

    caught = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: caught.append(str(unraisable.exc_value)))
    seen = []
    loop.call_soon(id, Odd())
    loop.call_later(0, id, Odd())
    loop.call_later(1000, id, Odd()).cancel()
    loop.call_soon(seen.append, "rest")
    turn()
    assert caught == ["in __del__"] * 3
    assert seen == ["rest"]


def test_callback_may_cancel_all_others(loop, turn):
    seen = []

    def cancel_all():
        for handle in handles:
            handle.cancel()
        gc.collect()

    handles = [loop.call_soon(cancel_all)]
    handles += [loop.call_soon(seen.append, i) for i in range(10)]
    handles += [loop.call_later(0, seen.append, i) for i in range(10)]
    loop.call_soon(seen.append, "rest")
    turn()
    assert seen == ["rest"]


def test_removing_a_callback_may_finish_the_future(loop, future, turn):
    class Attacker:
        def __eq__(self, other):
            if not future.done():
                future.set_result("in __eq__")
            return False

        def __call__(self, future):
            seen.append(future.result())

    seen = []
    future.add_done_callback(Attacker())
    future.add_done_callback(Attacker())
    future.remove_done_callback(print)
    turn()
    assert seen == ["in __eq__"] * 2


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="a Future is made once: no result is ever replaced")
def test_result_whose_finaliser_uses_the_future(loop, Future):
    class Attacker:
        def __init__(self, future):
            self.future = future

        def __del__(self):
            seen.append(self.future.done())
            with contextlib.suppress(RuntimeError):  # stock's Future is not initialised while __init__ clears it
                repr(self.future)

    seen = []
    future = Future(loop=loop)
    future.set_result(Attacker(future))
    future.__init__(loop=loop)
    del future
    gc.collect()
    assert len(seen) == 1


def test_exception_handler_that_runs_everything(loop, turn):
    seen = []

    def handler(loop, context):
        loop.call_soon(seen.append, "scheduled")
        loop.set_exception_handler(None)
        gc.collect()
        with pytest.raises(RuntimeError):
            loop.close()

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    turn(2)
    assert seen == ["scheduled"]


def test_task_cancelled_by_its_own_coroutine_being_closed(loop, Task, turn):
    async def main():
        try:
            await asyncio.sleep(0)
        finally:
            task.cancel()

    task = Task(main(), loop=loop)
    turn()
    task.get_coro().close()
    turn(2)
    assert task.done()
    task._log_traceback = False


def test_done_callback_that_drops_the_task(loop, turn):
    async def child():
        return object()

    def drop(task):
        tasks.clear()
        del task
        gc.collect()

    tasks = [loop.create_task(child())]
    watch = weakref.ref(tasks[0])
    tasks[0].add_done_callback(drop)
    turn(3)
    assert watch() is None


@pytest.mark.parametrize("seed", range(5))
def test_random_operations_run_once_and_in_order(loop, seed):
    """A few thousand random operations; nothing is lost, nothing runs twice, the order is kept."""
    rng = random.Random(seed)
    expected, seen, futures = [], [], []
    number = iter(range(1_000_000)).__next__

    def note(i, *_):
        seen.append(i)
        if rng.random() < 0.1:
            step()

    def step():
        match rng.randrange(6):
            case 0:
                expected.append(i := number())
                loop.call_soon(note, i)
            case 1:
                loop.call_soon(note, -1).cancel()
            case 2:
                futures.append(loop.create_future())
            case 3 if futures:
                future = futures.pop(rng.randrange(len(futures)))
                for _ in range(rng.randrange(3)):
                    expected.append(i := number())
                    future.add_done_callback(lambda _, i=i: note(i))
                future.set_result(None)
            case 4:
                loop.call_later(1000, note, -1).cancel()
            case 5:
                expected.append(i := number())

                async def main():
                    note(i)

                loop.create_task(main())

    for _ in range(1_000):
        step()
        if rng.random() < 0.05:
            loop.call_soon(loop.stop)
            loop.run_forever()
    while seen != expected:
        before = len(seen)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert len(seen) > before or seen == expected


@pytest.mark.parametrize("name", ["call_soon", "call_later", "add_reader", "sock_recv"])
def test_garbage_that_closes_the_loop_inside_of_a_call(script, kind, name):
    """In Python 3.11 any call may collect garbage; later ones do it between two bytecodes."""
    done = script(f"""
        import gc, socket, weakref

        def attack(count):
            loop = new_loop()
            a, b = socket.socketpair()
            a.setblocking(False)
            calls = dict(
                call_soon=lambda: loop.call_soon(int),
                call_later=lambda: loop.call_later(1, int),
                add_reader=lambda: loop.add_reader(a, int),
                sock_recv=lambda: loop.sock_recv(a, 10).send(None),
            )

            class Garbage:
                def __init__(self, count):
                    self.itself, self.count = self, count

                def __del__(self):
                    if self.count:
                        Garbage(self.count - 1)
                    else:
                        loop.close()

            gc.collect()
            gc.disable()
            Garbage(count)
            threshold = gc.get_threshold()
            gc.set_threshold(1, 1, 1)
            gc.enable()
            try:
                calls[{name!r}]()
            except Exception:  # whatever it finds closed
                pass
            gc.disable()
            gc.set_threshold(*threshold)
            loop.close()
            a.close()
            b.close()
            return weakref.ref(loop)

        loops = [attack(count) for count in range(8)]
        while any(loop() is not None for loop in loops) and gc.collect():  # one of each chain a time
            pass
        print([loop() for loop in loops if loop() is not None])
    """)
    if kind == "asyncloop":  # asyncio keeps some of its loops
        assert done.stdout == "[]\n"


def test_finaliser_that_releases_the_loop_while_it_is_released(script):
    """What close() ends with, by a finaliser within it."""
    script(
        """
        import os

        class Attacker:
            def __call__(self):
                pass

            def __del__(self):
                getattr(loop, "_release", loop.close)()

        loop = new_loop()
        ends = [os.pipe() for _ in range(3)]
        for reading, writing in ends:
            loop.add_reader(reading, Attacker())
            loop.add_writer(writing, Attacker())
        loop.close()
        assert loop.is_closed()
        """
    )
