"""Random programs of locks and queues leave the same trace with asyncio's and with asyncloop's, on both loops."""

import primitive_programs
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(7200),
]

index = st.integers(0, 5)
small = st.integers(0, 5)


def op(name, *arguments):
    return st.tuples(st.just(name), *arguments)


waiting = [op(name, index) for name in primitive_programs.WAITS if name != "put"] + [op("put", index, small)]
doing = [
    *(op(name, index) for name in ("release", "locked", "set", "clear", "get_nowait", "task_done", "full")),
    op("release", index),
    op("put_nowait", index, small),
    op("notify", index, small),
    op("notify_all", index),
    op("shutdown", index, small),
    op("value", index, small),
]
body = st.lists(st.one_of(op("sleep"), op("with", index, st.integers(0, 2)), *waiting, *doing), min_size=1, max_size=6)
script = st.lists(
    st.one_of(
        op("turn", st.integers(1, 4)),
        op("turn", st.integers(1, 4)),
        op("spawn", index),
        op("spawn", index),
        op("cancel", index, small),
        op("cancel", index, small),
        st.one_of(*waiting).map(lambda made: ("task", *made)),
        st.one_of(*waiting).map(lambda made: ("begin", *made)),
        *(op(name, index, small) for name in ("send", "throw", "close", "drop")),
        *doing,
    ),
    min_size=4,
    max_size=24,
)
programs = st.fixed_dictionaries(
    {
        "sizes": st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3)),
        "bodies": st.lists(body, min_size=2, max_size=4),
        "script": script,
    }
)


@pytest.mark.parametrize("kind", ["asyncloop", "mixed"])
@given(program=programs)
def test_same_trace(kind, program):
    expected = primitive_programs.run(program, "asyncio")
    assert primitive_programs.run(program, kind) == expected
