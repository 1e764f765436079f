"""Random programs of a stream transport and its peer leave the same trace on stock asyncio and on asyncloop."""

import pytest
import strategies
import tracing
import transport_programs
from hypothesis import given

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(7200)]


@given(program=strategies.programs(strategies.PEER))
def test_same_trace(program):
    expected = transport_programs.run(program, tracing.STOCK)
    tracing.assert_same(expected, transport_programs.run(program, tracing.KINDS["own"]))
