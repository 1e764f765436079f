"""What a program has seen: a trace of plain data, without what cannot be equal (addresses, the loop's class)."""

import ast
import asyncio
import difflib
import gc
import logging
import pprint
import re
import sys

import asyncloop


class Kind:
    """Which classes a program runs on: the loop, and the two kinds of Future and Task among which it chooses."""

    def __init__(self, loop, futures, tasks):
        self.loop = loop
        self.futures = futures
        self.tasks = tasks


STOCK = Kind(asyncio.SelectorEventLoop, [asyncio.Future] * 2, [asyncio.Task] * 2)
KINDS = {
    "own": Kind(asyncloop.Loop, [asyncloop.Future] * 2, [asyncloop.Task] * 2),
    "mixed": Kind(asyncloop.Loop, [asyncloop.Future, asyncio.Future], [asyncloop.Task, asyncio.Task]),
    "stock loop": Kind(asyncio.SelectorEventLoop, [asyncloop.Future, asyncio.Future], [asyncloop.Task, asyncio.Task]),
    "stock tasks": Kind(asyncloop.Loop, [asyncio.Future] * 2, [asyncio.Task] * 2),
}


def plain(text):
    """Text without addresses and names of loop classes."""
    text = re.sub(r"0x[0-9a-f]+", "0x", str(text))
    text = re.sub(r"Task-\d+", "Task-", text)
    # In debug mode it says where: for create_future() that is a line of base_events, a frame which C does not have.
    text = re.sub(r" created at [^ >]+:\d+", " created", text)
    text = re.sub(r"<Future (pend|canc|fini)\w*\.\.\.[^>]*>", r"<Future \1...>", text)  # the same, abridged by reprlib
    # The loop's own repr, of which the class is ours.
    text = re.sub(r"<(_UnixSelectorEventLoop|Loop) (running=\w+ closed=\w+ debug=\w+)>", r"<loop \2>", text)
    return text


def describe(value, depth=4):
    """Plain data for a result or an exception, with its causes."""
    if isinstance(value, BaseException):
        if depth == 0:
            return "..."
        inner = [describe(exc, depth - 1) for exc in getattr(value, "exceptions", ())]
        return (
            type(value).__name__,
            plain(value.args if not inner else value.args[0]),
            inner,
            value.__cause__ and describe(value.__cause__, depth - 1),
            value.__context__ and describe(value.__context__, depth - 1),
            value.__suppress_context__,
        )
    return plain(repr(value))


class Records(logging.Handler):
    """Hands each record of the asyncio logger to note()."""

    def __init__(self, note):
        super().__init__()
        self.note = note

    def emit(self, record):
        exc = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        # Selectors have names; how long something took is not for comparison.
        if not message.startswith("Using selector") and " took " not in message:
            # The first line: what follows are tracebacks and contexts, of which the handler's notes tell.
            self.note("log", record.levelname, plain(message), exc and describe(exc))


def traced(run):
    """Call run(note) and return what it noted, and what was logged and not raised meanwhile."""
    trace = []

    def note(*what):
        trace.append(what)

    records = Records(note)
    logger = logging.getLogger("asyncio")
    propagate, logger.propagate = logger.propagate, False
    unraisable, sys.unraisablehook = (
        sys.unraisablehook,
        lambda args: note("unraisable", describe(args.exc_value), plain(args.err_msg)),
    )
    logger.addHandler(records)
    was_enabled = gc.isenabled()
    gc.disable()  # when garbage is found is nobody's promise: the program says when
    try:
        run(note)
    finally:
        if was_enabled:
            gc.enable()
        logger.removeHandler(records)
        logger.propagate = propagate
        sys.unraisablehook = unraisable
    return trace


def assert_same(expected, got):
    """Compare two traces and show where they part."""
    if expected != got:
        lines = [[pprint.pformat(entry, width=200) for entry in trace] for trace in (expected, got)]
        difference = "\n".join(difflib.unified_diff(*lines, "asyncio", "asyncloop", lineterm="", n=8))
        raise AssertionError(f"the traces differ\n{difference}")


def show(run, text, kind="own"):
    """Print the trace that run(program, kind) leaves on stock asyncio, and where that of `kind` parts from it.

    Args:
        run: as the modules of programs have it.
        text: the program, as a failure shows it.
        kind: a key of KINDS.
    """
    program = ast.literal_eval(text)
    expected = run(program, STOCK)
    print(*expected, sep="\n")
    assert_same(expected, run(program, KINDS[kind]))
