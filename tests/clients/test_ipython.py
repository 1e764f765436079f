"""IPython and its kernel, started under `python -m asyncloop`, run cells that await."""

import subprocess
import sys

import pytest

from .conftest import environment

pytest.importorskip("IPython")

LOOP_KIND = "type(__import__('asyncio').get_running_loop()).__module__.partition('.')[0]"


def interpreter(kind):
    """The command of a Python whose loops are of the kind under test; -m MODULE follows."""
    return [sys.executable, "-m", "asyncloop"] if kind == "asyncloop" else [sys.executable]


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """The environment without what a user has set up, and where nothing is left behind; for the kernel's client too."""
    for name in "HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR":
        monkeypatch.setenv(name, str(tmp_path))
    return environment()


def test_a_shell(kind, variables):
    def run(*options, **more):
        command = [*interpreter(kind), "-m", "IPython", "--no-banner", "--colors=nocolor", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    cell = "import asyncio\nresults = await asyncio.gather(*[asyncio.sleep(0, i) for i in range(3)])\n"
    assert run("-c", f"{cell}print({LOOP_KIND}, results)") == f"{kind} [0, 1, 2]\n"

    # The loop lives on from cell to cell.
    cells = "import asyncio\ntask = asyncio.create_task(asyncio.sleep(0.001, 42)); await asyncio.sleep(0)\n"
    cells += f"print('kind', {LOOP_KIND}, await task)\nexit\n"
    assert f"kind {kind} 42" in run("--simple-prompt", input=cells)


class TestKernel:
    @pytest.fixture
    def manager(self, kind, variables, tmp_path):
        pytest.importorskip("ipykernel")
        jupyter_client = pytest.importorskip("jupyter_client")
        manager = jupyter_client.KernelManager(connection_file=str(tmp_path / "kernel.json"))
        manager.kernel_spec.argv = [*interpreter(kind), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager.start_kernel(env=variables)
        yield manager
        manager.shutdown_kernel()
        assert not manager.is_alive()

    @pytest.fixture
    def kernel(self, manager):
        """A client of a kernel, which has answered already."""
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=30)
        yield client
        client.stop_channels()

    def execute(self, kernel, code, do=lambda text: None):
        """Run a cell, and do something with what it prints; return its result and its exception or "ok"."""
        result = None

        def hook(message):
            nonlocal result
            if message["msg_type"] == "stream":
                do(message["content"]["text"])
            elif message["msg_type"] == "execute_result":
                result = message["content"]["data"]["text/plain"]

        reply = kernel.execute_interactive(code, output_hook=hook, timeout=30)["content"]
        return result, reply.get("ename", reply["status"])

    def test_cells(self, kernel, manager, kind):
        assert self.execute(kernel, "1 + 1") == ("2", "ok")
        assert self.execute(kernel, LOOP_KIND) == (repr(kind), "ok")
        assert self.execute(kernel, "import asyncio; await asyncio.sleep(0.001, 'slept')") == ("'slept'", "ok")
        assert self.execute(kernel, "event = asyncio.Event(); task = asyncio.create_task(event.wait())") == (None, "ok")
        assert self.execute(kernel, "event.set(); await task") == ("True", "ok")
        assert (
            self.execute(kernel, "await asyncio.wait_for(task.get_loop().create_future(), 0.001)")[1] == "TimeoutError"
        )
        code = "p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1)\n(await p.communicate())[0]"
        assert self.execute(kernel, code) == ("b'hi\\n'", "ok")

        printed = []
        assert self.execute(kernel, "print('seen')", printed.append) == (None, "ok")
        assert "".join(printed) == "seen\n"

        cells = {"while True: pass": "KeyboardInterrupt", "while True: await asyncio.sleep(0.01)": "CancelledError"}
        if kind == "asyncloop":
            # Here stock asyncio goes on waiting: nothing tells its selector of the call_soon() of a signal's handler.
            cells["await asyncio.sleep(60)"] = "CancelledError"
        for cell, error in cells.items():
            cell = f"print('begun', flush=True)\n{cell}"
            assert self.execute(kernel, cell, lambda text: manager.interrupt_kernel()) == (None, error)
            assert self.execute(kernel, "await asyncio.sleep(0, 'alive')") == ("'alive'", "ok")
