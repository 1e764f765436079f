"""Random programs of a pipe transport and its other end leave the same trace on stock asyncio and on asyncloop."""

import pipe_programs
import pytest
import strategies
import tracing
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(7200)]

seed = st.integers(0, 9)
PROTOCOL = {
    "write": [strategies.size, seed],
    "writelines": [st.lists(strategies.size, max_size=3)],
    "write_eof": [],
    "pause": [],
    "resume": [],
    "close": [],
    "abort": [],
    "is_closing": [],
    "is_reading": [],
    "get_write_buffer_size": [],
}
PEER = {"peer_send": [strategies.size, seed], "peer_take": [], "peer_close": []}
protocol_op = strategies.ops(PROTOCOL) | st.builds(lambda both: ("limits", *both), strategies.limits)
reaction = st.lists(protocol_op | st.just(("raise",)), min_size=1, max_size=3)
programs = st.fixed_dictionaries(
    {
        "end": st.sampled_from(["read", "write"]),
        "wire": st.sampled_from(["pipe", "socketpair"]),
        "eof": st.booleans(),
        "limits": st.none() | strategies.limits,
        "reactions": st.dictionaries(st.sampled_from(strategies.CALLBACKS), reaction, max_size=3),
        "script": st.lists(protocol_op | strategies.ops(PEER), min_size=1, max_size=12),
    }
)


@given(program=programs)
def test_same_trace(program):
    expected = pipe_programs.run(program, tracing.STOCK)
    tracing.assert_same(expected, pipe_programs.run(program, tracing.KINDS["own"]))
