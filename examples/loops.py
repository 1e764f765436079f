"""Which event loop a program runs on is one argument of asyncio.Runner; the program itself does not change."""

import argparse
import asyncio
import importlib

LOOPS = ("asyncio", "uvloop", "asyncloop")


def run(main, loop_name):
    """Run the coroutine `main` on a fresh loop of the library `loop_name`, close the loop, return the result."""
    # asyncio.run(main, loop_factory=...) is the same from Python 3.12 on.
    with asyncio.Runner(loop_factory=loop_factory(loop_name)) as runner:
        return runner.run(main)


def loop_factory(loop_name):
    """Return the function that makes a loop of one of LOOPS; ImportError if that library is not installed."""
    if loop_name == "asyncio":
        # Not asyncio.new_event_loop: the policy in force may belong to another library.
        return asyncio.SelectorEventLoop
    return importlib.import_module(loop_name).new_event_loop


def installed_loops():
    """Return those of LOOPS that can be imported here, stock asyncio first."""
    return [name for name in LOOPS if why_not_installed(name) is None]


def why_not_installed(loop_name):
    """Return the ImportError, or None if all is well."""
    try:
        loop_factory(loop_name)
    except ImportError as error:
        return error
    return None


def installed_loop(text):
    """Check a loop's name given on the command line; argparse turns the errors into one clear line."""
    if text not in LOOPS:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(LOOPS)}")
    if error := why_not_installed(text):
        raise argparse.ArgumentTypeError(f"{text} cannot be imported: {error}")
    return text


def add_loop_option(parser):
    """Give an argparse parser the option --loop; its default is asyncloop."""
    parser.add_argument(
        "--loop",
        type=installed_loop,
        default="asyncloop",
        metavar=f"{{{','.join(LOOPS)}}}",
        help="the event loop to run on (default: asyncloop)",
    )
