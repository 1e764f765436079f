"""Random programs of a StreamReader leave the same trace with asyncio's class and with asyncloop's."""

import asyncio

import pytest
import reader_programs
import tracing
from hypothesis import given
from hypothesis import strategies as st

import asyncloop

pytestmark = pytest.mark.timeout(7200)

size = st.integers(0, 40)
op = st.one_of(
    st.tuples(st.just("feed"), size, st.integers(0, 9)),
    st.tuples(st.just("feed"), size, st.integers(0, 9)),
    st.tuples(st.just("read"), st.sampled_from(reader_programs.METHODS), st.integers(-1, 30)),
    st.tuples(st.just("read"), st.sampled_from(reader_programs.METHODS), st.integers(-1, 30)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["eof", "exception", "look", "hold", "drop", "state"])),
    st.tuples(st.sampled_from(["extend", "set"]), size),
)
programs = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([1, 5, 12, 65536, 2**70]),
        "pausable": st.booleans(),
        "script": st.lists(op, min_size=1, max_size=20),
    }
)


@pytest.mark.parametrize("loop", [asyncloop.Loop, asyncio.SelectorEventLoop], ids=["our loop", "stock loop"])
@given(program=programs)
def test_same_trace(program, loop):
    expected = reader_programs.traced(program, loop, asyncio.StreamReader)
    tracing.assert_same(expected, reader_programs.traced(program, loop, asyncloop.StreamReader))
