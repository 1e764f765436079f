"""A program ends while objects of the loop live on in its last garbage.

The interpreter's last collections may clear the modules and the types before the objects that use them. Under the debug
allocator, whoever then uses what was freed crashes.
"""

import asyncio
import sys
import textwrap

import pytest

# asyncio remembers the class of a coroutine for ever, and that class what is global here: so all of it goes last.
HEAD = """
    import codecs, collections.abc, contextvars, gc, logging, os, socket, ssl, threading, types, warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)

    class Coroutine(collections.abc.Coroutine):
        def send(self, value):
            raise StopIteration

        def throw(self, *args):
            raise args[0]

        def __await__(self):
            yield

    class App:
        def method(self, *args):
            pass

    class Protocol(asyncio.Protocol, asyncio.DatagramProtocol):
        def __init__(self):
            self.app = app

    class OtherFuture(Future):
        pass

    class OtherTask(Task):
        pass

    app = App()
    app.itself = app
    loop = new_loop()
    run = loop.run_until_complete

    def turn():
        loop.call_soon(loop.stop)
        loop.run_forever()

    def sockets():
        app.sockets = socket.socketpair()
        for sock in app.sockets:
            sock.setblocking(False)
        return app.sockets[0]

    async def wait(*args):
        await loop.create_future()

    async def receive(sock):
        return await loop.sock_recv(sock, 1)

    async def generate():
        while True:
            yield app
"""

OBJECTS = {
    "handles": """
        app.handles = [loop.call_soon(app.method) for _ in range(300)]
        app.run = loop.call_soon_threadsafe(app.method)
        turn()
        app.queued = loop.call_soon(app.method)
    """,
    "timers": """
        app.timers = [loop.call_later(1000, app.method) for _ in range(300)]
        app.cancelled = loop.call_at(loop.time() + 1000, app.method)
        app.cancelled.cancel()
    """,
    "a timer that calls itself": """
        class Client:
            def tick(self):
                self.timer = loop.call_later(0.001, self.tick)

        app.client = Client()
        app.client.tick()
        run(asyncio.sleep(0.01))
    """,
    "iterators": """
        app.iterators = [loop.create_future().__await__() for _ in range(300)]
        next(app.iterators[0])
        app.iterators[1].close()
        done = loop.create_future()
        done.set_result(app)
        app.exhausted = done.__await__()
        list(app.exhausted)
    """,
    "futures": """
        app.futures = [loop.create_future() for _ in range(5)] + [OtherFuture(loop=loop)]
        app.futures[0].add_done_callback(app.method)
        app.futures[1].set_result(app)
        app.futures[2].set_exception(ValueError(app))
        app.futures[3].cancel()
        app.empty = Future.__new__(Future)
    """,
    "tasks": """
        app.tasks = [loop.create_task(wait(app)), OtherTask(wait(app), loop=loop)]
        app.done = loop.create_task(asyncio.sleep(0))
        turn()
        app.queued = loop.create_task(wait(app))
        app.empty = Task.__new__(Task)
        app.generator = generate()
        run(app.generator.__anext__())
    """,
    "futures of another loop": """
        app.other = asyncio.SelectorEventLoop()
        app.future = Future(loop=app.other)
        app.future.set_exception(ValueError(app))
        app.task = Task(wait(app), loop=app.other)
        app.other.close()
    """,
    "the loop": """
        app.loop = loop
        loop.set_exception_handler(app.method)
        loop.add_reader(sockets(), app.method)
    """,
    "connections": """
        app.connection = run(loop.create_connection(Protocol, sock=sockets()))
        app.connection[0].write(bytes(1_000_000))
        app.closed = run(loop.create_connection(Protocol, sock=app.sockets[1]))
        app.closed[0].close()
    """,
    "streams": """
        app.streams = run(asyncio.open_connection(sock=sockets()))
        app.task = loop.create_task(app.streams[0].read())
        turn()
    """,
    "servers": """
        app.server = run(loop.create_server(Protocol, "127.0.0.1", 0))
        app.connection = run(loop.create_connection(Protocol, *app.server.sockets[0].getsockname()))
        app.endpoint = run(loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0)))
    """,
    "pipes": """
        reader, writer = os.pipe()
        app.reader = run(loop.connect_read_pipe(Protocol, open(reader, "rb", 0)))
        app.writer = run(loop.connect_write_pipe(Protocol, open(writer, "wb", 0)))
    """,
    "TLS": """
        context = ssl.create_default_context()
        connecting = loop.create_connection(Protocol, sock=sockets(), ssl=context, server_hostname="x")
        app.task = loop.create_task(connecting)
        turn()
        turn()
    """,
    "sock_recv": """
        app.task = loop.create_task(receive(sockets()))
        turn()
        app.other = loop.sock_recv(app.sockets[1], 1)
    """,
    "executors": """
        app.future = loop.run_in_executor(None, app.method)
        run(asyncio.wait([app.future]))
        app.other = loop.run_in_executor(None, app.method)
    """,
}

