"""Asynchronous generators: closed by the loop that ran them."""

import asyncio
import gc
import sys

import pytest


@pytest.fixture
def seen():
    return []


async def first(generator):
    """Starts the generator inside the running loop."""
    return await anext(generator)


@pytest.fixture
def counter(seen):
    async def counter():
        try:
            for i in range(10):
                yield i
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    return counter


def test_iterated_to_the_end(run, counter, seen):
    async def main():
        return [i async for i in counter()]

    assert run(main()) == list(range(10))
    assert seen == ["closed"]


def test_dropped_generator_is_closed_by_the_loop(run, counter, seen):
    async def main():
        generator = counter()
        async for _ in generator:
            break
        del generator
        gc.collect()
        assert seen == []
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == ["closed"]

    run(main())


def test_shutdown_closes_live_generators(loop, counter, seen):
    generators = [counter() for _ in range(3)]

    async def main():
        for generator in generators:
            await anext(generator)

    loop.run_until_complete(main())
    assert seen == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert seen == ["closed"] * 3


def test_shutdown_without_any(loop):
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None


def test_shutdown_reports_failures(loop, reports):
    async def broken():
        try:
            yield
        finally:
            raise ValueError("x")

    generator = broken()
    loop.run_until_complete(first(generator))
    loop.run_until_complete(loop.shutdown_asyncgens())
    (report,) = reports()
    assert report["message"] == f"an error occurred during closing of asynchronous generator {generator!r}"
    assert str(report["exception"]) == "x"
    assert report["asyncgen"] is generator


def test_first_iteration_after_shutdown_warns(loop, counter):
    async def main():
        await loop.shutdown_asyncgens()
        generator = counter()
        with pytest.warns(ResourceWarning, match=r"was scheduled after loop\.shutdown_asyncgens\(\) call"):
            await anext(generator)
        await generator.aclose()

    loop.run_until_complete(main())


def test_hooks_are_set_while_running_and_restored(loop):
    async def main():
        return sys.get_asyncgen_hooks()

    def firstiter(generator):
        pass

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=firstiter)
    try:
        inside = loop.run_until_complete(main())
        assert inside.firstiter is not firstiter
        assert inside.finalizer is not None
        assert sys.get_asyncgen_hooks().firstiter is firstiter
    finally:
        sys.set_asyncgen_hooks(*before)


def test_dropped_after_the_loop_was_closed(loop_factory, counter, seen):
    loop = loop_factory()
    generator = counter()
    loop.run_until_complete(first(generator))
    loop.close()
    del generator
    gc.collect()
    assert seen == []


def test_runner_closes_them(loop_factory, counter, seen):
    generators = []

    async def main():
        generators.append(counter())
        return await anext(generators[0])

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()) == 0
    assert seen == ["closed"]
