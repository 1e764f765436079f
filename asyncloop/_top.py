"""python -m asyncloop top: a live view of a process that serves its metrics. rich draws it."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from ._metrics import Interval, Metrics
from ._serve import default_path, read_snapshot

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text
except ImportError as exc:
    raise ImportError("python -m asyncloop top needs the package rich: pip install asyncloop-ev[top]") from exc

USAGE = "usage: python -m asyncloop top PID|socket|script.py [args...]"

# Seconds between two frames; how long a program that `top` starts may take until it serves; rows of a table.
INTERVAL = 1.0
START = 20.0
ROWS = 12

# The environment variable by which `top` has a program that it starts serve its metrics.
SERVE = "ASYNCLOOP_SERVE_METRICS"


class Viewer:
    """A connection to a process that serves its metrics.

    Raises OSError if nobody serves at the path.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._is_first = True

    def sample(self) -> dict[str, Any] | None:
        """Return the next sample; None when the process has ended."""
        try:
            if not self._is_first:
                self._socket.sendall(b"\n")
            self._is_first = False
            line = self._file.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()


# --- a frame --------------------------------------------------------------------------------------------------------


def frame(sample: dict[str, Any], earlier: dict[str, Any] | None = None) -> Any:
    """Return what rich shows of a sample, and of what has happened since an earlier one."""
    before = {} if earlier is None else {loop["number"]: loop for loop in [earlier["all"], *earlier["loops"]]}
    parts = [_head(sample, before), _loops(sample, before), _timings(sample, earlier), _tasks(sample)]
    return Group(*(part for part in parts if part is not None))


def _between(snapshot: dict[str, Any], before: dict[int, Any]) -> tuple[Metrics, Interval | None]:
    now = read_snapshot(snapshot)
    earlier = before.get(snapshot["number"])
    return now, None if earlier is None else now - read_snapshot(earlier)


def _head(sample: dict[str, Any], before: dict[int, Any]) -> Any:
    now, between = _between(sample["all"], before)
    figures = now if between is None else between
    text = Text()
    text.append("utilization ")
    text.append(_bar(figures.utilization), style=_color(figures.utilization, 0.7, 0.9))
    text.append(f" {figures.utilization:5.1%}   ")
    text.append(f"busy {now.busy_seconds:,.1f} s   idle {now.idle_seconds:,.1f} s   poll {now.poll_seconds:,.1f} s\n")
    text.append(
        f"tasks {now.tasks_alive:,} of {now.tasks_made:,}   connections {now.connections_open:,} "
        f"of {now.connections_made:,}, {now.connections_failed:,} failed   "
        f"executor queue {now.executor_jobs_waiting:,}   exceptions {now.exceptions_reported:,}   "
        f"slow {now.slow_callbacks:,}"
    )
    command = " ".join(map(str, sample["command"])) or "(no script)"
    title = f"pid {sample['pid']}   {command}   Python {sample['python']}   asyncloop {sample['asyncloop']}"
    return Panel(text, title=Text(title), title_align="left")


