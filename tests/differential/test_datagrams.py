"""Random programs of a datagram transport and its peer leave the same trace on stock asyncio and on asyncloop."""

import datagram_programs
import pytest
import strategies
import tracing
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(7200)]

seed = st.integers(0, 9)
where = st.sampled_from(["nowhere", "nowhere", "peer", "peer", "bad", "junk"])
PROTOCOL = {
    "send": [strategies.size, seed, where],
    "send_junk": [st.integers(0, 4)],
    "close": [],
    "abort": [],
    "look": [],
    "info": [st.sampled_from(["peername", "sockname", "socket", "junk"])],
}
PEER = {"peer_send": [strategies.size, seed, st.integers(1, 3)], "peer_take": [], "peer_close": []}
CALLBACKS = [
    "connection_made",
    "datagram_received",
    "error_received",
    "connection_lost",
    "pause_writing",
    "resume_writing",
]
protocol_op = strategies.ops(PROTOCOL) | st.builds(lambda both: ("limits", *both), strategies.limits)
reaction = st.lists(protocol_op | st.just(("raise",)), min_size=1, max_size=3)
programs = st.fixed_dictionaries(
    {
        "wire": st.sampled_from(["udp", "connected", "unix", "unix"]),
        "limits": st.none() | strategies.limits,
        "reactions": st.dictionaries(st.sampled_from(CALLBACKS), reaction, max_size=3),
        "script": st.lists(protocol_op | protocol_op | strategies.ops(PEER), min_size=1, max_size=12),
    }
)


@given(program=programs)
def test_same_trace(program):
    expected = datagram_programs.run(program, tracing.STOCK)
    tracing.assert_same(expected, datagram_programs.run(program, tracing.KINDS["own"]))
