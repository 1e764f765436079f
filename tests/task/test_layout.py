"""The private parts of CPython are known here, and if they are not, everything works without them (docs/cpython.md)."""

import importlib
import sys

import pytest

KNOWN = {
    "future_and_task": True,
    "thread_state": sys.version_info >= (3, 14),
    "task_counter": True,
    "context": True,
    "openssl": True,
}
NOTHING = dict.fromkeys(KNOWN, False)
NO_TASKS = {**NOTHING, "context": True, "openssl": True}

WORKS = """
    import asyncio, asyncloop, contextlib, contextvars
    from asyncloop import _core

    variable = contextvars.ContextVar("variable", default=0)

    async def child(future):
        variable.set(1)
        return await asyncio.wait_for(future, 5)

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.001, future.set_result, 1)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(future)) for _ in range(3)]
            assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
        numbers = [int(task.get_name().removeprefix("Task-")) for task in tasks]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        assert [task.result() for task in tasks] == [1, 1, 1] and variable.get() == 0
        assert type(tasks[0]) is asyncloop.Task
        cancelled = loop.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        cancelled.cancel()
        failed = loop.create_task(child(None))
        done = await asyncio.gather(cancelled, failed, return_exceptions=True)
        assert [type(exc) for exc in done] == [asyncio.CancelledError, TypeError]
        assert await loop.run_in_executor(None, lambda: 2) == 2
        with contextlib.suppress(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 / 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert await reader.read() == b"x"
        writer.close()

    async def serve(reader, writer):
        writer.write(await reader.readexactly(1))
        writer.close()

    async def with_server():
        global server
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            await main()

    reports = []
    loop = asyncloop.new_event_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    loop.call_soon(int, "x")
    loop.call_soon_threadsafe(int).cancel()
    loop.run_until_complete(with_server())
    assert len(reports) == 1 and "Exception in callback" in reports[0], reports
    loop.set_debug(True)
    loop.run_until_complete(with_server())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    print((asyncloop.Task is asyncio.Task), _core._layout())
    """

# Makes asyncloop._layout while there is no asyncloop yet.
BEFORE = """
    import importlib.util, sys, types

    package = types.ModuleType("asyncloop")
    package.__path__ = importlib.util.find_spec("asyncloop").submodule_search_locations
    sys.modules["asyncloop"] = package
    from asyncloop import _layout
    {}
    del sys.modules["asyncloop"]
    import asyncloop
    {}
    """


@pytest.fixture
def kind(monkeypatch):
    monkeypatch.delenv("ASYNCLOOP_LAYOUT", raising=False)
    monkeypatch.delenv("ASYNCLOOP_TLS_ENGINE", raising=False)
    return "asyncloop"


@pytest.fixture
def learned(script):
    """Returns what is known if `change` runs before the import and `undo` after it. Then tries everything."""

    def learned(change, undo=""):
        done = script(BEFORE.format(change, undo) + WORKS, "-W", "always::ImportWarning", names=False)
        warned = done.stderr.count("ImportWarning: asyncloop uses asyncio's Future and Task instead of its own")
        is_stock, known = done.stdout.split(maxsplit=1)
        assert (is_stock == "True") is (warned == 1) is not eval(known)["future_and_task"]
        return eval(known)

    return learned


def test_all_is_known_here(learned):
    assert learned("") == KNOWN


def test_one_switch_turns_all_of_it_off(learned):
    assert learned("import os; os.environ['ASYNCLOOP_LAYOUT'] = 'unknown'") == NOTHING


def test_no_specimen_is_left_after_the_import(script):
    script(
        """
        import gc
        gc.disable()
        import asyncio
        import asyncloop
        assert [found for found in gc.get_objects() if isinstance(found, asyncio.Future)] == []
    """,
        names=False,
    )


@pytest.mark.parametrize("field", ["result", "state", "coro", "exception_tb", "cancel_requests"])
def test_a_field_that_holds_something_else_is_noticed(learned, field):
    change = f"""
    def make_others(make=_layout.make_specimens):
        specimens = make()
        for specimen, fields in specimens:
            if {field!r} in fields:
                fields[{field!r}] = 7 if isinstance(fields[{field!r}], int) else object()
        return specimens

    _layout.make_specimens = make_others
    _layout.drop_specimens = lambda specimens: None
    """
    assert learned(change) == NO_TASKS


@pytest.mark.parametrize(
    ("function", "part"),
    [
        ("make_specimens", "future_and_task"),
        ("drop_specimens", "future_and_task"),
        ("make_contexts", "context"),
        ("make_ssl_object", "openssl"),
        ("make_task", "task_counter"),
        ("show_current_task", "thread_state"),
    ],
)
def test_a_step_that_raises_leaves_its_part_unknown(learned, function, part):
    known = learned(f"_layout.{function} = lambda *args: 1 / 0")
    assert known == (NO_TASKS if part == "future_and_task" else {**KNOWN, part: False})


