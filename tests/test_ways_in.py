"""Every way to get an asyncloop.Loop under a program."""

import asyncio
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import pytest

import asyncloop

POLICIES_ARE_DEPRECATED = sys.version_info >= (3, 14)


@pytest.fixture
def policy():
    """Puts the policy back that was there before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        before = asyncio.get_event_loop_policy()
        yield
        asyncio.set_event_loop_policy(before)


async def running_loop():
    return asyncio.get_running_loop()


# --- accelerate() -------------------------------------------------------------------------------------------------

NAMES = ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")
QUEUES = ("Queue", "PriorityQueue", "LifoQueue")
GROUPS = ("TaskGroup",)
TIMEOUTS = ("Timeout", "timeout", "timeout_at")
TASKS = ("gather", "shield", "sleep", "wait", *(["wait_for"] if asyncloop.wait_for is not asyncio.wait_for else []))
STREAMS = asyncio.streams.__all__


@pytest.fixture
def accelerated():
    yield asyncloop.accelerate()
    asyncloop.decelerate()


def test_accelerate_replaces_names_of_asyncio(accelerated):
    for names, module in (
        (NAMES, asyncio.locks),
        (QUEUES, asyncio.queues),
        (STREAMS, asyncio.streams),
        (GROUPS, asyncio.taskgroups),
        (TIMEOUTS, asyncio.timeouts),
        (TASKS, asyncio.tasks),
    ):
        for name in names:
            assert getattr(asyncio, name) is getattr(module, name) is getattr(asyncloop, name)
            assert f"asyncio.{name}" in accelerated
            assert f"{module.__name__}.{name}" in accelerated


def test_accelerate_again_changes_nothing(accelerated):
    assert asyncloop.accelerate() == accelerated
    asyncloop.decelerate()
    assert asyncio.Queue is not asyncloop.Queue
    assert asyncloop.accelerate() == accelerated


def test_accelerate_touches_nothing_else():
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in ("asyncio", "_asyncio")]
    before = [dict(vars(module)) for module in modules]
    replaced = asyncloop.accelerate()
    changed = [
        f"{module.__name__}.{name}"
        for module, names in zip(modules, before, strict=True)
        for name, value in vars(module).items()
        if names.get(name) is not value
    ]
    asyncloop.decelerate()
    assert sorted(changed) == sorted(replaced)
    assert [dict(vars(module)) for module in modules] == before


def test_accelerate_leaves_what_the_program_has_replaced(monkeypatch):
    mine = type("Queue", (asyncio.Queue,), {})
    monkeypatch.setattr(asyncio, "Queue", mine)
    monkeypatch.setattr(asyncio.locks, "Lock", asyncio.locks.Lock)  # what there is at the end again
    replaced = asyncloop.accelerate()
    try:
        assert asyncio.Queue is mine
        assert "asyncio.Queue" not in replaced
        assert "asyncio.queues.Queue" in replaced
        monkeypatch.setattr(asyncio.locks, "Lock", mine)
    finally:
        asyncloop.decelerate()
    assert asyncio.locks.Lock is mine


def test_subclasses_stay_as_they_are(accelerated):
    asyncloop.decelerate()
    subclass = type("Mine", (asyncio.Queue,), {})
    asyncloop.accelerate()
    assert not isinstance(subclass(), asyncloop.Queue)


@pytest.mark.parametrize("switch", [[], ["--accelerate"]])
@pytest.mark.parametrize("is_module", [False, True])
def test_accelerate_of_a_program(tmp_path, switch, is_module):
    program = tmp_path / "program.py"
    program.write_text("import asyncio, asyncloop, sys; print(asyncio.Queue is asyncloop.Queue, sys.argv[1:])")
    way = ["-m", "program"] if is_module else [str(program)]
    environment = os.environ | {"PYTHONPATH": f"{Path(asyncloop.__file__).parents[1]}"}
    done = subprocess.run(
        [sys.executable, "-m", "asyncloop", *switch, *way, "--x"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{bool(switch)} ['--x']\n"


# --- run() and new_event_loop() -----------------------------------------------------------------------------------


def test_run_runs_on_asyncloop():
    loop = asyncloop.run(running_loop())
    assert type(loop) is asyncloop.Loop
    assert loop.is_closed()


def test_run_returns_and_raises_what_main_does():
    async def fail():
        raise ZeroDivisionError

    assert asyncloop.run(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ZeroDivisionError):
        asyncloop.run(fail())


@pytest.mark.parametrize("debug", [True, False])
def test_run_sets_debug(debug):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert asyncloop.run(main(), debug=debug) is debug


def test_run_takes_a_loop_factory():
    class OwnLoop(asyncloop.Loop):
        pass

    assert type(asyncloop.run(running_loop(), loop_factory=OwnLoop)) is OwnLoop


@pytest.mark.parametrize("argument", [None, 1, "coroutine"])
def test_run_refuses_what_asyncio_run_refuses(argument):
    with pytest.raises(Exception) as stock:
        asyncio.run(argument)
    with pytest.raises(type(stock.value)) as ours:
        asyncloop.run(argument)
    assert str(ours.value) == str(stock.value)


def test_run_from_a_running_loop_is_refused():
    async def main(run):
        inner = running_loop()
        try:
            with pytest.raises(RuntimeError) as caught:
                run(inner)
        finally:
            inner.close()
        return str(caught.value)

    expected = asyncio.run(main(asyncio.run))
    assert expected == "asyncio.run() cannot be called from a running event loop"
    assert asyncloop.run(main(asyncloop.run)) == expected
    assert asyncio.run(main(asyncloop.run)) == expected


def test_run_cancels_what_is_left_and_closes_async_generators():
    ended = []

    async def left_over():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def generator():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            ended.append("generator")

    kept = generator()

    async def main():
        kept_task.append(asyncio.create_task(left_over()))
        await anext(kept)

    kept_task = []
    asyncloop.run(main())
    assert ended == ["task", "generator"]


def test_new_event_loop_is_not_current():
    first, second = asyncloop.new_event_loop(), asyncloop.new_event_loop()
    try:
        assert type(first) is asyncloop.Loop
        assert first is not second
        assert asyncio._get_running_loop() is None
    finally:
        first.close()
        second.close()


def test_runner_takes_a_loop_factory():
    with asyncio.Runner(loop_factory=asyncloop.new_event_loop) as runner:
        assert type(runner.get_loop()) is asyncloop.Loop
        assert runner.run(running_loop()) is runner.get_loop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run() takes a loop_factory from 3.12 on")
def test_asyncio_run_with_loop_factory():
    assert type(asyncio.run(running_loop(), loop_factory=asyncloop.new_event_loop)) is asyncloop.Loop


# --- policy and install() --------------------------------------------------------------------------------------------


def test_policy_gives_our_loops(policy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(asyncloop.EventLoopPolicy())
        assert type(asyncio.run(running_loop())) is asyncloop.Loop

        # The old style of before asyncio.run().
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            assert type(loop) is asyncloop.Loop
            assert asyncio.get_event_loop() is loop
            assert loop.run_until_complete(running_loop()) is loop
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def test_policy_is_one_of_asyncio():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert issubclass(asyncloop.EventLoopPolicy, asyncio.DefaultEventLoopPolicy)
        assert issubclass(asyncloop.EventLoopPolicy, asyncio.AbstractEventLoopPolicy)


def test_install_sets_the_policy_and_warns_where_asyncio_does(policy):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncloop.install()
    assert [w.category for w in caught] == [DeprecationWarning] * POLICIES_ARE_DEPRECATED
    assert all(w.filename == __file__ for w in caught), "the warning must point at who calls install()"
    assert type(asyncio.run(running_loop())) is asyncloop.Loop


def test_public_names():
    assert set(asyncloop.__all__) <= set(dir(asyncloop)) | {"EventLoopPolicy"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in asyncloop.__all__:
            assert getattr(asyncloop, name) is not None
    with pytest.raises(AttributeError, match="'asyncloop' has no attribute 'no_such_name'"):
        _ = asyncloop.no_such_name


def run_python(*args, cwd, stdin="", **environ):
    """Run this interpreter to its end, where `import asyncloop` finds what this one has found."""
    environ |= {"PYTHONPATH": str(Path(asyncloop.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env=os.environ | environ,
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_import_warns_of_nothing(tmp_path):
    done = run_python("-W", "error", "-c", "import asyncloop; asyncloop.new_event_loop().close()", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_module_can_be_imported_again(tmp_path):
    """After somebody has taken it out of sys.modules, as test runners do."""
    write(
        tmp_path / "again.py",
        """
        import asyncio, sys
        import asyncloop

        async def main():
            return asyncio.all_tasks() == {asyncio.current_task()}

        ours, old = asyncloop.Loop, asyncloop.Loop()
        for name in [name for name in sys.modules if name.partition(".")[0] == "asyncloop"]:
            del sys.modules[name]
        import asyncloop
        print(asyncloop.Loop is not ours, asyncloop.run(main()), old.run_until_complete(main()))
        old.close()
        """,
    )
    done = run_python("again.py", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True True True\n", "", 0)


def test_policy_warns_where_asyncios_does():
    for module, name in (asyncio, "DefaultEventLoopPolicy"), (asyncloop, "EventLoopPolicy"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(module, name)
        assert [w.category for w in caught] == [DeprecationWarning] * POLICIES_ARE_DEPRECATED
        assert all(w.filename == __file__ for w in caught)


def test_python_without_policies_works_but_for_policies(tmp_path):
    """As 3.16 is to be: all works but what needs them, and that says what to use instead."""
    program = """
        import asyncio, asyncio.unix_events, sys
        for module in asyncio, asyncio.unix_events:
            for name in "DefaultEventLoopPolicy", "_DefaultEventLoopPolicy":
                vars(module).pop(name, None)
        import asyncloop
        asyncloop.run(asyncio.sleep(0))
        assert not hasattr(asyncloop, "EventLoopPolicy")
        try:
            asyncloop.install()
        except ImportError as exc:
            print(exc)
        import asyncloop.__main__
        asyncloop.__main__.main(["program.py"])
    """
    done = run_python("-c", textwrap.dedent(program), cwd=tmp_path)
    assert done.stdout.startswith("asyncio has no event loop policies in this Python: use asyncloop.run(")
    assert (done.returncode, done.stderr) == (1, done.stdout)


# --- python -m asyncloop ---------------------------------------------------------------------------------------------


def write(path, source):
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


LOOPS = """
    import asyncio, sys, warnings

    async def main():
        return asyncio.get_running_loop()

    loops = [asyncio.run(main()), asyncio.new_event_loop()]
    with asyncio.Runner() as runner:
        loops.append(runner.get_loop())
    asyncio.set_event_loop(loops[1])
    loops.append(asyncio.get_event_loop())
    loops.append(loops[1].run_until_complete(main()))
    loops[1].close()
    print({f"{type(loop).__module__}.{type(loop).__qualname__}" for loop in loops})
