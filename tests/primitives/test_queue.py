"""Queue, PriorityQueue and LifoQueue: who gets what, and what subclasses may override."""

import asyncio
import collections
import gc
import math
import sys
import weakref

import pytest

SHUTS_DOWN = sys.version_info >= (3, 13)


@pytest.fixture(params=["Queue", "PriorityQueue", "LifoQueue"])
def new(primitives, request):
    return getattr(primitives, request.param)


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


class TestInterface:
    def test_classes(self, primitives):
        for name in "Queue", "PriorityQueue", "LifoQueue":
            queue = getattr(primitives, name)()
            assert isinstance(queue, getattr(asyncio, name))
            assert isinstance(queue, primitives.Queue)

    def test_generic(self, new):
        assert new[int].__origin__ is new

    def test_repr(self, new, run):
        async def main():
            queue = new(1)
            assert str(queue) == f"<{new.__name__} maxsize=1>"
            await queue.put(5)
            task = asyncio.ensure_future(queue.put(6))
            await turns()
            assert str(queue) == f"<{new.__name__} maxsize=1 _queue=[5] _putters[1] tasks=1>"
            assert repr(queue) == f"<{new.__name__} at {id(queue):#x} maxsize=1 _queue=[5] _putters[1] tasks=1>"
            await queue.get()
            await task
            await queue.get()
            task = asyncio.ensure_future(queue.get())
            await turns()
            assert str(queue) == f"<{new.__name__} maxsize=1 _getters[1] tasks=2>"
            await queue.put(7)
            await task

        run(main())

    def test_order(self, primitives, run):
        async def order(queue):
            for i in (2, 0, 1):
                await queue.put(i)
            return [await queue.get() for _ in range(3)]

        assert run(order(primitives.Queue())) == [2, 0, 1]
        assert run(order(primitives.PriorityQueue())) == [0, 1, 2]
        assert run(order(primitives.LifoQueue())) == [1, 0, 2]

    def test_without_waiting(self, new):
        queue = new(2)
        assert (queue.empty(), queue.full(), queue.qsize(), queue.maxsize) == (True, False, 0, 2)
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()
        queue.put_nowait(1)
        queue.put_nowait(item=2)
        assert (queue.empty(), queue.full(), queue.qsize()) == (False, True, 2)
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(3)
        assert sorted([queue.get_nowait(), queue.get_nowait()]) == [1, 2]

    @pytest.mark.parametrize("maxsize", [0, -1, math.inf, 2.5, 2**80], ids=str)
    def test_maxsize(self, new, maxsize):
        queue = new(maxsize=maxsize)
        assert queue.maxsize == maxsize
        for i in range(3):
            if maxsize == 2.5 and i == 2:
                queue.put_nowait(i)
                assert queue.full()
            else:
                queue.put_nowait(i)
                assert not queue.full()

    def test_arguments(self, new, run):
        with pytest.raises(TypeError):
            new(1, 2)
        with pytest.raises(TypeError):
            new("x").put_nowait(1)
        with pytest.raises(TypeError):
            new().put()
        with pytest.raises(TypeError):
            new().put_nowait(1, 2)
        queue = new()
        run(queue.put(item=3))
        assert queue.get_nowait() == 3

    def test_private_attributes(self, primitives):
        queue = primitives.Queue(3)
        assert queue._queue == collections.deque()
        assert queue._getters == queue._putters == collections.deque()
        assert queue._getters is queue._getters
        assert (queue._loop, queue._maxsize, queue._unfinished_tasks) == (None, 3, 0)
        assert queue._finished.is_set()
        queue.put_nowait(1)
        assert not queue._finished.is_set()
        assert queue._unfinished_tasks == 1
        queue.task_done()
        assert queue._finished.is_set()
        queue._unfinished_tasks = 2
        assert queue._finished.is_set()
        queue.task_done()
        queue.task_done()
        with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
            queue.task_done()
        queue._queue = collections.deque([7])
        assert queue.get_nowait() == 7

    def test_the_event_that_is_seen_late(self, primitives):
        queue = primitives.Queue()
        queue.put_nowait(1)
        assert not queue._finished.is_set()
        assert isinstance(queue._finished, asyncio.Event)
        assert queue._finished is queue._finished

    def test_init_again_empties_it(self, new):
        queue = new()
        queue.put_nowait(1)
        queue.__init__(4)
        assert (queue.qsize(), queue.maxsize, queue._unfinished_tasks) == (0, 4, 0)

    def test_an_item_is_let_go_of(self, new, run):
        class Item:
            def __lt__(self, other):
                return False

        async def main():
            queue = new()
            item = Item()
            reference = weakref.ref(item)
            putting = queue.put(item)
            await putting
            getting = queue.get()
            assert await getting is item
            del item
            gc.collect()
            return reference()

        assert run(main()) is None


