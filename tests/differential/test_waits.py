"""Random programs of time limits and groups leave the same trace with asyncio's and asyncloop's, on both loops.

The clock is the loop's own, or one that the program moves.
"""

import pytest
import wait_programs
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(7200),
]

index = st.integers(0, 5)
delay = st.integers(0, len(wait_programs.DELAYS) - 1)
small = st.integers(0, 3)


def op(name, *arguments):
    return st.tuples(st.just(name), *arguments)


simple = st.one_of(
    op("turns", small),
    op("turns", small),
    op("sleep", delay),
    op("raise", index),
    op("cancel", index),
    op("uncancel"),
    op("reschedule", index, delay),
    op("wait_for_future", delay),
    op("join", index, st.lists(op("turns", small), max_size=2)),
    op("cancel_group", index),
)


def nested(inner):
    body = st.lists(inner, max_size=3)
    return st.one_of(
        op("timeout", delay, body),
        op("timeout", delay, body),
        op("wait_for", delay, body),
        op("wait_for", delay, body),
        op("wait_for_task", delay, body),
        op("group", st.lists(body, max_size=3), body),
        op("group", st.lists(body, max_size=3), body),
        op("gather", st.lists(body, max_size=3), st.integers(0, 31)),
        op("gather", st.lists(body, max_size=3), st.sampled_from([0, 1, 4, 16])),
        op("shield", st.integers(0, 31), body),
        op("wait", st.lists(body, max_size=3), st.integers(0, 31), delay),
        op("catch", body),
        op("finally", body, body),
        op("task", body),
        inner,
    )


body = st.lists(st.recursive(simple, nested, max_leaves=8), min_size=1, max_size=4)
script = st.lists(
    st.one_of(
        op("turn", st.integers(1, 3)),
        op("turn", st.integers(1, 3)),
        op("spawn", index),
        op("cancel", index, index),
        op("reschedule", index, delay),
        op("set", index),
        op("advance", st.integers(1, 3)),
    ),
    min_size=2,
    max_size=16,
).map(lambda ops: [("spawn", 0), *ops])
programs = st.fixed_dictionaries({"bodies": st.lists(body, min_size=1, max_size=3), "script": script})


@pytest.mark.parametrize("clock", ["", " clocked"])
@pytest.mark.parametrize("kind", ["asyncloop", "mixed"])
@given(program=programs)
def test_same_trace(kind, clock, program):
    expected = wait_programs.run(program, f"asyncio{clock}")
    assert wait_programs.run(program, f"{kind}{clock}") == expected