"""


@pytest.mark.parametrize("way", ["script", "module"])
def test_program_gets_our_loops(tmp_path, way):
    write(tmp_path / "program.py", LOOPS)
    name = ["program.py"] if way == "script" else ["-m", "program"]
    plain = run_python(*name, cwd=tmp_path)
    ours = run_python("-W", "error", "-m", "asyncloop", *name, cwd=tmp_path)
    assert "asyncio.unix_events" in plain.stdout and plain.returncode == 0, plain.stderr
    assert ours.stdout == "{'asyncloop.Loop'}\n"
    assert (ours.returncode, ours.stderr) == (0, "")


# What a program can see of how it was started.
SURROUNDINGS = """
    import sys, __main__
    print(sys.argv, sys.path)
    print(__name__, __main__.__dict__ is globals(), sorted(globals()))
    print(__file__, __package__, __doc__, __spec__ and __spec__.name, type(__loader__), __builtins__)
    print(sys.stdin.read())
"""


def same(plain, ours):
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)


@pytest.fixture
def programs(tmp_path):
    write(tmp_path / "program.py", SURROUNDINGS)
    write(tmp_path / "folder" / "script.py", SURROUNDINGS)
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "__main__.py", SURROUNDINGS)
    write(tmp_path / "package" / "part.py", SURROUNDINGS)
    (tmp_path / "link.py").symlink_to("folder/script.py")
    compiled = py_compile.compile(str(tmp_path / "program.py"), str(tmp_path / "compiled.pyc"), doraise=True)
    shutil.copy(compiled, tmp_path / "compiled")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", textwrap.dedent(SURROUNDINGS))
    return tmp_path


@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["", "safe_path"])
@pytest.mark.parametrize(
    "name",
    [
        ["program.py"],
        ["./folder/script.py"],
        ["link.py"],
        ["compiled.pyc"],
        ["compiled"],
        ["package"],
        ["archive.zip"],
        ["-m", "program"],
        ["-m", "package"],
        ["-m", "package.part"],
    ],
    ids=" ".join,
)
def test_surroundings_are_the_interpreters(programs, name, flags):
    command = [*name, "one", "-m", "--two"]
    plain = run_python(*flags, *command, cwd=programs, stdin="input")
    ours = run_python(*flags, "-m", "asyncloop", *command, cwd=programs, stdin="input")
    same(plain, ours)
    by_path = name[0] != "-m"
    assert ("'one', '-m', '--two'" in plain.stdout) == (by_path or not flags), "the test must have run the program"


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.exit('a word')",
        "raise SystemExit",
        "def f(): 1 / 0\nf()",
        "import asyncio\nasync def main(): raise KeyError(1)\nasyncio.run(main(), debug=False)",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError from None",
        "try:\n    1 / 0\nfinally:\n    {}['key']",
        "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
        "this is no python",
        "import sys\nsys.excepthook = lambda kind, value, tb: print(kind, value, tb.tb_frame.f_code.co_name)\n1 / 0",
        "import no_such_module",
        "raise BaseException('base')",
        "import atexit; atexit.register(print, 'at exit'); 1 / 0",
    ],
)
@pytest.mark.parametrize("way", ["script", "module"])
def test_end_is_the_interpreters(tmp_path, source, way):
    write(tmp_path / "program.py", source)
    name = ["program.py"] if way == "script" else ["-m", "program"]
    plain = run_python(*name, cwd=tmp_path)
    ours = run_python("-m", "asyncloop", *name, cwd=tmp_path)
    if "asyncio.run" in source:  # the frames inside asyncio are those of another loop
        assert ours.stderr.splitlines()[0] == plain.stderr.splitlines()[0]
        assert ours.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1] == "KeyError: 1"
        assert "asyncloop/__main__.py" not in ours.stderr
        assert ours.returncode == plain.returncode == 1
    else:
        same(plain, ours)
    assert plain.returncode != 0 or "raise SystemExit" in source, "the program must have failed"


@pytest.mark.parametrize("name", [["no_such.py"], ["empty"], ["-m", "no_such"], ["-m", "empty"], ["-m", "no.such"]])
def test_missing_program_is_the_interpreters_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    plain = run_python(*name, cwd=tmp_path)
    assert plain.returncode != 0
    same(plain, run_python("-m", "asyncloop", *name, cwd=tmp_path))


def test_keyboard_interrupt_ends_the_process_by_the_signal(tmp_path):
    source = """
        import asyncio, os, signal

        async def main():
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(30)

        asyncio.run(main())
    """
    write(tmp_path / "program.py", source)
    plain = run_python("program.py", cwd=tmp_path)
    ours = run_python("-m", "asyncloop", "program.py", cwd=tmp_path)
    assert plain.returncode == ours.returncode == -signal.SIGINT
    assert plain.stderr.splitlines()[-1] == ours.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "asyncloop/__main__.py" not in ours.stderr


def test_process_pool_and_pickle_find_main(tmp_path):
    source = """
        import asyncio, concurrent.futures, multiprocessing

        class Page:
            def __init__(self, number):
                self.number = number

        def work(page):
            return Page(page.number * 2)

        async def main():
            loop = asyncio.get_running_loop()
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                page = await loop.run_in_executor(pool, work, Page(21))
            print(type(loop).__module__, type(page) is Page, page.number)

        if __name__ == "__main__":
            asyncio.run(main())
    """
    write(tmp_path / "program.py", source)
    for name in (["program.py"], ["-m", "program"]):
        done = run_python("-m", "asyncloop", *name, cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("asyncloop True 42\n", "")


@pytest.mark.parametrize("args", [[], ["-m"], ["-x"], ["--", "program.py"]])
def test_wrong_usage_prints_the_usage(tmp_path, args):
    done = run_python("-m", "asyncloop", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m asyncloop [--accelerate] script.py")


def test_help_and_version_are_printed(tmp_path):
    done = run_python("-m", "asyncloop", "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m asyncloop")
    done = run_python("-m", "asyncloop", "--version", cwd=tmp_path)
    assert done.stdout == f"asyncloop {asyncloop.__version__}\n"


# --- what children of python -m asyncloop run on ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_get_our_loops(tmp_path, method):
    """Whatever the start method is; and what their main module finds is as without us."""
    source = f"""
        import asyncio, multiprocessing, sys

        async def main():
            return type(asyncio.get_running_loop()).__module__

        def work(queue):
            queue.put([asyncio.run(main()), __name__, sys.argv, asyncio.run(name())])

        async def name():
            return asyncio.current_task().get_name()

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            print(*queue.get(timeout=30))
            process.join()
    """
    write(tmp_path / "program.py", source)
    plain = run_python("program.py", cwd=tmp_path)
    ours = run_python("-m", "asyncloop", "program.py", cwd=tmp_path)
    assert plain.stdout.startswith("asyncio.unix_events "), plain.stderr
    assert ours.stdout == plain.stdout.replace("asyncio.unix_events", "asyncloop")
    assert (ours.returncode, ours.stderr) == (0, "")


@pytest.mark.parametrize(
    "program, set_before, expected",
    [
        ("uvicorn", "", "asyncloop:new_event_loop None"),
        ("uvicorn", "auto", "auto None"),
        ("granian", "", "None asyncio"),
        ("other", "", "None None"),
    ],
)
@pytest.mark.parametrize("way", ["script", "module"])
def test_servers_that_choose_a_loop_are_told_by_their_variables(tmp_path, program, set_before, expected, way):
    source = "import os; print(os.environ.get('UVICORN_LOOP'), os.environ.get('GRANIAN_LOOP'))"
    name = [f"folder/{program}"] if way == "script" else ["-m", program]
    write(tmp_path / "folder" / program if way == "script" else tmp_path / f"{program}.py", source)
    # A version of uvicorn is installed here, or none is.
    write(tmp_path / "uvicorn-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: uvicorn\nVersion: 1.0\n")
    env = {"UVICORN_LOOP": set_before} if set_before else {}
    done = run_python("-m", "asyncloop", *name, cwd=tmp_path, **env)
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.parametrize("version, loop", [("0.35.9", "asyncio"), ("0.36.0", "asyncloop:new_event_loop"), ("x", None)])
def test_uvicorn_is_told_what_its_version_takes(tmp_path, version, loop):
    metadata = f"Metadata-Version: 2.1\nName: uvicorn\nVersion: {version}\n"
    write(tmp_path / f"uvicorn-{version}.dist-info" / "METADATA", metadata)
    write(tmp_path / "uvicorn.py", "import os; print(os.environ['UVICORN_LOOP'])")
    done = run_python("-m", "asyncloop", "-m", "uvicorn", cwd=tmp_path)
    assert done.stdout == f"{loop or 'asyncloop:new_event_loop'}\n", done.stderr


# --- what python -m asyncloop says at exit ---------------------------------------------------------------------------

OTHER_LOOP = """
    import asyncio, sys
    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
