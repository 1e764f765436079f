"""Objects whose hooks run scripts: callables, numbers, text, buffers, errors, coroutines, futures, loops, protocols."""

import asyncio
import collections.abc
import contextvars
import ssl

import asyncloop

HOOKS = 12  # times that one object runs its script

variables = [contextvars.ContextVar(name, default=None) for name in ("first", "second")]


class Fires:
    """Runs a script whenever it is used or dies. World.make() gives it one; until then it does nothing."""

    world = None
    script = 0
    fired = 0

    def fire(self, *offered, shift=0):
        if self.world is not None and self.fired < HOOKS:
            self.fired += 1
            self.world.hook(self.script + shift, offered)

    def __del__(self):
        self.fire(shift=1)


class Evil(Fires):
    def __call__(self, *args, **kwargs):
        self.fire(*args)
        return self if self.script % 4 == 3 else None

    def method(self, *args):
        self.fire(*args, shift=2)

    def __eq__(self, other):
        self.fire(shift=3)
        return self.script % 2 == 0

    def __hash__(self):
        self.fire(shift=4)
        return 1

    def __bool__(self):
        self.fire()
        return True

    def __repr__(self):
        self.fire(shift=5)
        return "Evil"

    def __len__(self):
        self.fire()
        return 3

    def __iter__(self):
        self.fire()
        yield from (b"x" * 100, b"", b"y" * 70000, self)

    def __index__(self):
        self.fire(shift=1)
        return 100 + self.script

    fileno = __index__

    def __float__(self):
        self.fire(shift=2)
        return 0.001

    def __await__(self):
        self.fire()
        return iter([None, self, None])

    def __buffer__(self, flags):  # asked for from Python 3.12 on
        self.fire(shift=3)
        return memoryview(bytearray(b"z" * 200))

    def __release_buffer__(self, view):
        self.fire(shift=4)


class Number(Fires, float):
    """A deadline, a delay, a limit."""

    def _compare(self, other):
        self.fire(shift=1)
        return NotImplemented

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _compare
    __hash__ = float.__hash__

    def __index__(self):
        self.fire(shift=2)
        return int(self)

    def _calculate(self, other):
        self.fire(shift=3)
        return NotImplemented

    __add__ = __radd__ = __sub__ = __rsub__ = _calculate


class Text(Fires, str):
    def __str__(self):
        self.fire()
        return "text"

    def __eq__(self, other):
        self.fire(shift=1)
        return str.__eq__(self, other)

    def __hash__(self):
        self.fire(shift=2)
        return str.__hash__(self)


class Error(Fires, Exception):
    def __str__(self):
        self.fire()
        return "error"


class Interrupt(Fires, KeyboardInterrupt):
    pass


def error_class(world, script):
    """A class whose instances are made by a hook."""

    class Made(Exception):
        def __new__(cls, *args):
            world.hook(script)
            return Exception.__new__(cls) if script % 3 else None

    return Made


class Coroutine(Fires, collections.abc.Coroutine):
    """A coroutine that is no generator: its hooks run where the task enters it, leaves it or closes it."""

    def send(self, value):
        self.fire(value)
        if self.fired > 3:
            raise StopIteration(self)
        return self.yielded()

    def throw(self, *args):
        self.fire(*args, shift=1)
        if self.script % 2:
            raise args[0]
        return self.yielded()

    def close(self):
        self.fire(shift=2)

    def yielded(self):
        if self.script % 3 == 0 or not self.world.pools["future"]:
            return None
        future = self.world.pick("future", self.fired)
        if self.script % 3 == 1:
            future._asyncio_future_blocking = True
        return future

    def __await__(self):
        self.fire()
        return self

    def __next__(self):
        return self.send(None)


class Awaited(Fires):
    """No future, but one in the eyes of a task."""

    @property
    def _asyncio_future_blocking(self):
        self.fire()
        return self.script % 4 < 3

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value):
        self.fire(shift=1)

    def get_loop(self):
        self.fire(shift=2)
        return self.world.loop(1)

    def add_done_callback(self, *args, **kwargs):
        self.fire(*args, shift=3)
        for callback in args[: self.script % 2]:
            self.world.loop(1).call_soon(callback, self)

    def cancel(self, *args, **kwargs):
        self.fire(shift=4)
        return self.script % 2 == 0

    def result(self):
        self.fire(shift=5)

    def __await__(self):
        yield self


