"""The lines of docs/frameworks.md, each run as it stands there: the program tells the class of its running loop."""

import http.client
import json
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .conftest import accepts, end, environment, free_port, program, running

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
OURS = "asyncloop.Loop"


def rows(heading):
    """Return the first two columns of the table below a heading: the framework and its line."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^\| ([^|]+) \| `([^`]+)` \|", section, re.MULTILINE)
    assert len(found) == len(re.findall(r"^\| ", section, re.MULTILINE)) - 2, "the test must understand each row"
    return found


def block(name):
    """Return the block of code that has this name in its first line."""
    return re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


def test_every_block_is_run():
    names = re.findall(r"^```\w+ (.+)$", PAGE, re.MULTILINE)
    tested = Path(__file__).read_text()
    assert names and all(f'block("{name}")' in tested for name in names)
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == 0, "a block without a name is not run"


# --- the applications: each answers with the class of its loop -------------------------------------------------------

KIND = """
import asyncio, sys

def loop_class():
    cls = type(asyncio.get_running_loop())
    return f"{cls.__module__}.{cls.__qualname__}"

async def main():
    print(loop_class())
"""

ASGI = """
async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": loop_class().encode()})
"""

APPLICATIONS = {
    "FastAPI, Starlette": """
import fastapi
app = fastapi.FastAPI()

@app.get("/", response_class=fastapi.responses.PlainTextResponse)
async def answer():
    return loop_class()
""",
    "Django": """
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

async def answer(request):
    return HttpResponse(loop_class())

urlpatterns = [path("", answer)]
if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY="none", USE_TZ=True)
    application = get_asgi_application()
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
""",
    "aiohttp": """
import aiohttp.web

async def answer(request):
    return aiohttp.web.Response(text=loop_class())

def make_app(argv=None):
    app = aiohttp.web.Application()
    app.router.add_get("/", answer)
    return app

app = make_app()
""",
    "Quart": """
import quart
app = quart.Quart(__name__)

@app.get("/")
async def answer():
    return loop_class()
""",
}


def write_application(folder, framework, more=""):
    for name in "main.py", "manage.py":
        (folder / name).write_text(KIND + APPLICATIONS.get(framework, ASGI) + textwrap.dedent(more))


def need(*packages):
    for package in packages:
        pytest.importorskip(package)


def split(line):
    """Split a command line into its environment variables and a list of words, which begins with this Python."""
    words = shlex.split(line)
    variables = {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    if words[0] == "python":
        words[:1] = [sys.executable]
    else:
        words[:1] = [sys.executable, program(words[0], str(Path(sys.executable).parent))]
    return variables, words


def ask(port):
    """GET / of a server; return the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


# --- servers ---------------------------------------------------------------------------------------------------------

# How to say where to listen, by the first of these words that is in a line.
ADDRESSES = {
    "gunicorn": "--no-control-socket --bind 127.0.0.1:{}",
    "runserver": "127.0.0.1:{}",
    "aiohttp.web": "--hostname 127.0.0.1 --port {}",
    "hypercorn": "--bind 127.0.0.1:{}",
    "quart": "--port {}",
    "granian": "--port {}",
    "uvicorn": "--port {}",
}


def packages_of(framework, line):
    needed = {"FastAPI, Starlette": ["fastapi", "httpx"]}
    packages = needed.get(framework, [framework.lower()])
    words = {"uvicorn": "uvicorn", "gunicorn": "gunicorn", "UvicornWorker": "uvicorn_worker"}
    return [*packages, *(package for word, package in words.items() if word in line)]


@pytest.mark.parametrize("framework, line", rows("Servers, from the command line"))
def test_servers(framework, line, tmp_path):
    need(*packages_of(framework, line))
    write_application(tmp_path, framework)
    variables, words = split(line)
    port = free_port()
    words += next(option for word, option in ADDRESSES.items() if word in line).format(port).split()
    with running(words, accepts(port), env=environment(**variables), cwd=tmp_path) as process:
        assert ask(port) == OURS
        printed = end(process)
    assert "not asyncloop's" not in printed


# --- lines of a program ----------------------------------------------------------------------------------------------

