"""Random junk as arguments of every public callable raises what it raises in stock asyncio, and crashes nothing."""

import asyncio
import contextlib
import functools
import gc
import os
import socket
import sys

import pytest
import stock
import tracing
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(7200),
]


class Bad:
    """Whose special methods raise, or lie."""

    def fail(self, *args):
        raise ZeroDivisionError

    __eq__ = __index__ = __int__ = __float__ = __fspath__ = __bool__ = __len__ = __iter__ = __lt__ = __call__ = fail
    __hash__ = None


class Unhashable:
    __hash__ = None


class Index:
    def __index__(self):
        return 3


class NegativeIndex:
    def __index__(self):
        return -(1 << 80)


class Path:
    def __fspath__(self):
        return b"\xff\x00"


class Int(int):
    def __index__(self):
        return 1

    def __eq__(self, other):
        raise ZeroDivisionError

    __hash__ = int.__hash__


class Str(str):
    def __eq__(self, other):
        raise ZeroDivisionError

    def __hash__(self):
        return 0


class Fileno:
    def __init__(self, number):
        self.number = number

    def fileno(self):
        return self.number


class Reenter:
    """Drops, cancels and schedules whatever is at work when it is compared, called or dropped."""

    def __init__(self, subject):
        self.subject = subject

    def meddle(self, *args):
        for name in ("cancel", "stop", "close", "abort"):
            with contextlib.suppress(Exception):
                getattr(self.subject, name)()
        return False

    __eq__ = __call__ = __bool__ = __del__ = meddle
    __hash__ = object.__hash__


def function(*args):
    pass


async def coroutine_function():
    pass


# Each makes a value for the object under test.
JUNK = {
    "None": lambda subject: None,
    "False": lambda subject: False,
    "0": lambda subject: 0,
    "-1": lambda subject: -1,
    "7": lambda subject: 7,
    "10**6": lambda subject: 10**6,
    "2**31": lambda subject: 2**31,
    "2**63": lambda subject: 2**63,
    "-2**80": lambda subject: -(2**80),
    "1.5": lambda subject: 1.5,
    "nan": lambda subject: float("nan"),
    "inf": lambda subject: float("inf"),
    "str": lambda subject: "text",
    "surrogate": lambda subject: "\udcff\ud800",
    "nul": lambda subject: "a\0b",
    "bytes": lambda subject: b"bytes",
    "bytearray": lambda subject: bytearray(b"x"),
    "memoryview": lambda subject: memoryview(b"abcd")[::2],
    "tuple": lambda subject: (),
    "address": lambda subject: ("127.0.0.1", 0),
    "bad address": lambda subject: ("\ud800", -1, 2**70),
    "list": lambda subject: [b"a", 1],
    "dict": lambda subject: {},
    "object": lambda subject: object(),
    "type": lambda subject: ValueError,
    "exception": lambda subject: ValueError("x"),
    "stop iteration": lambda subject: StopIteration,
    "function": lambda subject: function,
    "coroutine function": lambda subject: coroutine_function,
    "coroutine": lambda subject: coroutine_function(),
    "subject": lambda subject: subject,
    "Bad": lambda subject: Bad(),
    "Bad type": lambda subject: Bad,
    "Unhashable": lambda subject: Unhashable(),
    "Index": lambda subject: Index(),
    "NegativeIndex": lambda subject: NegativeIndex(),
    "Path": lambda subject: Path(),
    "Int": lambda subject: Int(5),
    "Str": lambda subject: Str("name"),
    "Fileno -1": lambda subject: Fileno(-1),
    "Fileno str": lambda subject: Fileno("x"),
    "Fileno huge": lambda subject: Fileno(2**80),
    "Reenter": lambda subject: Reenter(subject),
}
KEYWORDS = ["context", "name", "loop", "msg", "sock", "ssl", "n", "nothing", "high", "low", "fn", "limit", "default"]

# What would stop the tests: signals to this process, a wait for ever, threads, a resolver.
NOT_CALLED = {"run_forever", "run_until_complete", "run_in_executor", "shutdown_default_executor", "add_signal_handler"}
NOT_CALLED |= {"remove_signal_handler", "getaddrinfo", "getnameinfo", "set_default_executor"}


def close(resource):
    with contextlib.suppress(Exception):
        resource.close()


@contextlib.contextmanager
def loop_of(kind):
    loop = kind.loop()
    loop.set_exception_handler(lambda *args: None)
    yield loop
    loop.set_debug(False)  # stock asks what was set, a Bad perhaps, each time
    for _ in range(3):
        with contextlib.suppress(Exception):
            loop.call_soon(loop.stop)
            loop.run_forever()
    loop.set_exception_handler(None)
    loop.close()


@contextlib.contextmanager
def future_of(kind):
    with loop_of(kind) as loop:
        yield kind.futures[0](loop=loop)


@contextlib.contextmanager
def task_of(kind):
    with loop_of(kind) as loop:
        yield kind.tasks[0](coroutine_function(), loop=loop, name="task")


