"""Runs an unchanged program with asyncloop as its loop.

    python -m asyncloop [--accelerate] script.py args...
    python -m asyncloop [--accelerate] -m module args...
    python -m asyncloop top PID|socket|script.py args...

The program finds everything as `python script.py args...` or `python -m module args...` would have it: sys.argv,
sys.path, its own __main__ module, exit status and traceback. Only the event loop policy is ours, so asyncio.run(),
asyncio.Runner and asyncio.new_event_loop() make an asyncloop.Loop. So they do in processes that multiprocessing makes.
With --accelerate asyncio's locks, queues and streams are ours, too: see asyncloop.accelerate().

For uvicorn and granian, which would choose a loop themselves, the environment variable is set that stands for their
option --loop. If a program has run another loop than ours, one line on stderr says so at exit (_notice.py).
"""

import builtins
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import runpy
import sys
import types
from typing import Any

from ._notice import notice_other_loops
from ._version import __version__

USAGE = """\
usage: python -m asyncloop [--accelerate] script.py [args...]
       python -m asyncloop [--accelerate] -m module [args...]
       python -m asyncloop top PID|socket|script.py [args...]

Runs a program with asyncloop as its asyncio event loop. `top` shows what the loops of a program do.

  --accelerate  put asyncloop's locks, queues and streams under asyncio's names
"""


def main(args: list[str]) -> None:
    """Run the program that `args`, the command line behind `-m asyncloop`, names; raises what the program raises."""
    is_accelerated = args[:1] == ["--accelerate"]
    if is_accelerated:
        args = args[1:]
    if args[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
    elif args == ["--version"]:
        print(f"asyncloop {__version__}")
    elif args[:1] == ["-m"] and len(args) > 1:
        install(args[1], is_accelerated)
        run_module(args[1], args[2:])
    elif args[:1] == ["top"] and len(args) > 1 and not os.path.exists("top"):
        top(args[1:])
    elif args and not args[0].startswith("-"):
        install(os.path.basename(args[0]), is_accelerated)
        run_script(args[0], args[1:])
    else:
        sys.exit(USAGE.rstrip())


def install(program: str, is_accelerated: bool) -> None:
    """Make asyncloop the loop of the program of this name, or exit where that cannot be done from outside of it."""
    try:
        from ._policy import install_silently
    except ImportError as exc:
        sys.exit(str(exc))
    install_silently()
    if is_accelerated:
        from ._accelerate import accelerate

        accelerate()
    if path := os.environ.pop("ASYNCLOOP_SERVE_METRICS", None):  # top has started us
        from . import serve_metrics

        serve_metrics(path)
    notice_other_loops()
    if program == "uvicorn":
        os.environ.setdefault("UVICORN_LOOP", uvicorn_loop())
    elif program == "granian":
        os.environ.setdefault("GRANIAN_LOOP", "asyncio")  # it means the policy's


def uvicorn_loop() -> str:
    """Return what uvicorn's option --loop is to be."""
    from importlib import metadata

    with contextlib.suppress(ValueError, metadata.PackageNotFoundError):
        major, minor = metadata.version("uvicorn").split(".")[:2]
        if (int(major), int(minor)) < (0, 36):
            return "asyncio"  # it means the policy's there, and functions are refused
    return "asyncloop:new_event_loop"


def top(args: list[str]) -> None:
    """Show what the loops of a program do, or exit where the package that draws is missing."""
    try:
        from . import _top
    except ImportError as exc:
        sys.exit(str(exc))
    _top.main(args)


def run_module(name: str, args: list[str]) -> None:
    """Do what `python -m name args...` does; sys.path[0] is the current directory already."""
    sys.argv[:] = ["-m", *args]
    fresh_main()
    # The very function by which the interpreter itself does it, so that its errors and traceback are the same.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_script(path: str, args: list[str]) -> None:
    """Do what `python path args...` does; `path` may also be a directory or an archive with a __main__.py."""
    sys.argv[:] = [path, *args]
    full = os.path.join(os.getcwd(), path)  # made absolute, but not normalised: so does the interpreter

    if pkgutil.get_importer(path) is not None:
        # A directory or an archive goes onto sys.path whatever the flags say: it is where __main__ is found.
        if sys.flags.safe_path:
            sys.path.insert(0, full)
        else:
            sys.path[0] = full
        fresh_main()
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        return

    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as exc:
        print(f"{sys.executable}: can't open file {full!r}: [Errno {exc.errno}] {exc.strerror}", file=sys.stderr)
        sys.exit(2)
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    loader: importlib.machinery.SourcelessFileLoader | importlib.machinery.SourceFileLoader
    if path.endswith(".pyc") or source[:2] == importlib.util.MAGIC_NUMBER[:2]:
        loader = importlib.machinery.SourcelessFileLoader("__main__", full)
        code = loader.get_code("__main__")
        assert code is not None  # it raises ImportError instead
    else:
        loader = importlib.machinery.SourceFileLoader("__main__", full)
        code = compile(source, full, "exec", dont_inherit=True)
    names = fresh_main()
    names["__file__"] = full
    names["__loader__"] = loader
    if sys.version_info < (3, 15):
        names["__cached__"] = None
    exec(code, names)


def fresh_main() -> dict[str, Any]:
    """Put an empty module in the place of sys.modules["__main__"], which is this one until then, return its names."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    names = vars(module)
    names["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    # Not before: when multiprocessing is imported, it notes which module is __main__.
    from ._children import install_in_children

    install_in_children()
    return names


def hide_our_frames(exc: BaseException) -> None:
    """Let the interpreter show the traceback of `exc`, which ends the program, as if we were not there."""
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next

    # Frames are added as long as the exception travels: cut them off when it is shown, by whatever the program
    # wants to show it with. Only in this way a KeyboardInterrupt ends the process as the interpreter does it.
    show = sys.excepthook
    sys.excepthook = lambda kind, value, _: show(kind, value.with_traceback(traceback), traceback)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SystemExit:
        raise
    except BaseException as exc:
        hide_our_frames(exc)
        raise