# What stands before the line. A server listens where the test wants it to.
PREPARATIONS = {
    "uvicorn": """
        import functools, uvicorn
        uvicorn.run = functools.partial(uvicorn.run, port=PORT)
        uvicorn.Config = functools.partial(uvicorn.Config, port=PORT)
    """,
    "hypercorn": """
        import hypercorn, hypercorn.asyncio
        hypercorn.Config._bind = [f"127.0.0.1:{PORT}"]
    """,
    "aiohttp": """
        import functools
        aiohttp.web.run_app = functools.partial(aiohttp.web.run_app, port=PORT)
    """,
    "Quart": """
        import functools
        app.run = functools.partial(app.run, port=PORT)
    """,
    "tornado": "import tornado.ioloop",
    "anyio": "import anyio",
    "Celery": """
        import celery

        def apply(function):
            @celery.Celery(broker="memory://").task
            def job():
                function()

            job.apply(throw=True)
    """,
    "FastAPI, Starlette": "from fastapi.testclient import TestClient",
}
# What the line is part of.
STATEMENTS = {
    "FastAPI, Starlette": "print({}.get('/').text)",
    "Celery": "apply(lambda: {})",
}


@pytest.mark.parametrize("framework, line", rows("In a program"))
def test_lines_of_a_program(framework, line, tmp_path):
    if "Python 3.12" in PAGE.partition(f"`{line}`")[2].partition("\n")[0] and sys.version_info < (3, 12):
        pytest.skip("asyncio.run() has no loop_factory before Python 3.12")
    if framework != "anything":
        need(*packages_of(framework, line))
    port = free_port()
    preparation = textwrap.dedent(PREPARATIONS.get(framework, ""))
    statement = STATEMENTS.get(framework, "{}").format(line)
    more = f"\nimport asyncloop\nPORT = {port}\n{preparation}\nif __name__ == '__main__':\n    {statement}\n"
    (tmp_path / "main.py").write_text(KIND + APPLICATIONS.get(framework, ASGI) + more)
    words = [sys.executable, "main.py"]
    if "main()" in line or "main," in line or "TestClient" in line:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment(), cwd=tmp_path)
        assert done.stdout == f"{OURS}\n", done.stderr
    else:
        with running(words, accepts(port), env=environment(), cwd=tmp_path):
            assert ask(port) == OURS


def test_granian_in_a_program(tmp_path):
    need("granian")
    port = free_port()
    more = "import asyncloop, granian\n" + block("granian")
    more += f"if __name__ == '__main__':\n    granian.Granian('main:app', port={port}, interface='asgi').serve()\n"
    (tmp_path / "main.py").write_text(KIND + ASGI + more)
    with running([sys.executable, "main.py"], accepts(port), env=environment(), cwd=tmp_path):
        assert ask(port) == OURS


# --- workers and jobs ------------------------------------------------------------------------------------------------

JOBS = rows("Workers and jobs")


def line_of(framework, part):
    (line,) = (line for name, line in JOBS if name == framework and part in line)
    return split(line)[1]


def test_every_line_of_workers_and_jobs_is_run():
    assert sorted(JOBS) == sorted(
        [
            ("Dask", "python -m asyncloop main.py"),
            ("Dask", "python -m asyncloop -m dask scheduler"),
            ("Dask", "python -m asyncloop -m dask worker"),
            ("multiprocessing", "python -m asyncloop main.py"),
        ]
    )


def run_main(words, folder, source, **options):
    (folder / "main.py").write_text(KIND + textwrap.dedent(source))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=folder, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.fixture
def dask(tmp_path):
    """The environment of Dask's programs."""
    need("distributed")
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}
    return environment(DASK_TEMPORARY_DIRECTORY=str(tmp_path), **quiet)


ASK_DASK = """
async def class_of_worker(dask_worker):
    return loop_class()

async def class_of_scheduler(dask_scheduler):
    return loop_class()

def ask(client):
    print(client.run_on_scheduler(class_of_scheduler))
    print(*client.run(class_of_worker, nanny=True).values())
    print(*client.run(class_of_worker).values())
"""


def test_dask_cluster(tmp_path, dask):
    source = f"""{ASK_DASK}
import distributed
if __name__ == "__main__":
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1")
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        ask(client)
"""
    printed, _ = run_main(line_of("Dask", "main.py"), tmp_path, source, env=dask)
    assert printed == [OURS] * 5  # a scheduler, two nannies, two workers


