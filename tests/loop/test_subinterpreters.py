"""Interpreters of one process: each has loops and tasks of its own, and breaks nothing in the others when it ends."""

import importlib.util
import os
import sys
import textwrap

import failing
import pytest

pytestmark = pytest.mark.skipif(
    not any(importlib.util.find_spec(name) for name in ("_interpreters", "_xxsubinterpreters")),
    reason="this interpreter was built without the module that makes others",
)

# What each of the interpreters does, the main one too.
USE = """
import asyncio

async def main():
    task = asyncio.get_running_loop().create_task(asyncio.sleep(0.001))
    seen = len(asyncio.all_tasks())
    await task
    return seen

def use(new_loop):
    loop = new_loop()
    assert loop.run_until_complete(main()) == 2
    loop.close()
"""

HEAD = """
import gc

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

def create():
    try:
        return _interpreters.create("isolated" if OWN_GIL else "legacy")
    except (TypeError, ValueError):
        return _interpreters.create(isolated=OWN_GIL)

def run(number, source=THERE):
    failure = _interpreters.run_string(number, source)
    if failure is not None:
        raise RuntimeError(failure)

def end(number):
    _interpreters.destroy(number)
    gc.collect()
"""


OWN_GIL = pytest.param(
    True,
    id="own GIL",
    marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio crashes there in 3.12; 3.11 has one GIL"),
)


@pytest.fixture(params=[pytest.param(False, id="shared GIL"), OWN_GIL])
def program(script, kind, request):
    """Runs a program of the main interpreter, which imports the package of the loop only if it says so."""
    new_loop = f"from {kind} import new_event_loop as new_loop\n"

    def program(source, *there, preload=None):
        there = "".join(map(textwrap.dedent, (USE, new_loop, "use(new_loop)", *there)))
        there = f"import sys\nsys.path[:] = {{sys.path!r}}\n{there}"
        source = textwrap.dedent(source).replace("import_package()", new_loop)
        source = f"OWN_GIL = {request.param}\n{source}"
        source = f"THERE = {there!r}.replace('{{sys.path!r}}', repr(sys.path))\n" + USE + HEAD + source
        return script(source + "\nprint('end')\n", names=False, preload=preload).stdout.split()

    return program


def test_main_interpreter_goes_on_after_one_has_ended(program):
    assert program("""
        number = create()
        run(number)
        end(number)
        use(asyncio.new_event_loop)
    """) == ["end"]


def test_may_be_made_one_after_the_other(program):
    assert program("""
        for _ in range(3):
            number = create()
            run(number)
            end(number)
    """) == ["end"]


@pytest.mark.parametrize("last", [0, -1], ids=["first goes first", "first goes last"])
def test_several_may_be_used_at_once(program, last):
    assert program(f"""
        numbers = [create() for _ in range(3)]
        for number in numbers:
            run(number)
        while numbers:
            end(numbers.pop({last}))
            for number in numbers:
                run(number)
            use(asyncio.new_event_loop)
    """) == ["end"]


@pytest.mark.parametrize("before", [True, False], ids=["imported before", "imported after"])
def test_the_main_interpreter_may_use_it_too(program, before):
    assert program(f"""
        if {before}:
            import_package()
            use(new_loop)
        number = create()
        run(number)
        end(number)
        import_package()
        use(new_loop)
        use(asyncio.new_event_loop)
    """) == ["end"]


def test_process_may_end_before_one_has_ended(program):
    assert program("run(create())") == ["end"]


def test_garbage_may_be_left_in_one(program):
    garbage = """
        class Owner:
            pass

        owner = Owner()
        owner.itself = owner
        owner.loop = new_loop()
        owner.task = owner.loop.create_task(main())
        owner.timer = owner.loop.call_later(1000, print)
        owner.iterator = owner.loop.create_future().__await__()
        owner.connection = owner.loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        owner.connection = owner.loop.run_until_complete(owner.connection)
    """
    assert program(
        """
        numbers = [create(), create()]
        for number in numbers:
            run(number)
        for number in numbers:
            end(number)
        use(asyncio.new_event_loop)
        """,
        garbage,
    ) == ["end"]


def test_tasks_are_registered_in_one(program):
    assert program(
        "run(create())",
        """
        from asyncio import tasks

        async def registers():
            task = asyncio.current_task()
            tasks._unregister_task(task)
            assert task not in asyncio.all_tasks()
            tasks._register_task(task)
            assert task in asyncio.all_tasks()

        loop = new_loop()
        loop.run_until_complete(registers())
        loop.close()
        """,
    ) == ["end"]


@pytest.fixture
def unmapping(tmp_path):
    """What a program preloads so that using what is freed crashes."""
    if not failing.is_possible or "LD_PRELOAD" in os.environ:
        pytest.skip("needs a C compiler, and a sanitizer does it itself")
    return failing.compile_shim(tmp_path, failing.SOURCE.with_name("unmapping.c"))


def test_tasks_may_outlive_the_state_of_the_module(program, kind, unmapping):
    """They are freed after it, and must not look for the list that they were in."""
    tasks = f"""
        import asyncio
        from {kind} import Task

        class Loop:
            def __init__(self):
                self.queue = []

            def get_debug(self):
                return False

            def call_soon(self, *args, context=None):
                self.queue.append(args)

        async def nothing():
            pass

        def make():
            coro = nothing()
            task = Task(coro, loop=Loop())
            task._log_destroy_pending = False
            coro.close()
            return task

        class Owner:
            pass

        owner = Owner()
        owner.itself = owner
        owner.tasks = tasks = [make() for _ in range(3)]
        module = sys.modules[Task.__module__.replace("asyncloop", "asyncloop._core")]
        module.owner = owner  # both are garbage at once then, and the module is the older one
        del module
    """
    source = f"""
        number = create()
        run(number, f"import sys; sys.path[:] = {{sys.path!r}}\\n" + {textwrap.dedent(tasks)!r})
        end(number)
        use(asyncio.new_event_loop)
    """
    assert program(source, preload=unmapping) == ["end"]
