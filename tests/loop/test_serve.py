"""asyncloop.serve_metrics(): asyncio has no such thing."""

import asyncio
import json
import os
import socket
import stat
import threading
import time

import pytest

import asyncloop
from asyncloop import _serve


@pytest.fixture
def kind():
    return "asyncloop"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "metrics.sock")


@pytest.fixture(autouse=True)
def threads_end():
    """What the threads of a test have of a loop is gone when they have ended."""
    before = threading.active_count()
    yield
    end = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.005)
    assert threading.active_count() <= before


class Viewer:
    """A viewer that is no more than a socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def sample(self):
        return json.loads(self.file.readline())

    def next(self):
        self.socket.sendall(b"\n")
        return self.sample()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.socket.close()


def loop_of(sample, loop):
    return next(found for found in sample["loops"] if found["number"] == loop._number)


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def sleeper():
    while True:
        await asyncio.sleep(0.001)


class TestSamples:
    def test_what_a_viewer_sees(self, loop, path):
        samples = []

        def view():
            with Viewer(path) as viewer:
                samples.append(viewer.sample())
                time.sleep(0.05)
                samples.append(viewer.next())

        async def main():
            tasks = [asyncio.create_task(sleeper()) for _ in range(3)]
            await asyncio.to_thread(view)
            for task in tasks:
                task.cancel()

        with asyncloop.serve_metrics(path):
            loop.run_until_complete(main())
        first, second = samples
        assert first["pid"] == os.getpid()
        assert first["asyncloop"] == asyncloop.__version__
        ours = loop_of(second, loop)
        assert ours["running"] is True
        assert ["sleeper", 3] in ours["tasks"]
        assert "sleeper" in [name for name, *_ in ours["task_times"]]
        metrics = [_serve.read_snapshot(loop_of(sample, loop)) for sample in samples]
        between = metrics[1] - metrics[0]
        assert between.turns > 0
        assert 0.04 < between.seconds < 20
        assert metrics[1].tasks_alive >= 4

    @pytest.mark.parametrize("blocking", [time.sleep, spin])
    def test_a_loop_that_is_blocked_is_seen(self, loop, path, blocking):
        viewed = threading.Event()
        samples = []

        def view():
            with Viewer(path) as viewer:
                samples.append(viewer.sample())
                samples.append(viewer.next())
            viewed.set()

        def block():
            while not viewed.is_set():
                blocking(0.02)

        with asyncloop.serve_metrics(path):
            thread = threading.Thread(target=view)
            loop.call_soon(thread.start)
            loop.call_soon(block)
            loop.run_until_complete(asyncio.sleep(0))
            thread.join()
        assert loop_of(samples[1], loop)["running"]

    def test_the_loops_are_profiled_only_while_somebody_looks(self, loop, path):
        async def until(condition):
            end = time.monotonic() + 20
            while not condition() and time.monotonic() < end:
                await asyncio.sleep(0.005)
            assert condition()

        async def main():
            loop.set_slow_callback_log(None)
            viewer = await asyncio.to_thread(Viewer, path)
            with viewer:
                sample = await asyncio.to_thread(viewer.sample)
                while not loop_of(sample, loop)["task_times"]:
                    sample = await asyncio.to_thread(viewer.next)
            probe = asyncloop.profile(loop)  # what it sees is not the viewer's: it only shows that all goes on
            with probe:
                await asyncio.sleep(0.01)
            assert probe.tasks

        with asyncloop.serve_metrics(path):
            loop.run_until_complete(main())

    def test_several_viewers(self, loop, path):
        with asyncloop.serve_metrics(path), Viewer(path) as one, Viewer(path) as other:
            assert one.sample()["pid"] == other.sample()["pid"] == os.getpid()
            assert one.next()["pid"] == os.getpid()

    def test_a_closed_loop_is_not_shown(self, loop_factory, path):
        loop = loop_factory()
        number = loop._number
        loop.close()
        with asyncloop.serve_metrics(path), Viewer(path) as viewer:
            assert number not in [found["number"] for found in viewer.sample()["loops"]]


class TestSocket:
    def test_only_its_user_may_connect(self, path):
        with asyncloop.serve_metrics(path):
            mode = os.stat(path).st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600

    def test_it_is_removed_at_the_end(self, path):
        server = asyncloop.serve_metrics(path)
        assert server.path == path
        server.close()
        server.close()
        assert not os.path.exists(path)
        with asyncloop.serve_metrics(path):
            pass

    def test_the_end_ends_viewers(self, path):
        server = asyncloop.serve_metrics(path)
        with Viewer(path) as viewer:
            viewer.sample()
            server.close()
            viewer.socket.sendall(b"\n")
            assert viewer.file.readline() == b""

    def test_a_path_that_exists_is_left_alone(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("mine")
        with pytest.raises(OSError):
            asyncloop.serve_metrics(path)
        assert path.read_text() == "mine"

    def test_a_socket_that_exists_is_left_alone(self, path):
        with asyncloop.serve_metrics(path):
            with pytest.raises(OSError):
                asyncloop.serve_metrics(path)
            with Viewer(path) as viewer:
                assert viewer.sample()["pid"] == os.getpid()

    def test_a_file_that_has_taken_the_path_stays(self, path):
        server = asyncloop.serve_metrics(path)
        os.unlink(path)
        with open(path, "w") as file:
            file.write("mine")
        server.close()
        with open(path) as file:
            assert file.read() == "mine"

    def test_a_folder_that_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            asyncloop.serve_metrics(tmp_path / "none" / "metrics.sock")

    def test_the_default_has_the_process_number(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        with asyncloop.serve_metrics() as server:
            assert server.path == str(tmp_path / f"asyncloop-{os.getpid()}.sock")

    @pytest.mark.parametrize("wrong", [1, b"path", object(), ["path"]])
    def test_what_is_no_path(self, wrong):
        with pytest.raises(TypeError):
            asyncloop.serve_metrics(wrong)

    @pytest.mark.parametrize("wrong", ["", "\0abstract", "a\0b"])
    def test_paths_that_are_no_files(self, wrong):
        with pytest.raises(ValueError):
            asyncloop.serve_metrics(wrong)


def test_the_end_of_the_program_removes_it(script, path):
    done = script(f"import asyncloop; asyncloop.serve_metrics({path!r}); print(open.__name__)")
    assert done.stdout == "open\n"
    assert not os.path.exists(path)


def test_a_child_process_does_not_serve(script, path):
    done = script(
        f"""
        import asyncloop, os, socket, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        server = asyncloop.serve_metrics({path!r})
        if os.fork() == 0:
            server.close()
            os._exit(0)
        os.wait()
        viewer = socket.socket(socket.AF_UNIX)
        viewer.connect({path!r})
        print(viewer.recv(2))
        """
    )
    assert done.stdout == "b'{\"'\n"
