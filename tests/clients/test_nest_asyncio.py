"""nest_asyncio and nest_asyncio2 let a running loop run again: they replace methods of its class, and its turns."""

import sys

import pytest


@pytest.fixture(params=["nest_asyncio", "nest_asyncio2"])
def nest(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def current_task(nest):
    """Of tests whose programs ask for it."""
    if nest == "nest_asyncio" and sys.version_info >= (3, 14):
        pytest.skip("with it asyncio.current_task() is None on Python 3.14, on asyncio's loops, too")


@pytest.fixture
def nested(script, nest):
    """Runs a program in which `nest` is the package, and returns what it printed."""

    def nested(source):
        done = script(
            f"import {nest} as nest, warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n" + source
        )
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return nested


def test_refused_without_it(script):
    done = script("""
        async def main():
            coro = asyncio.sleep(0)
            try:
                asyncio.get_running_loop().run_until_complete(coro)
            except RuntimeError as exc:
                print(exc)
                coro.close()
        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """)
    assert done.stdout == "This event loop is already running\n"


@pytest.mark.parametrize("when", ["before", "running"])
def test_nested_run(nested, when):
    assert nested(f"""
loop = new_loop()
asyncio.set_event_loop(loop)
if {when!r} == "before":
    nest.apply(loop)

async def main():
    if {when!r} == "running":
        nest.apply()
    return [loop.run_until_complete(asyncio.sleep(0.001, i)) for i in range(3)]

if {when!r} == "before":
    print(loop.run_until_complete(main()))
else:
    # The run that has begun is not one of the package's, and the next one is.
    async def outer():
        return await main()
    print(loop.run_until_complete(outer()))
    print(loop.run_until_complete(main()))
loop.close()
""") == ["[0, 1, 2]"] * (1 if when == "before" else 2)


def test_asyncio_run_within_a_run(nested):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)

async def inner(n):
    await asyncio.sleep(0.001)
    return n if n == 0 else n + asyncio.run(inner(n - 1))

async def main():
    return asyncio.run(inner(3)), loop.run_until_complete(inner(2))

print(loop.run_until_complete(main()))
print(asyncio.run(inner(4)))
loop.close()
""") == ["(6, 3)", "10"]


def test_tasks_go_on_meanwhile(nested, current_task):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)
steps = []

async def background():
    for i in range(10):
        steps.append(i)
        await asyncio.sleep(0.001)
    return "background"

async def main():
    task = asyncio.ensure_future(background())
    await asyncio.sleep(0)
    loop.run_until_complete(asyncio.sleep(0.1))
    seen = len(steps)
    return seen > 2, await task, await asyncio.wait_for(asyncio.sleep(0.001, "waited"), 10)

print(*loop.run_until_complete(main()))
loop.close()
""") == ["True background waited"]


def test_many_at_once(nested):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)

async def child(i):
    await asyncio.sleep(0.001 * (i % 3))
    return loop.run_until_complete(asyncio.sleep(0.001, i))

async def main():
    return await asyncio.gather(*map(child, range(6)))

print(loop.run_until_complete(main()))
loop.close()
""") == ["[0, 1, 2, 3, 4, 5]"]


def test_connections_and_executors(nested, current_task):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()

async def talk(address):
    reader, writer = await asyncio.open_connection(*address)
    for i in range(20):
        writer.write(b"%d" % (i % 10))
        assert await reader.readexactly(1) == b"%d" % (i % 10)
    writer.close()
    await writer.wait_closed()
    return await loop.run_in_executor(None, sum, [1, 2])

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    result = loop.run_until_complete(talk(address)), await talk(address)
    server.close()
    await asyncio.sleep(0.001)
    return result

print(loop.run_until_complete(main()))
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
""") == ["(3, 3)"]


def test_exceptions(nested):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)

async def fail():
    await asyncio.sleep(0)
    raise LookupError("inner")

async def main():
    try:
        loop.run_until_complete(fail())
    except LookupError as exc:
        print(exc)
    await asyncio.sleep(0.001)
    raise KeyError("outer")

try:
    loop.run_until_complete(main())
except KeyError as exc:
    print(exc)
print(loop.run_until_complete(asyncio.sleep(0, "goes on")), loop.is_running())
loop.close()
""") == ["inner", "'outer'", "goes on False"]


def test_other_loops(nested):
    """It changes the class of all loops."""
    assert (
        nested("""
first, second = new_loop(), new_loop()
asyncio.set_event_loop(first)
nest.apply(first)
for loop in second, new_loop(), first:
    asyncio.set_event_loop(loop)
    print(loop.run_until_complete(asyncio.sleep(0.001, "works")))
    loop.close()
""")
        == ["works"] * 3
    )


def test_callbacks_and_timers(nested):
    assert nested("""
loop = new_loop()
asyncio.set_event_loop(loop)
nest.apply(loop)
seen = []

def callback():
    seen.append(loop.run_until_complete(asyncio.sleep(0.001, "in a callback")))

async def main():
    loop.call_soon(callback)
    loop.call_later(0.002, callback)
    loop.call_later(100, seen.append, "never").cancel()
    await asyncio.sleep(0.02)
    return seen

print(loop.run_until_complete(main()))
loop.close()
""") == ["['in a callback', 'in a callback']"]


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio.get_event_loop() makes no loop any more")
def test_with_the_policy(nested):
    assert nested("""
import asyncloop
asyncloop.install()
nest.apply()
loop = asyncio.get_event_loop()

async def main():
    return type(asyncio.get_running_loop()).__name__, asyncio.run(asyncio.sleep(0.001, 3))

print(isinstance(loop, asyncloop.Loop), loop.run_until_complete(main()), asyncio.run(main()))
loop.close()
""") == ["True ('Loop', 3) ('Loop', 3)"]


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
def test_with_run_of_ours(nested, nest):
    if nest == "nest_asyncio" and sys.version_info >= (3, 12):
        pytest.skip("its asyncio.run() takes no loop_factory")
    assert (
        nested("""
import asyncloop
nest.apply(asyncloop.new_event_loop())

async def main():
    loop = asyncio.get_running_loop()
    return isinstance(loop, asyncloop.Loop), loop.run_until_complete(asyncio.sleep(0.001, 3))

print(asyncloop.run(main()))
""")[0]
        == "(True, 3)"
    )
