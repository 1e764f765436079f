"""What programs of transports are drawn from."""

from hypothesis import strategies as st

size = st.integers(0, 5)
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
CALLBACKS = ["connection_made", "data", "eof_received", "connection_lost", "pause_writing", "resume_writing"]


def ops(table):
    """One op of a table of {name: [strategies of its arguments]}."""
    return st.one_of([st.tuples(st.just(name), *args) for name, args in table.items()])


def programs(peer, **more):
    """Programs whose peer has these ops, with more keys."""
    protocol_op = ops(PROTOCOL) | st.builds(lambda both: ("limits", *both), limits)
    reaction = st.lists(protocol_op | st.just(("raise",)), min_size=1, max_size=3)
    keys = {
        "wire": st.sampled_from(["socketpair", "tcp"]),
        "protocol": st.sampled_from(["plain", "buffered"]),
        "eof": st.booleans(),
        "limits": st.none() | limits,
        "reactions": st.dictionaries(st.sampled_from(CALLBACKS), reaction, max_size=3),
        "script": st.lists(protocol_op | ops(peer), min_size=1, max_size=12),
    }
    return st.fixed_dictionaries(keys | more)
