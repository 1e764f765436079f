"""python -m asyncloop top, which rich draws."""

import asyncio
import io
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import asyncloop

rich_console = pytest.importorskip("rich.console", reason="rich is not installed")

from asyncloop import _serve, _top  # noqa: E402

ROOT = str(Path(asyncloop.__file__).parents[1])
ENVIRONMENT = os.environ | {"PYTHONPATH": ROOT, "COLUMNS": "120", "PYTHONWARNINGS": ""}

PROGRAM = """
    import asyncio, sys, time

    async def busy_worker():
        while True:
            await asyncio.sleep(0.001)

    def long_callback():
        time.sleep(0.02)

    async def main():
        tasks = [asyncio.create_task(busy_worker()) for _ in range(7)]
        print("arguments", sys.argv[1:])
        for _ in range(25):
            asyncio.get_running_loop().call_soon(long_callback)
            await asyncio.sleep(0.2)
        print(type(asyncio.get_running_loop()).__module__)
"""


@pytest.fixture
def loop():
    loop = asyncloop.new_event_loop()
    yield loop
    loop.close()


def samples_of(loop):
    """Two samples of a loop that does something in between."""

    async def worker():
        for _ in range(50):
            await asyncio.sleep(0)

    async def main():
        samples = [viewer.sample()]
        await asyncio.sleep(0)  # the profile begins
        loop.call_soon(time.sleep, 0.02)
        await asyncio.gather(worker(), worker())
        samples.append(viewer.sample())
        viewer.close()
        return samples

    viewer = _serve._Viewer()
    return loop.run_until_complete(main())


def text_of(renderable, width=130):
    console = rich_console.Console(width=width, file=io.StringIO(), record=True)
    console.print(renderable)
    return console.export_text()


class TestFrame:
    def test_it_is_drawn_without_a_terminal(self, loop):
        earlier, sample = samples_of(loop)
        text = text_of(_top.frame(sample, earlier))
        assert f"pid {os.getpid()}" in text
        for title in "utilization", "Loops", "Slowest", "Tasks", "delay p50":
            assert title in text
        assert "worker" in text  # among the slowest
        assert "main" in text  # among the tasks
        lines = [line for line in text.splitlines() if "sleep" in line and "callback" in line]
        assert any("ms" in line for line in lines)

    def test_the_first_frame_has_nothing_to_compare_with(self, loop):
        earlier, _ = samples_of(loop)
        text = text_of(_top.frame(earlier))
        assert "Loops" in text

    def test_a_narrow_terminal(self, loop):
        earlier, sample = samples_of(loop)
        for line in text_of(_top.frame(sample, earlier), 40).splitlines():
            assert len(line) <= 40

    def test_names_are_not_markup(self, loop):
        earlier, sample = samples_of(loop)
        sample["loops"][0]["tasks"] = [["[bold]name[/bold]", 3], ["[/nonsense]", 1]]
        text = text_of(_top.frame(sample, earlier))
        assert "[bold]name[/bold]" in text and "[/nonsense]" in text

    @pytest.mark.parametrize(
        "seconds, text", [(0, "0"), (5e-8, "50 ns"), (1.5e-6, "1.5 µs"), (0.0215, "21.5 ms"), (90, "90 s")]
    )
    def test_times(self, seconds, text):
        assert _top._time(seconds) == text

    @pytest.mark.parametrize("size, text", [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (2**31, "2.0 GiB")])
    def test_sizes(self, size, text):
        assert _top._size(size) == text


def top(*args, timeout=60):
    return subprocess.run(
        [sys.executable, "-m", "asyncloop", "top", *map(str, args)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class TestCommand:
    def test_a_program(self, tmp_path):
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(PROGRAM) + "\nasyncio.run(main())\nsys.exit(3)\n")
        done = top(program, "one", "--two")
        assert done.returncode == 3, done.stderr
        assert "busy_worker" in done.stdout
        assert "long_callback" in done.stdout
        assert "arguments ['one', '--two']" in done.stdout  # what the program prints
        assert done.stdout.rstrip().endswith("asyncloop")

    @pytest.mark.parametrize("by", ["path", "pid"])
    def test_a_process_that_runs(self, tmp_path, by):
        program = tmp_path / "program.py"
        path = tmp_path / "socket"
        serve = f"asyncloop.serve_metrics({str(path)!r})" if by == "path" else "asyncloop.serve_metrics()"
        program.write_text(
            textwrap.dedent(PROGRAM)
            + f"\nimport asyncloop\n{serve}\nprint('begin', flush=True)\nasyncloop.run(main())\n"
        )
        process = subprocess.Popen([sys.executable, program], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout.readline() == "begin\n"
            done = top(path if by == "path" else process.pid)
            assert process.wait(20) == 0
            assert done.returncode == 0, done.stderr
            assert f"pid {process.pid}" in done.stdout
            assert "busy_worker" in done.stdout

    def test_a_process_that_does_not_serve(self):
        done = top(os.getpid())
        assert done.returncode == 1
        assert "serve_metrics()" in done.stderr and "Traceback" not in done.stderr

    def test_a_program_that_fails(self, tmp_path):
        program = tmp_path / "program.py"
        program.write_text("raise SystemExit('no')")
        done = top(program)
        assert done.returncode == 1
        assert done.stdout.endswith("no\n")

    def test_a_program_that_is_missing(self, tmp_path):
        done = top(tmp_path / "none.py")
        assert done.returncode == 2
        assert "can't open file" in done.stdout

    def test_usage(self):
        done = top("--nonsense")
        assert done.returncode == 1
        assert done.stderr.startswith("usage: python -m asyncloop top")

    def test_without_rich(self, tmp_path):
        (tmp_path / "rich.py").write_text("raise ImportError")
        environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ROOT])}
        done = subprocess.run(
            [sys.executable, "-m", "asyncloop", "top", "1"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr == "python -m asyncloop top needs the package rich: pip install asyncloop-ev[top]\n"
