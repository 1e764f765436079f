"""What the stock asyncio of the running Python does, where that changed from one patch release to the next.

Distributions stay at an early patch release: Debian 12 at 3.11.2, Debian 13 at 3.13.5. So the tests ask the code of the
running Python. What changed with 3.12.0, 3.13.0 and so on is no matter of this file: tests ask sys.version_info.

`@pytest.mark.stock_needs(FACT, reason=...)` skips the asyncio variant of a test where FACT does not hold.
"""

import inspect
import sys
import sysconfig
from asyncio import base_events, selector_events, sslproto, streams, taskgroups, timeouts, unix_events

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""The interpreter has no GIL. It frees some memory later, and collects garbage in another order."""

_SocketTransport = selector_events._SelectorSocketTransport
_WRITELINES = inspect.getsource(_SocketTransport.writelines)

# --- Transports: 3.11.2 lacks all of it, 3.11.7 has it ----------------------------------------------------------------

DATAGRAMS_PAUSE = "pause_reading" in vars(selector_events._SelectorTransport)
"""Datagram transports have pause_reading(), resume_reading() and is_reading()."""

PIPES_TELL = "is_reading" in vars(unix_events._UnixReadPipeTransport)
"""Pipe transports have is_reading()."""

PAUSES_EARLY = DATAGRAMS_PAUSE and PIPES_TELL
"""pause_reading() in connection_made() holds: the loop does not begin to read all the same."""

TLS_ABORTS_CLOSED = "is not None" in inspect.getsource(sslproto._SSLProtocolTransport.abort)
"""abort() of a TLS transport that was closed twice does nothing; before, it raises AttributeError."""

STREAMS_REPORT = "Unhandled exception in client_connected_cb" in inspect.getsource(streams.StreamReaderProtocol)
"""An exception of the callback of start_server() is reported, and the connection closed; 3.11.2 does neither."""

# --- Writing --------------------------------------------------------------------------------------------------------

WRITELINES_PAUSES = sys.version_info < (3, 12) or "_maybe_pause_protocol" in _WRITELINES
"""writelines() pauses the protocol; from 3.12.0 to the releases that mend CVE-2024-12254 it does not."""

WRITELINES_SKIPS_FALSE = sys.version_info < (3, 14) or " if data" in _WRITELINES
"""writelines() leaves out what is false, even if it is no bytes-like object."""

WRITELINES_DRAINS = sys.version_info < (3, 12) or " if data" in _WRITELINES
"""writelines() leaves out empty pieces; from 3.12.0 on they wait to be sent for ever (gh-155888)."""

WRITELINES_LOOKS = "_conn_lost" in _WRITELINES
"""writelines() of a lost connection complains; before, it is write() of all, or does not look."""

WRITELINES_OF_CLOSED = sys.version_info < (3, 12) or WRITELINES_LOOKS
"""writelines() of a closed transport does nothing; from 3.12.0 to when it looks it fails, or waits to send for ever."""

KNOWS_ITS_END = "self._closing and not self._conn_lost" in inspect.getsource(_SocketTransport)
"""A transport that was closed with something to send, and has sent it, knows that it is lost (gh-156512)."""

DATAGRAMS_COUNT = "_buffer_size +=" in inspect.getsource(selector_events._SelectorDatagramTransport._sendto_ready)
"""get_write_buffer_size() of datagrams is right.

Before, it forgot what could not be sent in the second try, and 3.13 added 8 for each datagram and took nothing off.
"""


def unsent(transport):
    """Whether something of a transport waits to be sent, whatever get_write_buffer_size() says."""
    buffer = getattr(transport, "_buffer", None)
    return transport.get_write_buffer_size() > 0 if buffer is None else len(buffer) > 0


# --- The loop -------------------------------------------------------------------------------------------------------

SPOILS_THE_OUTER_RUN = "try:\n            self._run_forever_setup()" in inspect.getsource(
    base_events.BaseEventLoop.run_forever
)
"""A nested run_forever() raises, but the outer loop takes itself for stopped then."""

_CREATE_TASK = inspect.signature(base_events.BaseEventLoop.create_task).parameters
FACTORY_IS_GIVEN_ALL = list(_CREATE_TASK) == ["self", "coro", "kwargs"]
"""A task factory is given all keyword arguments of create_task(), also the name."""

# --- Timeouts and groups of tasks: 3.11.2 lacks all of it, 3.11.7 has it ----------------------------------------------

TIMEOUT_CHECKS_STATE = "already been entered" in inspect.getsource(timeouts.Timeout)
"""A Timeout that was entered or left refuses what is wrong then, and chains its TimeoutError to the CancelledError."""

GROUP_LOOKS_FIRST = "has already been entered" in inspect.getsource(taskgroups.TaskGroup.__aenter__)
"""A TaskGroup is entered once its task is known; before, it was at once, and said "has been already entered"."""
