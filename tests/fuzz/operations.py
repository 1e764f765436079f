"""The table of operations. Each is a function of the world and three numbers; a coroutine function may wait.

An operation picks its operands by number, and works on as little as it needs: what goes wrong in it goes to the world,
as most of what is tried is wrong.
"""

import importlib
import inspect

TABLE = {}  # name -> function
WEIGHTS = {}  # name -> how often a random program has it in its main script, and in scripts of hooks

MODULES = ("loops", "futures", "tasks", "transports", "descriptors", "memory", "planted")


def operation(weight=2, in_hooks=1, any_thread=False):
    """Register a function with its weights.

    in_hooks: 1 for what sets things up, more for what takes away, ends or changes what the caller of a hook is at.
    any_thread: whether a thread other than the loop's may do it, such as one that happens to collect garbage.
    """

    def register(function):
        assert function.__name__ not in TABLE
        function.is_async = inspect.iscoroutinefunction(function)
        function.any_thread = any_thread
        TABLE[function.__name__] = function
        WEIGHTS[function.__name__] = weight, in_hooks
        return function

    return register


def load():
    for module in MODULES:
        importlib.import_module(f".ops_{module}", __package__)
