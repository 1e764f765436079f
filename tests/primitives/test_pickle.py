"""What can be copied and pickled of asyncio's can be of ours."""

import copy
import pickle

import pytest

MAKE = {
    "Lock": lambda module: module.Lock(),
    "Event": lambda module: module.Event(),
    "Semaphore": lambda module: module.Semaphore(3),
    "BoundedSemaphore": lambda module: module.BoundedSemaphore(3),
    "Queue": lambda module: module.Queue(3),
    "PriorityQueue": lambda module: module.PriorityQueue(3),
}


@pytest.fixture(params=MAKE)
def made(request, primitives):
    made = MAKE[request.param](primitives)
    made.mine = [1]
    return made


def attributes(made):
    names = ("_locked", "_value", "_bound_value", "_maxsize", "_queue", "_unfinished_tasks", "mine")
    return {name: getattr(made, name) for name in names if hasattr(made, name)}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled(made, protocol):
    for change in (lambda: None, lambda: made.put_nowait(5) if hasattr(made, "put_nowait") else None):
        change()
        again = pickle.loads(pickle.dumps(made, protocol))
        assert type(again) is type(made)
        assert attributes(again) == attributes(made)


def test_copied(made):
    again = copy.copy(made)
    assert attributes(again) == attributes(made)
    assert again.mine is made.mine
    assert copy.deepcopy(made).mine is not made.mine


def test_a_copy_works(primitives, run):
    async def main():
        queue = primitives.Queue()
        queue.put_nowait(1)
        again = copy.deepcopy(queue)
        assert await again.get() == 1
        again.task_done()
        await again.join()
        assert queue.qsize() == 1

    run(main())