"""


@pytest.mark.parametrize("more", ["", "raise SystemExit(3)", "1 / 0", "raise KeyboardInterrupt"])
def test_a_program_that_ran_another_loop_is_told_at_exit(tmp_path, more):
    write(tmp_path / "program.py", OTHER_LOOP + "    " + more)
    plain = run_python("program.py", cwd=tmp_path)
    ours = run_python("-m", "asyncloop", "program.py", cwd=tmp_path)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    said = ours.stderr.removeprefix(plain.stderr)
    assert said.startswith("asyncloop: this program ran an event loop, but not asyncloop's. ")
    assert said.endswith("make the loop by asyncloop.new_event_loop()\n") and said.count("\n") == 1


@pytest.mark.parametrize(
    "modules, line",
    [
        ("uvicorn", "uvicorn --loop asyncloop:new_event_loop"),
        ("gunicorn uvicorn", "gunicorn -k asyncloop.workers.UvicornWorker"),
        ("hypercorn", "python -m asyncloop -m hypercorn"),
        ("granian", "python -m asyncloop -m granian"),
    ],
)
def test_what_is_said_at_exit_knows_the_server(tmp_path, modules, line):
    for name in modules.split():
        write(tmp_path / f"{name}.py", "")
    write(tmp_path / "program.py", f"    import {', '.join(modules.split())}\n{OTHER_LOOP}")
    done = run_python("-m", "asyncloop", "program.py", cwd=tmp_path)
    assert f"What does it: {line}" in done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import asyncio",
        "import asyncio; asyncio.new_event_loop().close(); asyncio.SelectorEventLoop().close()",
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        f"{OTHER_LOOP}\n    asyncio.run(asyncio.sleep(0))",
        f"import asyncio; asyncio.run(asyncio.sleep(0))\n{textwrap.dedent(OTHER_LOOP)}",
        # Without a task; that is all asyncloop itself does in a run.
        "import asyncio; loop = asyncio.new_event_loop(); loop.call_soon(loop.stop); loop.run_forever(); loop.close()",
        # A program that replaces what we would learn it from.
        f"{OTHER_LOOP}\n    import asyncloop; asyncloop.Loop.run_forever = lambda self: None",
        f"{OTHER_LOOP}\n    sys.stderr.close()",
        f"{OTHER_LOOP}\n    sys.stderr = None",
    ],
)
@pytest.mark.parametrize("layout", ["", "unknown"])
def test_otherwise_nothing_is_said_at_exit(tmp_path, source, layout):
    write(tmp_path / "program.py", source)
    env = {"ASYNCLOOP_LAYOUT": layout, "PYTHONWARNINGS": "ignore::ImportWarning"} if layout else {}
    done = run_python("-m", "asyncloop", "program.py", cwd=tmp_path, **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_of_tasks_are_as_without_us(tmp_path):
    source = """
        import asyncio

        async def main():
            return asyncio.current_task().get_name()

        print(asyncio.run(main()))
    """
    write(tmp_path / "program.py", source)
    same(run_python("program.py", cwd=tmp_path), run_python("-m", "asyncloop", "program.py", cwd=tmp_path))


# --- asyncloop.workers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing, worker, package",
    [
        ("gunicorn", "UvicornWorker", "gunicorn"),
        ("gunicorn", "ASGIWorker", "gunicorn 24 or newer"),
        ("gunicorn", "AiohttpWorker", "gunicorn"),
        ("uvicorn_worker uvicorn", "UvicornWorker", "uvicorn-worker"),
        ("aiohttp", "AiohttpWorker", "aiohttp"),
    ],
)
def test_a_worker_without_its_package_says_which(tmp_path, missing, worker, package):
    """The other packages are empty modules here: a worker imports nothing of a package before it is asked for."""
    for name in {"gunicorn", "uvicorn_worker", "uvicorn", "aiohttp"} - set(missing.split()):
        write(tmp_path / f"{name}.py", "")
    source = f"""
        import sys
        for name in {missing.split()}:
            sys.modules[name] = None
        import asyncloop.workers
        try:
            asyncloop.workers.{worker}
        except ImportError as exc:
            print(exc)
    """
    write(tmp_path / "program.py", source)
    done = run_python("program.py", cwd=tmp_path)
    assert done.stdout == f"asyncloop.workers.{worker} needs the package {package}\n", done.stderr


def test_there_is_no_other_worker():
    import asyncloop.workers

    with pytest.raises(AttributeError, match="has no attribute 'TrioWorker'"):
        asyncloop.workers.TrioWorker  # noqa: B018