def test_dask_programs(tmp_path, dask):
    port = free_port()
    scheduler = [*line_of("Dask", "scheduler"), "--host", "127.0.0.1", "--port", port, "--dashboard-address", ":0"]
    worker = [*line_of("Dask", "worker"), f"tcp://127.0.0.1:{port}", "--nthreads", 1, "--dashboard-address", ":0"]
    source = f"""{ASK_DASK}
import distributed
with distributed.Client("tcp://127.0.0.1:{port}", timeout=30) as client:
    client.wait_for_workers(1, timeout=30)
    ask(client)
"""
    with (
        running(scheduler, accepts(port), env=dask, cwd=tmp_path),
        running(worker, lambda: True, env=dask, cwd=tmp_path),
    ):
        assert run_main([sys.executable, "main.py"], tmp_path, source, env=dask)[0] == [OURS] * 3


def test_multiprocessing(tmp_path):
    source = """
        import concurrent.futures, multiprocessing

        def work(depth):
            found = [asyncio.run(ask())]
            if depth:
                multiprocessing.current_process()._config["daemon"] = False
                with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    found += pool.submit(work, depth - 1).result()
            return found

        async def ask():
            return loop_class()

        if __name__ == "__main__":
            for method in "fork", "spawn", "forkserver":
                with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
                    print(*pool.submit(work, 1).result())
    """
    printed, errors = run_main(line_of("multiprocessing", "main.py"), tmp_path, source, env=environment())
    assert printed == [OURS] * 6
    assert errors == ""


# --- tests -----------------------------------------------------------------------------------------------------------


def run_tests(folder, plugin, conftest, test, *options):
    (folder / "conftest.py").write_text(conftest)
    (folder / "main.py").write_text(KIND)
    (folder / "test_it.py").write_text(f"import pytest\nfrom main import loop_class\n\n{test}")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", plugin, *options, folder]
    alone = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=alone)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("code", [block("pytest-asyncio"), block("pytest-asyncio before 1.4")], ids=["hook", "fixture"])
def test_pytest_asyncio(tmp_path, code):
    need("pytest_asyncio")
    test = f"@pytest.mark.asyncio\nasync def test_it():\n    assert loop_class() == {OURS!r}\n"
    run_tests(tmp_path, "pytest_asyncio.plugin", code, test)


def test_anyio_plugin(tmp_path):
    need("anyio")
    test = f"@pytest.mark.anyio\nasync def test_it():\n    assert loop_class() == {OURS!r}\n"
    run_tests(tmp_path, "anyio.pytest_plugin", block("anyio"), test)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="IsolatedAsyncioTestCase has no loop_factory before Python 3.13")
def test_unittest(tmp_path):
    code = "import asyncloop, unittest\nfrom main import loop_class\n\n" + block("unittest")
    code += f"\n    async def test_it(self):\n        self.assertEqual(loop_class(), {OURS!r})\n"
    (tmp_path / "main.py").write_text(KIND)
    (tmp_path / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "unittest", "test_it"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment())
    assert done.returncode == 0 and "Ran 1 test" in done.stderr, done.stderr


# --- IPython and Jupyter ---------------------------------------------------------------------------------------------


def test_ipython(tmp_path, monkeypatch):
    need("IPython")
    (command,) = re.findall(r"`(python -m asyncloop -m IPython)`", PAGE)
    (tmp_path / "main.py").write_text(KIND)
    for name in "HOME", "IPYTHONDIR":
        monkeypatch.setenv(name, str(tmp_path))
    words = [*split(command)[1], "--no-banner", "--colors=nocolor", "-c", "import main; await main.main()"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment(), cwd=tmp_path)
    assert done.stdout == f"{OURS}\n", done.stderr


def test_jupyter_kernel(tmp_path, monkeypatch):
    need("ipykernel")
    jupyter_client = pytest.importorskip("jupyter_client")
    folder = tmp_path / "kernels" / "asyncloop"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(block("kernel.json"))
    (tmp_path / "main.py").write_text(KIND)
    for name in "HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_PATH":
        monkeypatch.setenv(name, str(tmp_path))
    manager, client = jupyter_client.manager.start_new_kernel(
        startup_timeout=30, kernel_name="asyncloop", cwd=tmp_path, env=environment()
    )
    try:
        printed = []
        code = "import main; await main.main()"
        hook = {"output_hook": lambda message: printed.append(message["content"].get("text"))}
        assert client.execute_interactive(code, timeout=30, **hook)["content"]["status"] == "ok"
        assert f"{OURS}\n" in printed
        assert manager.kernel_spec.display_name == json.loads(block("kernel.json"))["display_name"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