def _bar(part: float, width: int = 20) -> str:
    full = round(min(max(part, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def _color(value: float, warn: float, bad: float) -> str:
    return "green" if value < warn else "yellow" if value < bad else "red"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True, overflow="ellipsis")
    return table


def _loops(sample: dict[str, Any], before: dict[int, Any]) -> Any:
    table = _table(
        "Loops", "loop", "used", "turns/s", "callbacks/s", "ready", "delay p50", "p99", "max", "tasks", "in/s", "out/s"
    )
    for loop in sample["loops"]:
        now, between = _between(loop, before)
        figures: Metrics | Interval = now if between is None else between
        seconds = (between.seconds if between is not None else 0.0) or 1.0
        worst = figures.delay.max
        table.add_row(
            Text(f"{loop['number']}{'' if loop['running'] else ' (stopped)'}"),
            Text(f"{figures.utilization:.0%}", style=_color(figures.utilization, 0.7, 0.9)),
            *(
                _count(number / seconds) if between is not None else "-"
                for number in (figures.turns, figures.callbacks)
            ),
            _count(now.ready),
            _time(figures.delay.percentile(50)),
            _time(figures.delay.percentile(99)),
            Text(_time(worst), style=_color(worst, 0.02, 0.1)),
            _count(now.tasks_alive),
            *(
                _size(number / seconds) if between is not None else "-"
                for number in (figures.bytes_in, figures.bytes_out)
            ),
        )
    return table


def _timings(sample: dict[str, Any], earlier: dict[str, Any] | None) -> Any:
    """The names that took the most time since the earlier sample."""
    found = _timings_of(sample)
    known = {} if earlier is None else _timings_of(earlier)
    rows = []
    for key, (count, seconds, longest) in found.items():
        old_count, old_seconds, _ = known.get(key, (0, 0.0, 0.0))
        if count > old_count:
            rows.append((seconds - old_seconds, count - old_count, longest, *key))
    table = _table("Slowest", "name", "", "time", "runs", "each", "longest")
    for seconds, count, longest, kind, name in sorted(rows, reverse=True)[:ROWS]:
        table.add_row(Text(name), kind, _time(seconds), _count(count), _time(seconds / count), _time(longest))
    return table


def _timings_of(sample: dict[str, Any]) -> dict[tuple[str, str], tuple[int, float, float]]:
    found: dict[tuple[str, str], tuple[int, float, float]] = {}
    for loop in sample["loops"]:
        for kind, timings in ("task", loop["task_times"]), ("callback", loop["callback_times"]):
            for name, count, seconds, longest in timings:
                old = found.get((kind, name), (0, 0.0, 0.0))
                found[kind, name] = (old[0] + count, old[1] + seconds, max(old[2], longest))
    return found


def _tasks(sample: dict[str, Any]) -> Any:
    names: dict[str, int] = {}
    for loop in sample["loops"]:
        for name, count in loop["tasks"]:
            names[name] = names.get(name, 0) + count
    table = _table("Tasks", "coroutine", "tasks")
    for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0]))[:ROWS]:
        table.add_row(Text(name), _count(count))
    return table


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}" if seconds / unit < 1000 else f"{seconds / unit:,.0f} {name}"
    return f"{seconds * 1e9:.0f} ns" if seconds > 0 else "0"


def _size(number: float) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number:,.0f} B"


# --- the command ------------------------------------------------------------------------------------------------------


def main(args: list[str]) -> None:
    """Show the process that the command line behind `top` names, until it ends or Ctrl-C."""
    if not args or args[0].startswith("-"):
        sys.exit(USAGE)
    target = args[0]
    try:
        if target.isdigit():
            show(Viewer(default_path(int(target))))
        elif os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
            show(Viewer(target))
        else:
            run(args)
    except OSError as exc:
        advice = " (a process is looked at if it has called asyncloop.serve_metrics())" if target.isdigit() else ""
        sys.exit(f"{target}: {exc.strerror or exc}{advice}")
    except KeyboardInterrupt:
        pass


def run(args: list[str]) -> None:
    """Run a program on asyncloop, and show it. What it prints is shown at its end."""
    with tempfile.TemporaryDirectory(prefix="asyncloop-top-") as folder, tempfile.TemporaryFile() as output:
        path = os.path.join(folder, "metrics.sock")
        command = [sys.executable, "-m", "asyncloop", *args]
        environment = os.environ | {SERVE: path}
        program = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            viewer = _wait_for(program, path)
            if viewer is not None:
                show(viewer)
            program.wait()
        finally:
            if program.poll() is None:
                program.terminate()
                program.wait()
            output.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(output.read())
    sys.exit(program.returncode if program.returncode >= 0 else 128 - program.returncode)


def _wait_for(program: subprocess.Popen[bytes], path: str) -> Viewer | None:
    """Connect to a program that was just started; None: it has ended, or does not serve."""
    end = time.monotonic() + START
    while program.poll() is None and time.monotonic() < end:
        try:
            return Viewer(path)
        except OSError:
            time.sleep(0.02)
    return None


def show(viewer: Viewer, console: Console | None = None) -> None:
    """Show a frame each second until the process ends."""
    console = console or Console()
    earlier = sample = viewer.sample()
    try:
        if sample is None:
            return
        with Live(frame(sample), console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                select.select([], [], [], INTERVAL)
                sample = viewer.sample()
                if sample is None:
                    break
                live.update(frame(sample, earlier), refresh=True)
                earlier = sample
    finally:
        viewer.close()
