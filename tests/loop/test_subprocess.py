"""Subprocesses: started, talked to, waited for, in any thread and any number."""

import asyncio
import errno
import gc
import logging
import os
import signal
import subprocess
import threading

import psutil
import pytest

PIPE = asyncio.subprocess.PIPE


def sh(command, **options):
    return asyncio.create_subprocess_exec("/bin/sh", "-c", command, **options)


@pytest.fixture(params=[pytest.param("pidfd", marks=pytest.mark.feature("pidfd")), "thread"])
def watching(request, kind, monkeypatch):
    """How ours watches children; the second where the kernel has no pidfd."""
    if request.param == "thread":
        if kind == "asyncio":
            pytest.skip("asyncio has chosen its watcher already")

        def refuse(pid, flags=0):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(os, "pidfd_open", refuse)
    return request.param


@pytest.fixture(autouse=True)
def no_zombies():
    """No child of a test is left behind, neither running nor unreaped."""
    before = psutil.Process().children()  # servers of other tests, helpers of multiprocessing
    yield
    gc.collect()
    assert [child for child in psutil.Process().children() if child not in before] == []


class Recording(asyncio.SubprocessProtocol):
    def __init__(self):
        self.calls = []
        self.data = {1: b"", 2: b""}
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.calls.append("connection_made")

    def pipe_data_received(self, fd, data):
        self.data[fd] += data

    def pipe_connection_lost(self, fd, exc):
        self.calls.append(("pipe_connection_lost", fd, type(exc)))

    def process_exited(self):
        self.calls.append("process_exited")

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        self.done.set_result(exc)


class TestExec:
    def test_communicate_returns_both_outputs(self, run, watching):
        async def main():
            child = await sh("cat; echo error >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            assert await child.communicate(b"input") == (b"input", b"error\n")
            return child.returncode

        assert run(main()) == 3

    def test_much_data_passes_in_both_directions(self, run):
        data = bytes(range(256)) * 20_000

        async def main():
            child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
            return await child.communicate(data)

        assert run(main()) == (data, None)

    def test_child_without_pipes_has_its_exit_status(self, run, watching):
        async def main():
            child = await sh("exit 7")
            assert child.stdin is child.stdout is child.stderr is None
            return await child.wait()

        assert run(main()) == 7

    def test_shell_runs_a_command_line(self, run):
        async def main():
            child = await asyncio.create_subprocess_shell("echo $((40 + 2)) | cat", stdout=PIPE)
            out, _ = await child.communicate()
            return out, child.returncode

        assert run(main()) == (b"42\n", 0)

    def test_popen_arguments_are_passed_on(self, run, tmp_path):
        async def main():
            child = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                'pwd; echo "$COLOUR"',
                stdout=PIPE,
                stderr=asyncio.subprocess.STDOUT,
                stdin=asyncio.subprocess.DEVNULL,
                cwd=tmp_path,
                env={"COLOUR": "blue", "PATH": os.environ["PATH"]},
                start_new_session=True,
            )
            out, _ = await child.communicate()
            return out

        assert run(main()) == f"{os.path.realpath(tmp_path)}\nblue\n".encode()

    def test_pass_fds(self, run):
        async def main():
            r, w = os.pipe()
            child = await sh(f"echo through >/dev/fd/{w}", pass_fds=[w])
            os.close(w)
            with open(r, "rb") as file:
                assert await child.wait() == 0
                return file.read()

        assert run(main()) == b"through\n"

    def test_wrong_arguments_are_refused(self, run, loop):
        async def main():
            for wrong in ({"universal_newlines": True}, {"bufsize": 1}, {"text": True}, {"encoding": "utf-8"}):
                with pytest.raises(ValueError):
                    await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **wrong)
            with pytest.raises(TypeError):
                await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", colour="blue")

        run(main())

    def test_program_that_is_not_there(self, run):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError):
            run(asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE))
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before + 3  # the loop's own, at most

    def test_protocol_gets_its_calls(self, run, loop):
        async def main():
            transport, protocol = await loop.subprocess_exec(Recording, "/bin/sh", "-c", "read x; echo $x; exit 5")
            assert isinstance(transport, asyncio.SubprocessTransport)
            assert transport.get_returncode() is None
            assert transport.get_extra_info("subprocess").pid == transport.get_pid()
            stdin = transport.get_pipe_transport(0)
            stdin.write(b"word\n")
            await protocol.done
            assert transport.get_returncode() == 5
            transport.close()
            return protocol

        protocol = run(main())
        assert protocol.data == {1: b"word\n", 2: b""}
        assert protocol.calls[0] == "connection_made"
        assert protocol.calls[-1] == "connection_lost"
        assert sorted(map(str, protocol.calls[1:-1])) == sorted(
            ["process_exited", *(str(("pipe_connection_lost", fd, type(None))) for fd in range(3))]
        )

    @pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio: _UnixReadPipeTransport
    def test_pipes_are_c(self, kind, run, loop):
        from asyncloop import _core

        async def main():
            transport, protocol = await loop.subprocess_exec(Recording, "cat")
            pipes = [type(transport.get_pipe_transport(fd)) for fd in range(3)]
            transport.close()
            await protocol.done
            return pipes

        assert run(main()) == [_core.WritePipeTransport, _core.ReadPipeTransport, _core.ReadPipeTransport]


