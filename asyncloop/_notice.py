"""Tells at exit that a program under `python -m asyncloop` ran on the loop of another package, and what to write.

A framework may choose a loop itself and ask no policy: uvicorn takes uvloop or asyncio's by name. Nothing is replaced
in asyncio to notice it. Who has run a loop has made tasks: the number of the next task without a name tells.
"""

import atexit
import contextlib
import sys

from . import _core, _layout, _loop

# Of the modules that a program has imported, the first one tells: gunicorn imports uvicorn, too.
_LINES = {
    "gunicorn": "gunicorn -k asyncloop.workers.UvicornWorker, ASGIWorker or AiohttpWorker",
    "hypercorn": "python -m asyncloop -m hypercorn, without --worker-class",
    "granian": "python -m asyncloop -m granian --loop asyncio",
    "uvicorn": 'uvicorn --loop asyncloop:new_event_loop, or uvicorn.run(app, loop="asyncloop:new_event_loop")',
}
_ANY = "make the loop by asyncloop.new_event_loop()"

_run_forever = _loop.Loop.run_forever
_first_task = 1


def notice_other_loops() -> None:
    """Write to stderr when this process exits, if it has run a loop but none of ours."""
    global _first_task

    # If asyncio's counter is known, importing us has not counted, and neither do we: names of tasks are as ever.
    if not _core._layout()["task_counter"]:
        _first_task = _layout.make_task() + 1
    atexit.register(_tell)


def _tell() -> None:
    if _loop.has_run or _loop.Loop.run_forever is not _run_forever or _layout.make_task() <= _first_task:
        return
    line = next((line for name, line in _LINES.items() if name in sys.modules), _ANY)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or None
        sys.stderr.write(f"asyncloop: this program ran an event loop, but not asyncloop's. What does it: {line}\n")
