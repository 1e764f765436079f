"""Random programs of a stream transport and its peer leave the same trace on stock asyncio and on asyncloop."""

import pytest
import tracing
import transport_programs
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(7200)]

size = st.sampled_from([0, 1, 2, 3, 4, 5])
limits = st.sampled_from([(None, None), (0, None), (65536, 100), (100, 0), (0, 0), (1, 2)])
PROTOCOL = {
    "write": [size, st.integers(0, 9)],
    "writelines": [st.lists(size, max_size=3)],
    "write_junk": [st.integers(0, 4)],
    "write_eof": [],
    "pause": [],
    "resume": [],
    "close": [],
    "abort": [],
    "look": [],
    "switch": [st.sampled_from(["plain", "buffered"])],
    "info": [st.sampled_from(["peername", "sockname", "socket", "junk"])],
}
PEER = {
    "peer_send": [size, st.integers(0, 9)],
    "peer_take": [],
    "peer_eof": [],
    "peer_close": [],
    "peer_reset": [],
}


def ops(table):
    return st.one_of([st.tuples(st.just(name), *args) for name, args in table.items()])


limit_op = st.builds(lambda both: ("limits", *both), limits)
protocol_op = ops(PROTOCOL) | limit_op
script_op = protocol_op | ops(PEER)
CALLBACKS = ["connection_made", "data", "eof_received", "connection_lost", "pause_writing", "resume_writing"]
programs = st.fixed_dictionaries(
    {
        "wire": st.sampled_from(["socketpair", "tcp"]),
        "protocol": st.sampled_from(["plain", "buffered"]),
        "eof": st.booleans(),
        "limits": st.none() | limits,
        "reactions": st.dictionaries(st.sampled_from(CALLBACKS), st.lists(protocol_op | st.just(("raise",)), min_size=1, max_size=3), max_size=3),
        "script": st.lists(script_op, min_size=1, max_size=12),
    }
)


def test_same_trace():
    @given(program=programs)
    def same(program):
        expected = transport_programs.run(program, tracing.STOCK)
        tracing.assert_same(expected, transport_programs.run(program, tracing.KINDS["own"]))

    same()