@contextlib.contextmanager
def handle_of(kind):
    with loop_of(kind) as loop:
        yield loop.call_soon(function)


@contextlib.contextmanager
def timer_of(kind):
    with loop_of(kind) as loop:
        yield loop.call_later(1000, function)


@contextlib.contextmanager
def transport_of(kind):
    with loop_of(kind) as loop:
        near, far = socket.socketpair()
        with near, far:
            transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
            yield transport
            with contextlib.suppress(Exception):
                transport.abort()
            loop.call_soon(loop.stop)
            loop.run_forever()


@contextlib.contextmanager
def datagrams_of(kind):
    with loop_of(kind) as loop:
        coro = loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        transport, _ = loop.run_until_complete(coro)
        yield transport
        with contextlib.suppress(Exception):
            transport.abort()
        loop.call_soon(loop.stop)
        loop.run_forever()


@contextlib.contextmanager
def pipe_of(kind, write):
    with loop_of(kind) as loop:
        ends = [os.fdopen(fd, mode, buffering=0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]
        connect = loop.connect_write_pipe if write else loop.connect_read_pipe
        transport, _ = loop.run_until_complete(connect(asyncio.Protocol, ends[write]))
        yield transport
        with contextlib.suppress(Exception):
            transport.abort() if write else transport.close()
        loop.call_soon(loop.stop)
        loop.run_forever()
        for end in ends:
            close(end)


@contextlib.contextmanager
def server_of(kind):
    with loop_of(kind) as loop:
        server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
        yield server
        close(server)


SUBJECTS = {
    "loop": loop_of,
    "future": future_of,
    "task": task_of,
    "handle": handle_of,
    "timer": timer_of,
    "transport": transport_of,
    "datagrams": datagrams_of,
    "read pipe": functools.partial(pipe_of, write=False),
    "write pipe": functools.partial(pipe_of, write=True),
    "server": server_of,
}
SPECIAL = ["__init__", "__repr__", "__await__", "__iter__", "__eq__", "__lt__", "__hash__"]


IGNORING_KEYWORDS = {"exception", "get_loop"} if sys.version_info[:2] == (3, 12) else set()  # stock, then and only then


# What raises NotImplementedError on stock.
MISSING = {
    "datagrams": set() if stock.DATAGRAMS_PAUSE else {"is_reading", "pause_reading", "resume_reading"},
    "read pipe": set() if stock.PIPES_TELL else {"is_reading"},
}


@functools.cache
def methods(subject):
    not_called = NOT_CALLED | MISSING.get(subject, set())
    with SUBJECTS[subject](tracing.STOCK) as thing:
        names = [name for name in dir(thing) if not name.startswith("_") and name not in not_called]
        return [name for name in names if callable(getattr(thing, name))] + SPECIAL[1:]


calls = st.tuples(
    st.integers(0, 1000),
    st.lists(st.sampled_from(list(JUNK)), max_size=4),
    st.dictionaries(st.sampled_from(KEYWORDS), st.sampled_from(list(JUNK)), max_size=2),
)


def outcomes(subject, kind, program):
    with SUBJECTS[subject](kind) as thing:
        trace = []
        for which, args, kwargs in program:
            names = methods(subject)
            name = names[which % len(names)]
            made = [JUNK[arg](thing) for arg in args], {key: JUNK[arg](thing) for key, arg in kwargs.items()}
            if name == "call_at" and made[0] and not isinstance(made[0][0], (int, float)):
                continue  # stock takes any object for a deadline, if it is the only one: every turn fails from then on
            if name == "set_debug" and "Bad" in (*args, *kwargs.values()):
                continue  # stock keeps the object, and asks whether it is true in each turn; ours asks at once
            if name in IGNORING_KEYWORDS and kwargs:
                continue
            if name == "writelines" and not stock.WRITELINES_OF_CLOSED and thing.is_closing():
                continue
            try:
                result = getattr(thing, name)(*made[0], **made[1])
                if asyncio.iscoroutine(result):
                    # One step: it looks at its arguments before it waits.
                    try:
                        result.send(None)
                    finally:
                        result.close()
            except BaseException as exc:
                trace.append((name, type(exc).__name__))
            else:
                trace.append((name, "returns"))
                if isinstance(result, asyncio.Task):
                    result.cancel()
            for junk in [*made[0], *made[1].values()]:
                if asyncio.iscoroutine(junk):
                    junk.close()
            del made
        return trace


@pytest.mark.parametrize("subject", SUBJECTS)
def test_same_exceptions(subject):
    @given(program=st.lists(calls, min_size=1, max_size=5))
    def same(program):
        old = sys.unraisablehook
        sys.unraisablehook = lambda args: None
        try:
            expected = outcomes(subject, tracing.STOCK, program)
            got = outcomes(subject, tracing.KINDS["own"], program)
            gc.collect(0)
        finally:
            sys.unraisablehook = old
        assert expected == got

    same()
