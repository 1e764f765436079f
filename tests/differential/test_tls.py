"""Random programs of a TLS transport, its ciphertext cut anywhere, leave the trace they leave on stock asyncio."""

import shutil

import pytest
import strategies
import tls_programs
import tracing
from hypothesis import given
from hypothesis import strategies as st

from asyncloop import _core

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(7200),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by the openssl program"),
]

PEER = strategies.PEER | {"peer_unwrap": [], "peer_junk": [strategies.size]}
programs = strategies.programs(
    PEER,
    server=st.booleans(),
    version=st.sampled_from(["1.2", "1.3"]),
    upgrade=st.booleans(),
    chunks=st.lists(st.sampled_from([1, 2, 5, 6, 100, 16_000, 200_000]), min_size=1, max_size=4),
)


@given(program=programs, engine=st.sampled_from(["openssl", "ssl"]))
def test_same_trace(program, engine):
    expected = tls_programs.run(program, tracing.STOCK)
    before = _core._tls_engine()
    _core._tls_engine(engine)
    try:
        tracing.assert_same(expected, tls_programs.run(program, tracing.KINDS["own"]))
    finally:
        _core._tls_engine(before)