KEPT_BY = {
    "its own cycle": "",
    "a coroutine's class": "run(Coroutine())",
    "a thread's variable": "kept = threading.local(); kept.app = app; run(Coroutine())",
    "a context's variable": "contextvars.ContextVar('kept').set(app)",
    "sys": "sys.kept = app",
    "a module": "sys.modules['kept'] = module = types.ModuleType('kept'); module.app = app",
    "the interpreter": "codecs.register(lambda name, app=app: None)",
    "sys, its package not imported any more": """
        sys.kept = app
        for name in [name for name in sys.modules if name.partition(".")[0] in ("asyncloop", "asyncio", "_asyncio")]:
            del sys.modules[name]
        gc.collect()
    """,
}


@pytest.fixture
def ends(script):
    """Runs a program of these parts: it has to come to its end, and to leave well."""

    def ends(*parts):
        source = "\n".join(map(textwrap.dedent, (HEAD, *parts, "print('end')")))
        done = script(source, check=False)
        assert (done.stdout.split(), done.returncode) == (["end"], 0), done.stderr

    return ends


@pytest.mark.parametrize("objects", OBJECTS)
def test_interpreter_ends_with_objects_left(ends, objects, kind):
    if (kind, objects) == ("asyncio", "iterators") and sys.version_info[:2] == (3, 12):
        pytest.skip("asyncio's own iterator crashes the collector at the end of 3.12")
    ends(OBJECTS[objects], KEPT_BY["a coroutine's class"])


@pytest.mark.parametrize("keep", KEPT_BY)
def test_interpreter_ends_with_everything_kept_by(ends, keep):
    ends(*OBJECTS.values(), KEPT_BY[keep], "loop.close()")


# The collector clears in an order of its own. Here all types go first, and then everything that can be done is done.
# But for what futures and tasks inherit: asyncio's code asks the type for its module, and crashes if that was cleared.
CLEAR_TYPES = """
    import ctypes
    from asyncloop import Loop, _core

    def clear(op, kind):
        place = id(kind) + object.__basicsize__ + 22 * ctypes.sizeof(ctypes.c_void_p)
        tp_clear = ctypes.c_void_p.from_address(place).value
        if tp_clear is not None:
            ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(tp_clear)(op)

    OF_FUTURES = "cancel", "set_result", "set_exception"

    def actions_of(op):
        for name in OF_FUTURES if isinstance(op, asyncio.Future) else dir(type(op)):
            value = getattr(type(op), name, None)
            if isinstance(value, types.GetSetDescriptorType):
                yield value.__get__, op, type(op)
            elif isinstance(value, types.MethodDescriptorType) and name not in ("_run_until_stopped", "_run_once"):
                method = value.__get__(op, type(op))  # some of asyncio's crash without the type
                yield (method,)
                yield method, 1
                yield method, b"x"

    def do(actions):
        for function, *args in actions:
            try:
                function(*args)
            except (Exception, asyncio.CancelledError):
                pass

    kinds = [kind for kind in vars(_core).values() if isinstance(kind, type)] + [Loop, OtherFuture, OtherTask]
    objects = [op for op in gc.get_objects() if type(op) in kinds]
    actions = [action for op in objects for action in actions_of(op)]
    types_of_objects = list(map(type, objects))
    ours = {"TimerHandle", "SocketTransport", "SockOp"} | ({"FutureIter"} if Future is not asyncio.Future else set())
    assert {kind.__name__ for kind in types_of_objects} >= ours
    for kind in kinds:
        clear(kind, type)
    do(actions)
    do((kind, *args) for kind in kinds for args in ((), (1,)))
    for op, kind in zip(objects, types_of_objects):
        clear(op, kind)
    do(actions)
    del op, objects, actions
    vars(app).clear()
    gc.collect()
"""


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
def test_interpreter_ends_if_types_are_cleared_before_their_objects(ends, Future):
    if Future is asyncio.Future:
        pytest.skip("asyncio's own futures crash then, which are what a loop makes where their layout is unknown")
    ends(*OBJECTS.values(), CLEAR_TYPES, "loop = run = app = None\ngc.collect()")


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
def test_an_unused_module_is_collected(script, kind):
    done = script("""
        import gc, importlib.util, weakref
        from asyncloop import _core

        def use():
            module = importlib.util.module_from_spec(_core.__spec__)
            module.__spec__.loader.exec_module(module)
            loop = module.Loop()
            future = loop.create_future()
            future.cycle = [loop, future, future.__await__(), loop.call_soon(print), loop.call_later(1, print)]
            return [weakref.ref(op) for op in (module, module.Loop, module.Future, module.Handle, future)]

        references = [reference for _ in range(3) for reference in use()]
        gc.collect()
        gc.collect()
        print([reference() for reference in references if reference() not in (None, asyncio.Future)])
    """)
    assert done.stdout.strip() == "[]"
