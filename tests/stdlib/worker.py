"""Runs one module of CPython's test suite on the loop under test, in a process of its own.

Started by suite.py, which hands over the order as JSON on standard input and reads what
happens as JSON lines from the descriptor that the order names.
"""

import asyncio
import asyncio.log
import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
import unittest
from asyncio import base_events, futures, selector_events, tasks, unix_events
from unittest import mock

from test import support
from test.libregrtest import cmdline
from test.test_asyncio import utils


def named(spec):
    """The object that "MODULE:NAME" names."""
    module, _, name = spec.partition(":")
    return getattr(importlib.import_module(module), name)


class StandIn(type):
    """The metaclass of what takes the place of the stock loop classes: a call makes a loop under test."""

    loop_type = None
    stock = False  # asyncio's own is under test: the tests may hollow it out as they always do
    made = 0

    def __call__(cls, *args, **kwargs):
        StandIn.made += 1
        return cls.make()

    def __instancecheck__(cls, instance):
        return isinstance(instance, StandIn.loop_type)


class LoopUnderTest(metaclass=StandIn):
    make = None


def stand_in(stock_class):
    """What stands for the base class of stock loops while a test is set up."""
    return StandIn(stock_class.__name__, (), {"make": stock_class}) if StandIn.stock else LoopUnderTest


def put_in_place(order):
    """Make asyncio and the tests' own helpers use the loop (and the Task and the Future) under test."""
    LoopUnderTest.make = staticmethod(named(order["loop"]))
    loop = LoopUnderTest()
    StandIn.loop_type = type(loop)
    StandIn.stock = type(loop).__module__.startswith("asyncio.")  # a BaseEventLoop of another make is not
    loop.close()

    asyncio.SelectorEventLoop = LoopUnderTest
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = LoopUnderTest
    unix_events._UnixDefaultEventLoopPolicy._loop_factory = LoopUnderTest

    # The C... classes of test_futures and test_tasks take their types from these names.
    if order["accelerate"]:
        importlib.import_module("asyncloop").accelerate()
    if order["task"]:
        tasks._CTask = named(order["task"])
    if order["future"]:
        futures._CFuture = named(order["future"])

    unittest.TestCase._callSetUp = with_stock_classes_replaced(unittest.TestCase._callSetUp)
    mock._patch.__enter__ = by_any_name(mock._patch.__enter__)

    support.use_resources = dict.fromkeys(cmdline.ALL_RESOURCES)
    support.use_resources.pop("network", None)

    utils.TestCase.close_loop = staticmethod(close_loop(utils.TestCase.close_loop))
    utils.TestCase.new_test_loop = new_test_loop(utils.TestLoop)


def with_stock_classes_replaced(call_set_up):
    """While a test is set up, the base classes of the stock loops stand for the loop under test too."""

    def _callSetUp(self):
        with contextlib.ExitStack() as stack:
            for module, name in (
                (asyncio, "BaseEventLoop"),
                (base_events, "BaseEventLoop"),
                (selector_events, "BaseSelectorEventLoop"),
            ):
                stack.enter_context(mock.patch.object(module, name, stand_in(getattr(module, name))))
            call_set_up(self)

    return _callSetUp


def by_any_name(enter):
    """Tests mock the "asyncio" logger as base_events.logger; another loop may reach it by another name."""

    def __enter__(self):
        mocked = enter(self)
        if self.attribute == "logger" and self.target is base_events:
            methods = {name: getattr(mocked, name) for name in ("debug", "info", "warning", "error", "critical")}
            self._exit_stack.enter_context(mock.patch.multiple(asyncio.log.logger, **methods))
        return mocked

    return __enter__


def new_test_loop(virtual_time_loop):
    """The tests' loop with a virtual clock where a test drives the clock, else the loop under test."""

    def new_test_loop(self, gen=None):
        loop = LoopUnderTest() if gen is None else virtual_time_loop(gen)
        self.set_event_loop(loop)
        return loop

    return new_test_loop


def close_loop(stock_close_loop):
    """The stock helper reads loop._default_executor; here the same by public calls."""

    def close_loop(loop):
        if isinstance(loop, base_events.BaseEventLoop):
            stock_close_loop(loop)
            return
        getattr(loop, "__dict__", {}).pop("call_soon", None)  # test_error_in_call_soon leaves a broken one behind
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    return close_loop


# What makes a stock loop and hollows it out: another loop is used as it is.


def base_event_loop_tests_set_up(stock_set_up):
    def setUp(self):
        if StandIn.stock:
            stock_set_up(self)
        else:
            super(type(self), self).setUp()
            self.loop = LoopUnderTest()
            self.set_event_loop(self.loop)

    return setUp


