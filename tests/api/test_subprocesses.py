"""Subprocesses: the arguments that Popen takes, and SubprocessTransport."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

proves = pytest.mark.proves


class Child(asyncio.SubprocessProtocol):
    def __init__(self):
        self.output = {1: b"", 2: b""}
        self.exited = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def pipe_data_received(self, fd, data):
        self.output[fd] += data

    def connection_lost(self, exc):
        self.transport.close()
        self.exited.set_result(exc)


@pytest.fixture
def output_of(run, loop):
    """Runs a shell command by subprocess_exec with options; returns (returncode, stdout, stderr)."""

    def output_of(command, **options):
        async def main():
            transport, child = await loop.subprocess_exec(Child, "/bin/sh", "-c", command, **options)
            await child.exited
            return transport.get_returncode(), child.output[1], child.output[2]

        return run(main())

    return output_of


@proves("loop.subprocess_exec", "protocol_factory program args")
@proves("SubprocessTransport.get_returncode")
def test_exec(output_of):
    assert output_of("echo hello; exit 3") == (3, b"hello\n", b"")


@proves("loop.subprocess_exec", "stdin")
def test_exec_stdin(output_of):
    assert output_of("cat", stdin=subprocess.DEVNULL) == (0, b"", b"")


@proves("loop.subprocess_exec", "stdout stderr")
def test_exec_outputs(output_of):
    assert output_of("echo a; echo b >&2", stdin=None, stdout=None, stderr=subprocess.PIPE) == (0, b"", b"b\n")
    assert output_of("echo b >&2", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) == (0, b"b\n", b"")


@proves("loop.subprocess_shell", "protocol_factory cmd stdin stdout stderr")
def test_shell(run, loop):
    async def main():
        streams = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        transport, child = await loop.subprocess_shell(Child, "cat; echo $((1 + 2)); echo x >&2", **streams)
        await child.exited
        return child.output[1]

    assert run(main()) == b"3\nx\n"


@proves("loop.subprocess_shell", "kwargs")
def test_shell_kwargs(run, loop, tmp_path):
    async def main():
        transport, child = await loop.subprocess_shell(Child, "pwd", cwd=tmp_path)
        await child.exited
        return child.output[1]

    assert run(main()) == os.fsencode(tmp_path) + b"\n"


@proves("loop.subprocess_exec", "kwargs cwd env")
def test_cwd_env(output_of, tmp_path):
    assert output_of("pwd; echo $X", cwd=tmp_path, env={"X": "7"})[1] == os.fsencode(tmp_path) + b"\n7\n"


@proves("loop.subprocess_exec", "executable")
def test_executable(run, loop):
    async def main():
        transport, child = await loop.subprocess_exec(Child, "called", "-c", "echo $0", executable="/bin/sh")
        await child.exited
        return child.output[1]

    assert run(main()) == b"called\n"


@proves("loop.subprocess_exec", "start_new_session")
def test_start_new_session(output_of):
    command = f"{sys.executable} -c 'import os; print(os.getsid(0))'"
    assert int(output_of(command)[1]) == os.getsid(0)
    assert int(output_of(command, start_new_session=True)[1]) != os.getsid(0)


@proves("loop.subprocess_exec", "process_group")
def test_process_group(output_of):
    command = f"exec {sys.executable} -c 'import os; print(os.getpgid(0) == os.getpid())'"
    assert output_of(command, process_group=0)[1] == b"True\n"


@proves("loop.subprocess_exec", "umask")
def test_umask(output_of):
    assert output_of("umask", umask=0o27)[1].strip() == b"0027"


@proves("loop.subprocess_exec", "pass_fds close_fds")
def test_pass_fds(output_of):
    read, write = os.pipe()
    try:
        assert output_of(f"echo hello >/proc/self/fd/{write}")[0] != 0
        assert output_of(f"echo hello >/proc/self/fd/{write}", pass_fds=[write])[0] == 0
        assert os.read(read, 99) == b"hello\n"
        os.set_inheritable(write, True)
        assert output_of(f"echo again >/proc/self/fd/{write}", close_fds=False)[0] == 0
        assert os.read(read, 99) == b"again\n"
    finally:
        os.close(read)
        os.close(write)


@proves("loop.subprocess_exec", "restore_signals")
def test_restore_signals(output_of):
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # which is what Python does at its start
    command = "grep SigIgn /proc/self/status"
    ignored = [int(output_of(command, restore_signals=choice)[1].split()[1], 16) for choice in (False, True)]
    assert [bool(mask >> (signal.SIGPIPE - 1) & 1) for mask in ignored] == [True, False]


@proves("loop.subprocess_exec", "preexec_fn")
def test_preexec_fn(output_of, tmp_path):
    assert output_of("pwd", preexec_fn=lambda: os.chdir(tmp_path))[1] == os.fsencode(tmp_path) + b"\n"


@proves("loop.subprocess_exec", "user group extra_groups")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_user(output_of):
    assert output_of("id -u; id -g; id -G", user=65534, group=65533, extra_groups=[65532])[1].split() == [
        b"65534", b"65533", b"65533", b"65532",
    ]  # fmt: skip


@proves("loop.subprocess_exec", "pipesize")
def test_pipesize(output_of):
    import fcntl

    command = f"{sys.executable} -c 'import fcntl; print(fcntl.fcntl(2, {fcntl.F_GETPIPE_SZ}))'"
    assert output_of(command, stdin=None, stderr=subprocess.PIPE, pipesize=4096)[1] == b"4096\n"


@proves("SubprocessTransport.get_pid")
@proves("SubprocessTransport.get_pipe_transport", "fd")
@proves("BaseTransport.get_extra_info", "subprocess")
def test_pipe_transports(run, loop):
    async def main():
        transport, child = await loop.subprocess_exec(Child, "cat")
        assert transport.get_pid() == transport.get_extra_info("subprocess").pid
        assert transport.get_pipe_transport(7) is None
        pipe = transport.get_pipe_transport(0)
        pipe.write(b"hello")
        pipe.close()
        await child.exited
        return child.output[1]

    assert run(main()) == b"hello"


@pytest.mark.parametrize(
    "end, number",
    [
        pytest.param("kill", 9, marks=proves("SubprocessTransport.kill"), id="kill"),
        pytest.param("terminate", 15, marks=proves("SubprocessTransport.terminate"), id="terminate"),
        pytest.param("send_signal", 12, marks=proves("SubprocessTransport.send_signal", "signal"), id="signal"),
    ],
)
def test_signals(run, loop, end, number):
    async def main():
        transport, child = await loop.subprocess_exec(Child, "sleep", "60")
        getattr(transport, end)(*([number] if end == "send_signal" else []))
        await child.exited
        return transport.get_returncode()

    assert run(main()) == -number


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no child watchers")
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
class TestChildWatcher:
    @pytest.fixture
    def use(self):
        """use(watcher): have asyncio use it, until the test is over."""
        yield asyncio.set_child_watcher
        asyncio.set_child_watcher(None)

    def test_that_reaps_every_child(self, use, loop, run):
        async def main():
            watcher = asyncio.FastChildWatcher()
            watcher.attach_loop(loop)
            use(watcher)
            children = [await asyncio.create_subprocess_exec("sh", "-c", "exit 3") for _ in range(8)]
            return [await child.wait() for child in children]

        assert run(main()) == [3] * 8
        asyncio.set_child_watcher(None)

    def test_of_the_programs_own(self, use, run):
        watched = []

        class Watcher(asyncio.ThreadedChildWatcher):
            def add_child_handler(self, pid, callback, *args):
                watched.append(pid)
                super().add_child_handler(pid, callback, *args)

        async def main():
            child = await asyncio.create_subprocess_exec("sh", "-c", "exit 4")
            return child.pid, await child.wait()

        use(Watcher())
        pid, returncode = run(main())
        assert (watched, returncode) == ([pid], 4)

    def test_that_is_not_active(self, use, run):
        use(asyncio.FastChildWatcher())
        with pytest.raises(RuntimeError, match="not activated"):
            run(asyncio.create_subprocess_exec("true"))
