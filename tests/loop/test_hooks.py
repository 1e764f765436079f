"""What asyncloop.Loop relies on in asyncio.BaseEventLoop is there, in this Python too (design D10).

The first half looks only into asyncio's source: it says what a new Python has changed. The second half holds our side
against the same tables.
"""

import ast
import asyncio
import inspect
import re
import signal
import sys
import tempfile
from asyncio import base_events
from asyncio.selector_events import BaseSelectorEventLoop
from asyncio.unix_events import _UnixSelectorEventLoop
from pathlib import Path

import pytest

TREE = ast.parse(inspect.getsource(base_events))
BASE = next(node for node in TREE.body if isinstance(node, ast.ClassDef) and node.name == "BaseEventLoop")
METHODS = {node.name: node for node in BASE.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

# What we call, as we call it: the positional arguments and the names of the others.
WE_CALL = {
    "_check_closed": ((), ()),
    "_check_running": ((), ()),
    "_check_thread": ((), ()),
    "_check_callback": (("callback", "method"), ()),
    "_set_coroutine_origin_tracking": (("enabled",), ()),
    "_asyncgen_firstiter_hook": (("agen",), ()),
    "_asyncgen_finalizer_hook": (("agen",), ()),
    "_ensure_resolved": (("address",), ("family", "type", "proto", "loop")),
}

# What asyncio calls, as it does: a Python that calls one differently has changed what we must accept.
IT_CALLS = {
    "_make_socket_transport": (("sock", "protocol", "waiter"), {"context"}),  # context: from 3.15
    "_make_datagram_transport": (("sock", "protocol", "r_addr", "waiter"), set()),
    "_make_ssl_transport": (
        ("sock", "protocol", "sslcontext", "waiter"),
        {"server_side", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout", "context"},
    ),
    "_start_serving": (
        (
            "_protocol_factory",
            "sock",
            "_ssl_context",
            "self",
            "_backlog",
            "_ssl_handshake_timeout",
            "_ssl_shutdown_timeout",
        ),
        {"context"},
    ),
    "_stop_serving": (("sock",), set()),
    "_make_read_pipe_transport": (("pipe", "protocol", "waiter"), set()),
    "_make_write_pipe_transport": (("pipe", "protocol", "waiter"), set()),
    "_sendfile_native": (("transport", "file", "offset", "count"), set()),
    "_sock_sendfile_native": (("sock", "file", "offset", "count"), set()),
    "_process_events": (("event_list",), set()),
    "_write_to_self": ((), set()),
}

# What it calls, where ours is Python: each call as it stands there.
IT_CALLS_IN_PYTHON = {
    "_make_subprocess_transport": {
        "(protocol, cmd, True, stdin, stdout, stderr, bufsize, **kwargs)",
        "(protocol, popen_args, False, stdin, stdout, stderr, bufsize, **kwargs)",
    },
}
# Of those, what Loop has in Python; the rest is C.
IN_PYTHON = {"_make_ssl_transport", "_stop_serving", "_sendfile_native", "_sock_sendfile_native", "_process_events"}

# What programs replace: asyncloop._patches looks whether one did. And what they override or call, from 3.13 on.
MAY_BE_REPLACED = {"_add_callback", "_call_soon", "_run_once", "_timer_handle_cancelled"}
MAY_BE_REPLACED |= {"_run_forever_setup", "_run_forever_cleanup"}

# What BaseEventLoop leaves to its subclasses.
ABSTRACT = {
    "_make_socket_transport",
    "_make_ssl_transport",
    "_make_datagram_transport",
    "_make_read_pipe_transport",
    "_make_write_pipe_transport",
    "_make_subprocess_transport",
    "_process_events",
    "_write_to_self",
}
# What is slow in a loop of ours, with the methods that lead there in spite of those that we replace.
REPLACED = {"_run_once", "call_soon_threadsafe"}
SELDOM_REACHED = {
    "_process_events": set(),
    "_selector": set(),
    "_write_to_self": {"_add_callback_signalsafe"},  # which is there for asyncio's Unix loop
}

# Private attributes of BaseEventLoop's instances: each is a data descriptor of the C type or left to Python.
IN_C = {
    "_clock_resolution",
    "_closed",
    "_current_handle",
    "_debug",
    "_ready",
    "_scheduled",
    "_stopping",
    "_task_factory",
    "_thread_id",
}
LEFT_TO_PYTHON = {
    "_asyncgens",
    "_asyncgens_shutdown_called",
    "_coroutine_origin_tracking_enabled",
    "_coroutine_origin_tracking_saved_depth",
    "_default_executor",
    "_exception_handler",
    "_executor_shutdown_called",
    "_internal_fds",
    "_timer_cancelled_count",
}
if sys.version_info >= (3, 13):
    LEFT_TO_PYTHON.add("_old_agen_hooks")


def private_names(node):
    """The x of each self._x in `node`."""
    return {
        found.attr
        for found in ast.walk(node)
        if isinstance(found, ast.Attribute) and isinstance(found.value, ast.Name) and found.value.id == "self"
        if re.match("_[^_]", found.attr)
    }


def users(name):
    """The methods of BaseEventLoop that have self.<name> in them."""
    return {method for method, node in METHODS.items() if name in private_names(node)}


def ways_to(name):
    """The methods that nothing else in BaseEventLoop uses and that lead to self.<name>, not by way of REPLACED."""
    return set().union(*(ways_to(user) if users(user) else {user} for user in users(name) - REPLACED))


def calls(name):
    """The calls of the hook `name` in asyncio's base_events, Server's own method of that name left out."""
    return [
        call
        for call in ast.walk(TREE)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == name
        if name != "_start_serving" or ast.unparse(call.func.value) == "self._loop"
    ]


def argument(node):
    """What an argument of a call is called where it comes from: sock for sock, _backlog for self._backlog."""
    return node.attr if isinstance(node, ast.Attribute) else node.id


class TestAsyncio:
    @pytest.mark.parametrize("name", WE_CALL)
    def test_methods_that_we_call_take_our_arguments(self, name):
        positional, named = WE_CALL[name]
        method = getattr(base_events.BaseEventLoop, name)
        bound = inspect.signature(method).bind("self", *positional, **dict.fromkeys(named))
        # By their names too, as an argument that has come in between would be taken for ours.
        assert tuple(bound.arguments) == ("self", *positional, *named)
        assert inspect.iscoroutinefunction(method) == (name == "_ensure_resolved")

    @pytest.mark.parametrize("name", IT_CALLS)
    def test_hooks_in_c_are_called_with_the_arguments_we_know(self, name):
        positional, named = IT_CALLS[name]
        assert calls(name)
        for call in calls(name):
            assert tuple(map(argument, call.args)) == positional
            assert {keyword.arg for keyword in call.keywords} <= named

    @pytest.mark.parametrize("name", IT_CALLS_IN_PYTHON)
    def test_hooks_in_python_are_called_with_the_arguments_we_know(self, name):
        assert {ast.unparse(call).partition(name)[2] for call in calls(name)} == IT_CALLS_IN_PYTHON[name]

    def test_abstract_methods_are_those_we_know(self):
        def is_abstract(node):
            return ast.unparse(node.body[-1]) == "raise NotImplementedError" and len(node.body) <= 2

        assert {name for name, node in METHODS.items() if is_abstract(node)} == ABSTRACT

    @pytest.mark.parametrize("name", SELDOM_REACHED)
    def test_slow_attributes_are_seldom_reached(self, name):
        assert users(name)
        assert ways_to(name) == SELDOM_REACHED[name]

    def test_each_private_attribute_is_known(self):
        assert private_names(BASE) - METHODS.keys() == IN_C | LEFT_TO_PYTHON | {"_selector"}
        assert not IN_C & LEFT_TO_PYTHON


class TestOurs:
    @pytest.fixture
    def ours(self):
        from asyncloop import Loop, _core, _loop

        self.Loop, self.CLoop, self.listed = Loop, _core.Loop, _loop.INHERITED_HOOKS

    @pytest.fixture
    def fresh(self, ours):
        loop = self.Loop()
        yield loop
        loop.close()

    def test_list_of_hooks_names_those_that_are_called(self, ours):
        assert sorted(self.listed) == sorted([*WE_CALL, *IT_CALLS, *IT_CALLS_IN_PYTHON])

    def test_list_of_hooks_is_complete(self, ours):
        """No other private method of BaseEventLoop is named in our code."""
        root = Path(__file__).parents[2]
        named = set()
        for path in [*root.glob("asyncloop/*.py"), *root.glob("src/**/*.[ch]")]:
            named |= set(re.findall(r"\b_[a-z]\w*", path.read_text()))
        private = {name for name in METHODS if re.match("_[^_]", name)}
        assert "_check_thread" in named
        tls = {"_do_shutdown"}  # SSLProtocol has one of that name too
        assert named & private - vars(self.CLoop).keys() - tls - MAY_BE_REPLACED <= set(self.listed)

    @pytest.mark.parametrize("name", WE_CALL)
    def test_methods_that_we_call_are_inherited(self, ours, name):
        assert getattr(self.Loop, name) is getattr(base_events.BaseEventLoop, name)

    @pytest.mark.parametrize("name", IT_CALLS)
    def test_hooks_are_ours(self, ours, name):
        mine = getattr(self.Loop, name)
        if name in IN_PYTHON:
            assert mine is not vars(self.CLoop).get(name)
            assert mine is not getattr(base_events.BaseEventLoop, name, None)
        else:
            assert mine is vars(self.CLoop)[name]

    @pytest.mark.parametrize("name", IT_CALLS_IN_PYTHON)
    def test_hooks_in_python_are_ours(self, ours, name):
        (mine,) = [vars(base)[name] for base in self.Loop.__mro__ if name in vars(base)][:1]
        stock = inspect.signature(getattr(_UnixSelectorEventLoop, name))
        assert mine.__module__.startswith("asyncloop.")
        assert inspect.iscoroutinefunction(mine)
        assert list(inspect.signature(mine).parameters) == list(stock.parameters)

    @pytest.mark.parametrize(
        "name",
        ["_make_socket_transport", "_make_datagram_transport", "_start_serving", "_stop_serving", "_sendfile_native"],
    )
    def test_hooks_bind_arguments_as_stock_ones_do(self, ours, name):
        mine = inspect.signature(getattr(self.Loop, name))
        stock = inspect.signature(getattr(BaseSelectorEventLoop, name))
        for call in calls(name):
            positional = map(argument, call.args)
            named = {keyword.arg: keyword.arg for keyword in call.keywords}
            arguments = "self", *positional
            assert mine.bind(*arguments, **named).arguments == stock.bind(*arguments, **named).arguments

    @pytest.mark.parametrize("name", sorted(REPLACED))
    def test_replaced_methods_are_in_c(self, ours, name):
        assert getattr(self.Loop, name) is vars(self.CLoop)[name]

    def test_data_descriptors_in_c_are_those_we_know(self, ours):
        descriptors = {name for name, value in vars(self.CLoop).items() if inspect.isdatadescriptor(value)}
        assert descriptors == IN_C | {"_held_most"}  # our own, see src/net/held.c

    def test_attributes_are_in_one_place(self, fresh):
        assert not vars(fresh)
        assert all(hasattr(fresh, name) for name in LEFT_TO_PYTHON)

    def test_slots_are_those_of_attributes_left_to_python(self, ours):
        from asyncloop import _loop

        every_python = {"slow_callback_duration", "_old_agen_hooks"}
        assert {*_loop.BASE_ATTRIBUTES} == LEFT_TO_PYTHON | every_python

    def test_loop_has_no_dict_of_its_own(self, fresh):
        """What a loop stores on itself has a slot: while it has no dict, the interpreter finds its methods faster."""

        async def main():
            fresh.add_signal_handler(signal.SIGUSR1, print)
            fresh.set_exception_handler(print)
            fresh.set_task_factory(None)
            await fresh.run_in_executor(None, int)
            await (await asyncio.create_subprocess_exec(sys.executable, "-c", "")).wait()
            (await asyncio.start_unix_server(print, tmp)).close()
            await fresh.shutdown_asyncgens()
            await fresh.shutdown_default_executor()

        with tempfile.TemporaryDirectory() as place:
            tmp = f"{place}/s"
            fresh.run_until_complete(main())
        assert vars(fresh) == {}
        fresh.colour = "red"
        assert vars(fresh) == {"colour": "red"}
