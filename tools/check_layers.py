"""Holds src/ to its layers: a file includes only its own folder and those below, none in a circle."""

import re
import sys
from pathlib import Path

# From the bottom; src/module.c sees them all.
LAYERS = ["base", "cpython", "sys", "sched", "task", "primitives", "waits", "io", "streams", "net", "tls", "loop"]
# Side by side, and strangers to each other.
SIBLINGS = {
    ("task", "io"),
    ("io", "task"),
    ("io", "primitives"),
    ("io", "waits"),
    ("streams", "waits"),
    ("streams", "io"),
}
MAX_LINES = 900


def includes(path):
    """Return what a file includes of ours, as it is written there."""
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)


def check_file(src, path):
    """Yield what is wrong with one file."""
    name = path.relative_to(src)
    if (lines := path.read_text().count("\n")) > MAX_LINES:
        yield f"{name}: {lines} lines, more than {MAX_LINES}"
    if name.parent == Path("."):
        return
    here = str(name.parent)
    if here not in LAYERS:
        yield f"{name}: {here}/ is no layer"
        return
    for header in includes(path):
        there = header.rpartition("/")[0]
        if there not in LAYERS:
            yield f'{name}: "{header}" must be written from src/'
        elif LAYERS.index(there) > LAYERS.index(here) or (here, there) in SIBLINGS:
            yield f"{name}: {here}/ must not include {there}/"


def find_circles(graph):
    """Yield each group of nodes that reach one another, sorted: `graph` has a set of successors for each node."""

    def reached(start):
        found, waiting = set(), [start]
        while waiting:
            new = graph.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    after = {node: reached(node) for node in graph}
    for node in sorted(graph):
        circle = {other for other in after[node] if node in after.get(other, ())}
        if circle and node == min(circle):
            yield sorted(circle)


def check(src):
    """Return what is wrong under the directory `src`, one line of text each."""
    bad = []
    graph = {}  # a header and its C file are one node
    for path in sorted(src.rglob("*.[ch]")):
        bad += check_file(src, path)
        node = str(path.relative_to(src).with_suffix(""))
        graph.setdefault(node, set()).update({header.removesuffix(".h") for header in includes(path)} - {node})
    bad += [f"a circle of includes: {', '.join(circle)}" for circle in find_circles(graph)]
    return bad


if __name__ == "__main__":
    found = check(Path(__file__).parents[1] / "src")
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