def runner_loop(stock_new_loop):
    def new_loop(self):
        if StandIn.stock:
            StandIn.made += 1
            return stock_new_loop(self)
        loop = LoopUnderTest()
        loop.shutdown_ag_run = False
        shut_down = loop.shutdown_asyncgens

        async def shutdown_asyncgens():
            loop.shutdown_ag_run = True
            await shut_down()

        loop.shutdown_asyncgens = shutdown_asyncgens
        return loop

    return new_loop


def gather_tests_run_loop(stock_run_loop):
    def _run_loop(self, loop):
        if StandIn.stock:
            stock_run_loop(self, loop)  # while loop._ready
        else:
            for _ in range(10):
                utils.run_briefly(loop)

    return _run_loop


REPLACED = {
    "test.test_asyncio.test_base_events": ("BaseEventLoopTests", "setUp", base_event_loop_tests_set_up),
    "test.test_asyncio.test_runners": ("BaseTest", "new_loop", runner_loop),
    "test.test_asyncio.test_tasks": ("GatherTestsBase", "_run_loop", gather_tests_run_loop),
}


def load(module_name):
    module = importlib.import_module(module_name)
    if module_name in REPLACED:
        class_name, method, replace = REPLACED[module_name]
        owner = getattr(module, class_name)
        setattr(owner, method, replace(getattr(owner, method)))
    pending, found = [unittest.defaultTestLoader.loadTestsFromModule(module)], []
    while pending:
        item = pending.pop()
        if isinstance(item, unittest.TestSuite):
            pending.extend(reversed(list(item)))
        else:
            found.append(item)
    return found


class Reporter(unittest.TestResult):
    """Tells suite.py of each test as it starts and as it ends."""

    def __init__(self, stream, short, types_under_test):
        super().__init__()
        self.stream = stream
        self.short = short
        self.types_under_test = types_under_test
        self.between_tests()

    def between_tests(self):
        self.outcome, self.detail = None, ""
        self.made_before, self.began = StandIn.made, time.monotonic()

    def tell(self, **event):
        self.stream.write(json.dumps(event) + "\n")
        self.stream.flush()

    def startTest(self, test):
        super().startTest(test)
        self.between_tests()
        sys.stderr.write(f"--- {self.short(test)}\n")
        self.tell(start=self.short(test))

    def stopTest(self, test):
        super().stopTest(test)
        outcome = self.outcome or "passed"
        if outcome == "passed" and not self.concerns_subject(test):
            outcome = "unrelated"
        self.tell(
            end=self.short(test), outcome=outcome, detail=self.detail, seconds=round(time.monotonic() - self.began, 3)
        )
        self.between_tests()  # 3.12.1 stops tests of skipped classes that it did not start

    def concerns_subject(self, test):
        if StandIn.made > self.made_before:
            return True
        tested = [getattr(type(test), name, None) for name in ("cls", "Task", "Future")]
        return any(isinstance(t, type) and issubclass(t, self.types_under_test) for t in tested)

    def note(self, test, outcome, error):
        detail = "".join(traceback.format_exception(*error)) if isinstance(error, tuple) else error
        sys.stderr.write(detail + "\n")
        if not isinstance(test, unittest.TestCase):  # setUpClass or setUpModule
            self.tell(fixture=str(test), outcome=outcome, detail=detail)
        elif self.outcome in (None, "skipped", "passed"):
            self.outcome, self.detail = outcome, detail

    def addError(self, test, error):
        self.note(test, "error", error)

    def addFailure(self, test, error):
        self.note(test, "failed", error)

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, error):
        self.note(test, "passed", "")

    def addUnexpectedSuccess(self, test):
        self.note(test, "failed", "unexpected success")

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note(test, "failed" if issubclass(error[0], test.failureException) else "error", error)


def main():
    order = json.load(sys.stdin)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the runner was started in the background
    if order["path"] and order["path"] not in sys.path:
        sys.path.insert(1, order["path"])
    with os.fdopen(order["events"], "w") as stream:
        run(order, stream)


def run(order, stream):
    def short(test):
        return test.id().replace(order["module"], order["name"], 1)

    put_in_place(order)
    found = load(order["module"])
    types_under_test = tuple(named(order[kind]) for kind in ("task", "future") if order[kind])
    reporter = Reporter(stream, short, types_under_test)
    reporter.tell(tests=[short(test) for test in found])
    chosen = set(order["run"])
    unittest.TestSuite(test for test in found if short(test) in chosen).run(reporter)
    reporter.tell(finished=True)


if __name__ == "__main__":
    main()
