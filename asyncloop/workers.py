"""Worker classes for gunicorn, whose applications run on an asyncloop.Loop.

    gunicorn main:app -k asyncloop.workers.UvicornWorker     uvicorn's worker, from the package uvicorn-worker
    gunicorn main:app -k asyncloop.workers.ASGIWorker        gunicorn's own, -k asgi
    gunicorn main:app -k asyncloop.workers.AiohttpWorker     aiohttp's

Each is made when it is asked for, and needs only its own package.
"""

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

from . import run as _run
from ._loop import Loop as _Loop

if TYPE_CHECKING:
    UvicornWorker: type[Any]
    ASGIWorker: type[Any]
    AiohttpWorker: type[Any]

__all__ = ["ASGIWorker", "AiohttpWorker", "UvicornWorker"]


def _import(worker: str, package: str, *names: str) -> Any:
    """Return the first of these modules that can be imported; ImportError says which package the worker needs."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as exc:
            # Another module may be missing, of a package that is there: its own error tells more.
            if exc.name is None or not name.startswith(exc.name):
                raise
    raise ImportError(f"asyncloop.workers.{worker} needs the package {package}")


def _make_uvicorn_worker() -> type[Any]:
    _import("UvicornWorker", "gunicorn", "gunicorn")
    base: Any = _import("UvicornWorker", "uvicorn-worker", "uvicorn_worker", "uvicorn.workers").UvicornWorker

    class UvicornWorker(base):  # type: ignore[misc]
        """uvicorn's worker on an asyncloop.Loop, whatever its configuration says of a loop."""

        CONFIG_KWARGS = {**base.CONFIG_KWARGS, "loop": "none"}

        def run(self) -> None:
            _run(self._serve())

    return UvicornWorker


def _make_asgi_worker() -> type[Any]:
    base: Any = _import("ASGIWorker", "gunicorn 24 or newer", "gunicorn.workers.gasgi").ASGIWorker

    class ASGIWorker(base):  # type: ignore[misc]
        """gunicorn's ASGI worker on an asyncloop.Loop, whatever --asgi-loop says."""

        def _setup_event_loop(self) -> None:
            self.loop = _Loop()
            asyncio.set_event_loop(self.loop)

        def run(self) -> None:
            if not isinstance(self.loop, _Loop):
                raise RuntimeError("this gunicorn makes its event loop in a way that asyncloop.workers does not know")
            super().run()

    return ASGIWorker


def _make_aiohttp_worker() -> type[Any]:
    _import("AiohttpWorker", "gunicorn", "gunicorn")
    base: Any = _import("AiohttpWorker", "aiohttp", "aiohttp.worker").GunicornWebWorker

    class AiohttpWorker(base):  # type: ignore[misc]
        """aiohttp's worker on an asyncloop.Loop."""

        def init_process(self) -> None:
            self.loop = _Loop()
            asyncio.set_event_loop(self.loop)
            # Not that of aiohttp's class, which would do the same with asyncio's loop.
            super(base, self).init_process()

    return AiohttpWorker


_MAKERS = {
    "UvicornWorker": _make_uvicorn_worker,
    "ASGIWorker": _make_asgi_worker,
    "AiohttpWorker": _make_aiohttp_worker,
}


def __getattr__(name: str) -> Any:
    # A framework that somebody does not use is not imported, and may be missing.
    try:
        make = _MAKERS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    worker = make()
    worker.__qualname__ = name
    globals()[name] = worker
    return worker