@pytest.mark.parametrize(
    "result", ["None", "1, 2, 3", "(one := _layout.contextvars.Context(), one, one)", "_layout.contextvars.Context(),"]
)
def test_contexts_that_do_not_differ_leave_their_part_unknown(learned, result):
    assert learned(f"_layout.make_contexts = lambda: ({result})") == {**KNOWN, "context": False}


@pytest.mark.parametrize("number", ["1", "next(numbers)", "0", "-1", "'x'", "1 << 64", "None"])
def test_a_counter_that_is_not_found_is_not_used(learned, number):
    change = f"""
    import itertools
    numbers = itertools.count(1 << 60)
    _layout.make_task = lambda: {number}
    """
    assert learned(change) == {**KNOWN, "task_counter": False}


@pytest.mark.skipif(sys.version_info < (3, 14), reason="it has nothing of asyncio's")
@pytest.mark.parametrize("loop", ["object()", "task"])
def test_a_thread_state_that_has_another_loop_is_not_used(learned, loop):
    change = f"""
    def show_others(locate, show=_layout.show_current_task):
        show(lambda _, task: locate({loop}, task))

    _layout.show_current_task = show_others
    """
    assert learned(change) == {**KNOWN, "thread_state": False}


OF_TASKS = "_current_tasks", "_scheduled_tasks", "_all_tasks", "_swap_current_task", "future_add_to_awaited_by"
OTHERS = (
    ("asyncio.events", "_ThreadSafeHandle"),
    ("asyncio.format_helpers", "extract_stack"),
    ("asyncio.format_helpers", "_format_callback_source"),
    ("asyncio.base_events", "_check_ssl_socket"),
    ("asyncio.base_events", "_format_handle"),
    ("asyncio.futures", "_chain_future"),
    ("asyncio.futures", "_copy_future_state"),
    ("asyncio.transports", "_FlowControlMixin"),
)


@pytest.mark.parametrize(("module", "name"), [*(("_asyncio", name) for name in OF_TASKS), *OTHERS])
def test_undocumented_names_of_asyncio_may_be_missing(learned, module, name):
    """Code of asyncio that has imported the name still has it."""
    if not hasattr(importlib.import_module(module), name):
        pytest.skip("this version has none")
    known = learned(f"import asyncio, {module} as m; taken = m.{name}; del m.{name}", f"m.{name} = taken")
    needed = module == "_asyncio" and (name != "_swap_current_task" or sys.version_info >= (3, 14))
    assert known == (NO_TASKS if needed else KNOWN)


def test_the_second_engine_of_tls_is_turned_off_by_a_variable(learned):
    assert learned("import os; os.environ['ASYNCLOOP_TLS_ENGINE'] = 'ssl'") == {**KNOWN, "openssl": False}


OTHER_SSL = [
    "file=None",  # a specimen of another type
    "file=b'no such file'",
    "file=os.fsencode(_asyncio.__file__)",  # a library without OpenSSL
    "version='LibreSSL 4.0.0'",
    "version=ssl.OPENSSL_VERSION + ' '",
    "context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
    "incoming=ssl.MemoryBIO()",
    "outgoing=ssl.MemoryBIO()",
    "sslobject=object()",
    "sslobject=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
    "inner=context.wrap_bio(incoming, outgoing, server_hostname='other')._sslobj",
    "server_hostname='asyncloop' * 2",
    "incoming=object()",  # too small
    "inner=object()",
]


@pytest.mark.parametrize("change", OTHER_SSL)
def test_an_ssl_object_with_something_else_in_it_is_not_used(learned, change):
    change = f"""
    import os, ssl
    import _asyncio

    def make_other(make=_layout.make_ssl_object):
        file, version, context, incoming, outgoing, sslobject, inner, server_hostname = make()
        {change}
        return file, version, context, incoming, outgoing, sslobject, inner, server_hostname

    _layout.make_ssl_object = make_other
    """
    assert learned(change) == {**KNOWN, "openssl": False}


def test_ssl_objects_are_learned_when_tls_is_used_and_not_before(script):
    script(
        """
        import asyncloop
        from asyncloop import _core, _layout
        learned = []
        make = _layout.make_ssl_object
        _layout.make_ssl_object = lambda: learned.append(1) or make()
        asyncloop.new_event_loop().close()
        assert learned == []
        _core._layout(), _core._layout()
        assert learned == [1]
    """,
        names=False,
    )