class TestEnd:
    @pytest.mark.parametrize(
        "method, signum",  # SIGHUP is often ignored, and so by children: nohup
        [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL), (None, signal.SIGUSR1)],
    )
    def test_signals_end_the_child(self, run, watching, method, signum):
        async def main():
            child = await asyncio.create_subprocess_exec("sleep", "100")
            assert child.returncode is None
            if method:
                getattr(child, method)()
            else:
                child.send_signal(signum)
            return await child.wait()

        assert run(main()) == -signum

    def test_signal_after_the_end(self, run):
        async def main():
            child = await sh("exit 0")
            await child.wait()
            await asyncio.sleep(0.01)  # asyncio lets go of the process a few turns later, from 3.14 on
            with pytest.raises(ProcessLookupError):
                child.kill()

        run(main())

    def test_many_wait_for_one(self, run):
        async def main():
            child = await sh("exit 9")
            return await asyncio.gather(*(child.wait() for _ in range(5)))

        assert run(main()) == [9] * 5

    def test_close_kills(self, run, loop):
        async def main():
            transport, protocol = await loop.subprocess_exec(Recording, "sleep", "100")
            transport.close()
            await protocol.done
            return transport.get_returncode()

        assert run(main()) == -signal.SIGKILL

    def test_cancelled_while_starting(self, run, loop):
        async def main():
            task = asyncio.ensure_future(asyncio.create_subprocess_exec("sleep", "100", stdout=PIPE))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())

    def test_child_that_others_have_reaped_is_255(self, run, watching, kind, caplog):
        """Here by the kernel, as the program ignores SIGCHLD."""

        async def main():
            child = await asyncio.create_subprocess_exec("sleep", "100")
            child.kill()
            return child.pid, await child.wait()

        previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            with caplog.at_level(logging.WARNING, "asyncio"):
                pid, returncode = run(main())
        finally:
            signal.signal(signal.SIGCHLD, previous)
        assert returncode == 255
        messages = [record.message for record in caplog.records]
        known = [
            f"child process pid {pid} exit status already read:  will report returncode 255",
            f"Unknown child process pid {pid}, will report returncode 255",
        ]
        assert len(messages) == 1 and messages[0] in known
        if kind == "asyncloop":
            assert messages == [known[watching == "thread"]]

    @pytest.mark.parametrize("kind", ["asyncloop"])  # asyncio reports 255 and warns
    def test_status_is_not_lost_when_closed_after_the_end(self, kind, run, loop, caplog):
        async def main():
            transport, protocol = await loop.subprocess_exec(Recording, "/bin/sh", "-c", "read x; exit 6")
            transport.get_pipe_transport(0).write(b"\n")
            os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)  # it has ended, and nobody knows
            transport.close()
            await protocol.done
            return transport.get_returncode()

        assert run(main()) == 6
        assert not caplog.records

    def test_loop_closed_while_it_runs(self, loop_factory):
        loop = loop_factory()

        async def main():
            return await loop.subprocess_exec(Recording, "sleep", "100", stdin=None, stdout=None, stderr=None)

        transport, _ = loop.run_until_complete(main())
        child = transport.get_extra_info("subprocess")
        transport.close()  # kills it
        loop.close()
        child.wait()


class TestMany:
    def test_two_hundred_children_run_at_once(self, run, watching):
        async def one(i):
            child = await sh(f"read x; echo $x; exit {i % 256}", stdin=PIPE, stdout=PIPE)
            out, _ = await child.communicate(b"%d\n" % i)
            assert out == b"%d\n" % i
            return child.returncode

        async def main():
            return await asyncio.gather(*map(one, range(200)))

        descriptors = len(os.listdir("/proc/self/fd"))
        assert run(main()) == [i % 256 for i in range(200)]
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 3  # the loop's own, at most

    def test_loops_of_several_threads_get_their_exit_statuses(self, loop_factory):
        results = {}

        def work(number):
            async def main():
                children = [await sh(f"exit {number}") for _ in range(10)]
                return [await child.wait() for child in children]

            loop = loop_factory()
            try:
                results[number] = loop.run_until_complete(main())
            finally:
                loop.close()

        threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == {i: [i] * 10 for i in range(1, 5)}


class TestSigchld:
    def test_handler_of_the_program_is_called(self, run, loop):
        async def main():
            called = loop.create_future()
            loop.add_signal_handler(signal.SIGCHLD, lambda: called.done() or called.set_result(True))
            try:
                child = await sh("exit 4")
                assert await called
                return await child.wait()
            finally:
                loop.remove_signal_handler(signal.SIGCHLD)

        assert run(main()) == 4

    def test_children_of_others_are_left_alone(self, run):
        other = subprocess.Popen(["/bin/sh", "-c", "exit 8"])

        async def main():
            child = await sh("exit 4")
            return await child.wait()

        assert run(main()) == 4
        assert other.wait() == 8


@pytest.mark.feature("pidfd")
@pytest.mark.parametrize("refusal", [errno.ENOSYS, errno.EPERM])
def test_a_pidfd_that_is_refused_is_not_asked_for_again(run, kind, monkeypatch, refusal):
    if kind == "asyncio":
        pytest.skip("asyncio has chosen its watcher already")
    asked = []

    def refuse(pid, flags=0):
        asked.append(pid)
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "pidfd_open", refuse)

    async def main():
        for status in range(3):
            child = await sh(f"exit {status}")
            assert await child.wait() == status

    run(main())
    assert len(asked) == 1
