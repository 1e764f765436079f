"""A Dask cluster, scheduler, workers and client on the loop under test: in one process, and in several."""

import subprocess
import sys

import pytest

from .asgi_apps import loop_kind
from .conftest import environment

distributed = pytest.importorskip("distributed")


async def kind_of_worker(dask_worker):
    return loop_kind()


async def kind_of_scheduler(dask_scheduler):
    return loop_kind()


def test_one_process(run, kind):
    async def main():
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
        cluster = distributed.LocalCluster(processes=False, asynchronous=True, protocol="tcp://", **options)
        async with cluster, distributed.Client(cluster, asynchronous=True) as client:
            assert await client.run_on_scheduler(kind_of_scheduler) == kind
            assert set((await client.run(kind_of_worker)).values()) == {kind}

            squares = client.map(lambda n: n**2, range(40))
            assert await client.submit(sum, squares) == sum(n**2 for n in range(40))
            with pytest.raises(ZeroDivisionError):
                await client.submit(lambda: 1 / 0)

            large = await client.scatter(bytes(1_000_000), broadcast=True)
            assert await client.gather(client.map(lambda n, data: len(data) + n, range(4), data=large)) == [
                1_000_000 + n for n in range(4)
            ]

    run(main())


PROGRAM = """
import asyncio, os, warnings
import asyncloop

if KIND == "asyncloop":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies are deprecated from Python 3.14
        asyncloop.install()  # in each child too, which imports this module again

import distributed

async def kind(dask_worker):
    return type(asyncio.get_running_loop()).__module__.partition(".")[0], os.getpid()

if __name__ == "__main__":
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1")
    with distributed.LocalCluster(processes=True, **options) as cluster, distributed.Client(cluster) as client:
        print(type(client.loop.asyncio_loop).__module__.partition(".")[0])
        kinds, pids = zip(*client.run(kind).values())
        print(*kinds, len({*pids, os.getpid()}))
        print(client.submit(sum, client.map(lambda n: n ** 2, range(40))).result())
"""


def test_processes(kind, tmp_path):
    """A synchronous program, whose loops run in threads, and workers that are watched by nannies."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace("KIND", repr(kind)))
    # On a busy machine a worker's heartbeat may meet a scheduler that has gone, of which distributed logs a traceback.
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}
    variables = environment(DASK_TEMPORARY_DIRECTORY=str(tmp_path), **quiet)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, env=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [kind, kind, kind, "3", str(sum(n**2 for n in range(40)))], done.stderr
    assert "Traceback" not in done.stderr
