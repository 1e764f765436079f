"""Random programs of tasks, futures, callbacks and timers leave the same trace on stock asyncio and on asyncloop."""

import pytest
import task_programs
import tracing
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine method .* was never awaited:RuntimeWarning"),
    pytest.mark.timeout(7200),
]

index = st.integers(0, 3)
ref = st.tuples(st.booleans(), index)
refs = st.lists(ref, min_size=1, max_size=3)
flag = st.booleans()
delay = st.sampled_from([0, 0.5, 1, 1, 2, 3])
timeout = st.sampled_from([None, 0, 0.5, 1, 2, -1])
context = st.sampled_from([0, 0, 1, 2])
exception = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])

SYNC = {
    "future": [index],
    "create_future": [],
    "spawn": [index, index, context, st.integers(0, 2)],
    "create_task": [index],
    "factory": [index],
    "cancel": [ref, st.integers(0, 2)],
    "set_result": [index, index],
    "set_exception": [index, exception],
    "look": [ref],
    "result": [ref],
    "exception": [ref],
    "add_done_callback": [ref, index, context],
    "remove_done_callback": [ref, index],
    "call_soon": [index, context],
    "call_soon_threadsafe": [index, context],
    "call_later": [delay, index, context],
    "call_at": [delay, index],
    "cancel_handle": [index],
    "look_handle": [index],
    "var": [index],
    "uncancel": [],
    "stop": [],
    "close": [],
    "all_tasks": [],
    "stack": [index],
    "event": [flag],
    "put_nowait": [index],
    "get_nowait": [],
    "release": [st.integers(0, 1)],
    "notify": [st.integers(0, 1)],
    "raise": [exception],
    "nest": [],
}
WAIT = {
    "sleep": [delay],
    "await": [ref],
    "yield": [st.integers(0, 4)],
    "call": [index],
    "shield": [ref],
    "gather": [refs, flag],
    "gather_work": [st.lists(index, max_size=3), flag],
    "wait": [refs, timeout, st.integers(0, 2)],
    "wait_for": [ref, timeout],
    "wait_for_work": [index, timeout],
    "completed": [refs, timeout],
    "for_event": [],
    "put": [index],
    "get": [],
}


def op(table):
    return st.one_of([st.tuples(st.just(name), *args) for name, args in table.items()])


sync_op = op(SYNC)
simple_op = op(WAIT) | sync_op


def nested(ops):
    few = st.lists(ops, max_size=3)
    return op(
        {
            "try": [few, few, index],
            "finally": [few, few],
            "timeout": [timeout, few, st.none() | delay],
            "group": [st.lists(index, max_size=3), few],
            "lock": [few],
            "semaphore": [few],
            "condition": [few],
            "generator": [few, index, index],
        }
    )


body = st.lists(simple_op | nested(simple_op | nested(simple_op)), max_size=6)
start = st.tuples(st.just("spawn"), index, index, context, st.integers(0, 2))
advance = st.tuples(st.just("advance"), delay) | st.tuples(st.just("turn"), st.integers(1, 4))
programs = st.fixed_dictionaries(
    {
        "bodies": st.lists(body, min_size=1, max_size=4),
        "callbacks": st.lists(st.lists(sync_op, max_size=4), min_size=1, max_size=3),
        "script": st.builds(
            lambda first, rest: [first, *rest], start, st.lists(start | advance | advance | sync_op, max_size=10)
        ),
        "debug": st.sampled_from([False, False, False, True]),
    }
)


@pytest.mark.parametrize("kind", tracing.KINDS)
def test_same_trace(kind):
    @given(program=programs)
    def same(program):
        expected = task_programs.run(program, tracing.STOCK)
        tracing.assert_same(expected, task_programs.run(program, tracing.KINDS[kind]))

    same()