class Settled(Fires):
    """Mixed into futures and tasks: methods that others call in the middle of their work."""

    def add_done_callback(self, *args, **kwargs):
        self.fire(shift=2)
        return super().add_done_callback(*args, **kwargs)

    def cancel(self, *args, **kwargs):
        self.fire(shift=3)
        return super().cancel(*args, **kwargs)

    def result(self):
        self.fire(shift=4)
        return super().result()

    def get_loop(self):
        self.fire(shift=5)
        return super().get_loop()


class Future(Settled, asyncloop.Future):
    pass


class Task(Settled, asyncloop.Task):
    pass


class Loop(Fires, asyncloop.Loop):
    """A loop with overridden methods, as debuggers and test tools make them."""

    def call_soon(self, *args, **kwargs):
        self.fire(shift=2)
        return super().call_soon(*args, **kwargs)

    def call_exception_handler(self, context):
        self.fire(*context.values(), shift=3)
        return super().call_exception_handler(context)

    def create_future(self):
        self.fire(shift=4)
        return super().create_future()

    def time(self):
        self.fire(shift=5)
        return super().time()

    def __del__(self):
        self.fire(shift=1)
        asyncloop.Loop.__del__(self)


class OtherLoop(Fires):
    """What a future or a task takes for a loop, and is perhaps the only one to hold."""

    def get_debug(self):
        return False

    def is_running(self):
        return self.script % 2 == 0

    def is_closed(self):
        return False

    def time(self):
        return 0

    def call_soon(self, callback, *args, context=None):
        self.fire(shift=2)
        if self.script % 3 == 0:
            callback(*args)

    def call_exception_handler(self, context):
        world, script, offered = self.world, self.script, context.values()
        del self, context
        world.hook(script + 3, offered)


class Reader(Fires, asyncio.StreamReader):
    def feed_data(self, data):
        self.fire(shift=2)
        return super().feed_data(data)

    def feed_eof(self):
        self.fire(shift=3)
        return super().feed_eof()


class Transport(Fires, asyncio.Transport):
    """Somebody else's transport, below TLS."""

    _start_tls_compatible = True

    def write(self, data):
        self.fire(shift=2)

    def writelines(self, data):
        self.fire(shift=2)

    def close(self):
        self.fire(shift=3)

    abort = close

    def pause_reading(self):
        self.fire(shift=4)

    def resume_reading(self):
        self.fire(shift=5)

    def set_protocol(self, protocol):
        self.fire(protocol, shift=6)

    def is_closing(self):
        self.fire(shift=7)
        return False

    def get_extra_info(self, name, default=None):
        self.fire()
        return default


class Base(Fires):
    def connection_made(self, transport):
        self.fire(transport)

    def connection_lost(self, exc):
        self.fire(shift=2)

    def pause_writing(self):
        self.fire(shift=3)

    def resume_writing(self):
        self.fire(shift=4)

    def eof_received(self):
        self.fire(shift=5)
        return self.script % 2 == 0


class Protocol(Base, asyncio.Protocol):
    def data_received(self, data):
        self.fire(shift=6)


class BufferedProtocol(Base, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self.fire(shift=6)
        if self.script == 6:
            return self.world.make(Evil, self.script)
        if self.script != 7 or not hasattr(self, "buffer"):
            self.buffer = bytearray((1000, 1 << 16, 7)[self.script % 3])
        return self.buffer

    def buffer_updated(self, nbytes):
        self.fire(shift=7)


class Datagrams(Base, asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        self.fire(shift=6)

    def error_received(self, exc):
        self.fire(exc, shift=7)


LOOKED_UP = {"data_received", "eof_received", "connection_lost", "pause_writing", "get_buffer", "_stream_reader"}


class Elusive(Base, asyncio.Protocol):
    """A protocol whose methods are looked up by a hook."""

    def __getattribute__(self, name):
        get = object.__getattribute__
        if name in LOOKED_UP:
            get(self, "fire")(shift=6)
        return get(self, name)


PROTOCOLS = (Protocol, BufferedProtocol, Elusive, Datagrams)


class TLSContext(ssl.SSLContext):
    """Calls a hook where the handshake is prepared, and, for a server, in its middle."""

    hook = None

    def wrap_bio(self, *args, **kwargs):
        if self.hook is not None:
            self.hook()
        return super().wrap_bio(*args, **kwargs)


def tls_context(server_side, hook):
    """A context without certificates: both ends are anonymous, which OpenSSL allows at its lowest level of security."""
    context = TLSContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH:ADH:@SECLEVEL=0")
    context.hook = hook
    if server_side and hook is not None:
        context.sni_callback = hook
    return context
