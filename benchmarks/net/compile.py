"""The C programs of the network cases: load.c and floor.c, compiled on first use."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from case import Missing

SOURCES = Path(__file__).parent
PROGRAMS = SOURCES / "build"


def program(name, *libraries, needs=""):
    """Return the path of a program, compiled from NAME.c unless that has been done.

    Args:
        name: of the source, without its suffix.
        libraries: to link with.
        needs: said when it does not compile: what to install.

    Raises:
        Missing: there is no C compiler, or it failed; says what to do.
    """
    source, path = SOURCES / f"{name}.c", PROGRAMS / name
    newest = max(file.stat().st_mtime for file in (source, *SOURCES.glob("*.h")))
    if path.exists() and path.stat().st_mtime >= newest:
        return path
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise Missing(
            f"The network cases need a C compiler for their load generator, and there is no {compiler[0]!r}. "
            "Install one (Debian: apt install gcc) or name one in CC."
        )
    PROGRAMS.mkdir(exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")  # two runs may build at the same time
    command = [*compiler, "-O2", "-std=c11", "-Wall", "-Wextra", "-o", fresh, source]
    command += [f"-l{library}" for library in libraries]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{source.name} of the network cases does not compile{needs}:\n{done.stderr.strip()}")
    fresh.replace(path)
    return path