class TestWaiting:
    def test_items_in_order(self, primitives, run):
        async def main():
            queue = primitives.Queue(2)

            async def produce(first):
                for i in range(first, first + 5):
                    await queue.put(i)

            async def consume():
                return [await queue.get() for _ in range(5)]

            *_, first, second = await asyncio.gather(produce(0), produce(10), consume(), consume())
            assert sorted(first + second) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
            assert queue.empty() and not queue._getters and not queue._putters

        run(main())

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_cancelled_getter(self, new, run, when):
        async def main():
            queue = new()
            tasks = [asyncio.ensure_future(queue.get()) for _ in range(3)]
            await turns()
            if when == "before":
                tasks[0].cancel()
            queue.put_nowait(1)
            if when == "after":
                tasks[0].cancel()
            await turns()
            assert tasks[0].cancelled()
            assert await tasks[1] == 1
            queue.put_nowait(2)
            assert await tasks[2] == 2
            assert not queue._getters

        run(main())

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_cancelled_putter(self, new, run, when):
        async def main():
            queue = new(1)
            queue.put_nowait(0)
            tasks = [asyncio.ensure_future(queue.put(i)) for i in (1, 2)]
            await turns()
            if when == "before":
                tasks[0].cancel()
            assert queue.get_nowait() == 0
            if when == "after":
                tasks[0].cancel()
            await turns()
            assert tasks[0].cancelled()
            await tasks[1]
            assert queue.get_nowait() == 2
            assert not queue._putters

        run(main())

    def test_who_was_overtaken_waits_again(self, primitives, run):
        async def main():
            queue = primitives.Queue()
            task = asyncio.ensure_future(queue.get())
            await turns()
            queue.put_nowait(1)
            assert queue.get_nowait() == 1
            await turns()
            assert not task.done()
            assert len(queue._getters) == 1
            queue.put_nowait(2)
            assert await task == 2

        run(main())

    @pytest.mark.parametrize("how", ["close", "throw"])
    def test_ended_while_it_waits(self, new, run, how):
        async def main():
            queue = new()
            waiting = queue.get()
            future = waiting.send(None)
            if how == "close":
                waiting.close()
            else:
                with pytest.raises(ValueError, match="^x$"):
                    waiting.throw(ValueError("x"))
            assert future.cancelled()
            assert not queue._getters

        run(main())

    def test_join(self, new, run):
        async def main():
            queue = new()
            assert await queue.join() is None
            for i in range(2):
                queue.put_nowait(i)
            task = asyncio.ensure_future(queue.join())
            for _ in range(2):
                await turns()
                assert not task.done()
                await queue.get()
                queue.task_done()
            assert await task is None

        run(main())

    @pytest.mark.skipif(not SHUTS_DOWN, reason="asyncio has shutdown() from 3.13 on")
    @pytest.mark.parametrize("immediate", [False, True])
    def test_shutdown(self, new, run, immediate):
        async def main():
            queue = new(1)
            queue.put_nowait(1)
            putting = asyncio.ensure_future(queue.put(2))
            joining = asyncio.ensure_future(queue.join())
            await turns()
            queue.shutdown(immediate)
            with pytest.raises(asyncio.QueueShutDown):
                await putting
            with pytest.raises(asyncio.QueueShutDown):
                queue.put_nowait(3)
            if not immediate:
                assert await queue.get() == 1
                queue.task_done()
            await joining
            with pytest.raises(asyncio.QueueShutDown):
                await queue.get()
            with pytest.raises(asyncio.QueueShutDown):
                queue.get_nowait()
            assert str(queue).endswith(" shutdown>")

        run(main())

    def test_items_that_cannot_be_compared(self, primitives, run):
        queue = primitives.PriorityQueue()
        queue.put_nowait(1)
        with pytest.raises(TypeError):
            run(queue.put("x"))
        assert queue._unfinished_tasks == 1

    def test_bound_to_another_loop(self, primitives, loop_factory):
        queue = primitives.Queue()
        loops = [loop_factory(), loop_factory()]

        async def wait():
            task = asyncio.ensure_future(queue.get())
            await turns()
            task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]

        try:
            assert type(loops[0].run_until_complete(wait())) is asyncio.CancelledError
            assert type(loops[1].run_until_complete(wait())) is RuntimeError
        finally:
            for loop in loops:
                loop.close()


