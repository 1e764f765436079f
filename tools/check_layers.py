"""Holds src/ to its layers: a file includes only its own folder and those below, and stays a readable size."""

import re
import sys
from pathlib import Path

LAYERS = ["base", "cpython", "sched", "task", "io", "net", "tls", "loop"]  # from the bottom; src/module.c sees them all
SIBLINGS = {("task", "io"), ("io", "task")}  # side by side, and strangers to each other
MAX_LINES = 900


def check(src):
    """Return what is wrong under the directory `src`, one line of text each."""
    bad = []
    for path in sorted(src.rglob("*.[ch]")):
        text = path.read_text()
        name = path.relative_to(src)
        if (lines := text.count("\n")) > MAX_LINES:
            bad.append(f"{name}: {lines} lines, more than {MAX_LINES}")
        if name.parent == Path("."):
            continue
        here = str(name.parent)
        if here not in LAYERS:
            bad.append(f"{name}: {here}/ is no layer")
            continue
        for header in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
            there = header.rpartition("/")[0]
            if there not in LAYERS:
                bad.append(f'{name}: "{header}" must be written from src/')
            elif LAYERS.index(there) > LAYERS.index(here) or (here, there) in SIBLINGS:
                bad.append(f"{name}: {here}/ must not include {there}/")
    return bad


if __name__ == "__main__":
    found = check(Path(__file__).parents[1] / "src")
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
