"""Where to look for the C module, when it does not stand beside the Python files.

A program that is started in a clone finds the clone's folder asyncloop/ first, because sys.path begins there. If
asyncloop was installed by `pip install .`, that folder has no _core: the installed package has it. Then all modules are
taken from the installed package, so that Python and C are of one version.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path


def installed_package() -> list[str]:
    """Return the folders of the first asyncloop on sys.path that is built for this Python.

    Raises ImportError, which says what to do, if there is none.
    """
    for entry in sys.path:
        spec = PathFinder.find_spec("asyncloop", [entry])
        folders = spec and spec.submodule_search_locations
        if folders and PathFinder.find_spec("asyncloop._core", folders):
            return list(folders)
    raise ImportError(
        f"{Path(__file__).parent} has no _core for {sys.implementation.cache_tag}: its C sources are not built, or for "
        f"another Python. In a clone of asyncloop, `{sys.executable} -m pip install .` installs it for this one."
    )