class TestSubclasses:
    def test_hooks(self, primitives, run):
        class Unique(primitives.Queue):
            def _init(self, maxsize):
                self._queue = {}

            def _put(self, item):
                self._queue[item] = None

            def _get(self):
                item = next(iter(self._queue))
                del self._queue[item]
                return item

        async def main():
            queue = Unique(2)
            for item in "aab":
                await queue.put(item)
            assert queue.full() and queue.qsize() == 2
            task = asyncio.ensure_future(queue.put("c"))
            assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
            await task
            assert queue.empty()

        run(main())

    def test_one_hook_that_calls_ours(self, new, run):
        calls = []

        class Loud(new):
            def _put(self, item):
                calls.append(item)
                super()._put(item)

        async def main():
            queue = Loud()
            await queue.put(1)
            return await queue.get()

        assert run(main()) == 1
        assert calls == [1]

    @pytest.mark.parametrize(
        "name", ["put_nowait", "get_nowait", "full", "empty", "qsize", "_wakeup_next", "_get_loop"]
    )
    def test_methods(self, primitives, run, name):
        calls = []

        def method(self, *args):
            calls.append(name)
            return getattr(super(Loud, self), name)(*args)

        Loud = type("Loud", (primitives.Queue,), {name: method})

        async def main():
            queue = Loud(1)
            tasks = [asyncio.ensure_future(queue.put(i)) for i in range(3)]
            assert [await queue.get() for _ in range(3)] == [0, 1, 2]
            await asyncio.gather(*tasks)

        run(main())
        assert calls

    def test_a_store_of_its_own(self, primitives, run):
        class Heap(primitives.Queue):
            def _init(self, maxsize):
                self.mine = []

            def _put(self, item):
                self.mine.append(item)

            def _get(self):
                return self.mine.pop()

            def qsize(self):
                return len(self.mine)

            def empty(self):
                return not self.mine

        async def main():
            queue = Heap(2)
            await queue.put(1)
            await queue.put(2)
            assert queue.full()
            assert not hasattr(queue, "_queue")
            return await queue.get()

        assert run(main()) == 2

    def test_on_the_object(self, new, run):
        queue = new()
        calls = []
        put = queue._put
        queue._put = lambda item: (calls.append(item), put(item))
        run(queue.put(1))
        assert calls == [1]
        assert queue.get_nowait() == 1

    def test_put_that_a_hook_lets_fail(self, primitives, run):
        class Picky(primitives.Queue):
            def _put(self, item):
                raise LookupError(item)

        queue = Picky()
        with pytest.raises(LookupError):
            run(queue.put(1))
        assert queue._unfinished_tasks == 0


class TestReentrancy:
    def test_comparing_items_replaces_the_queue(self, primitives, run):
        queue = primitives.PriorityQueue()

        class Item:
            def __lt__(self, other):
                queue._queue = []
                gc.collect()
                return True

        for _ in range(2):
            queue.put_nowait(Item())
        assert queue.qsize() == 0
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()

    def test_finaliser_of_an_item_uses_the_queue(self, primitives):
        queue = primitives.Queue()
        seen = []

        class Item:
            def __del__(self):
                seen.append(queue.qsize())
                queue.put_nowait("late")

        queue.put_nowait(Item())
        queue._queue = collections.deque()
        gc.collect()
        assert seen == [0]
        assert queue.get_nowait() == "late"
