"""Names the event loops that can be compared, and imports them."""

import importlib
import importlib.metadata
import platform

# A loop that is not installed is left out. --loops also takes MODULE:CALLABLE, for any other loop.
KNOWN = {
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
    "rsloop": "rsloop:new_event_loop",
    "zuvloop": "zuvloop:new_event_loop",
    "asyncloop": "asyncloop:new_event_loop",
}

# In the place of a loop: run the case without a loop, to show the lower limit. A case that cannot do so prints "-".
FLOOR = "floor"


def factory(name):
    """Return the callable that makes loops.

    Args:
        name: a key of KNOWN, or MODULE:CALLABLE.

    Raises:
        ImportError: the module is not installed or has no such callable.
    """
    module, _, attribute = KNOWN.get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise ImportError(f"{module} has no {attribute!r}; a loop is given as MODULE:CALLABLE") from None


def installed():
    """Return the names of the known loops that can be imported, in the order of KNOWN."""
    return [name for name in KNOWN if importable(name)]


def importable(name):
    try:
        factory(name)
    except ImportError:
        return False
    return True


def version(name):
    """Return the version of the loop's package (Python's for asyncio), or "" if it is unknown."""
    if name == FLOOR:
        return ""
    module = KNOWN.get(name, name).partition(":")[0].partition(".")[0]
    if module == "asyncio":
        return platform.python_version()
    # What a package says of itself comes first: ours has another name as a distribution, and may not be installed.
    own = getattr(importlib.import_module(module), "__version__", "")
    try:
        return str(own or importlib.metadata.version(module))
    except importlib.metadata.PackageNotFoundError:
        return ""
