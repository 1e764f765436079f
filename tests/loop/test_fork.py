"""Forked processes: they make loops of their own, and whatever they do to an inherited one, the parent's goes on."""

import asyncio
import sys

import pytest

own_only = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)

# For the scripts: the child's part runs in `child()`, and the parent goes on when it has ended well.
PRELUDE = """
import gc, os, signal, socket, threading, time, warnings, weakref
warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside threads, which is what is tested

async def echo():
    "Timers, threads and connections all work in the running loop."
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    assert await reader.read() == b"hello\\n"
    writer.close()
    server.close()
    await asyncio.sleep(0.001)
    assert await asyncio.to_thread(lambda: 42) == 42

def run_new(coro):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(asyncio.wait_for(coro, 20))

def fork(child):
    "The pid of a child that ends with 0 if child() returns."
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    return pid

def join(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.fixture
def forks(script):
    """Runs a script with the prelude above; it prints "ok" in the end."""

    def forks(source, prints="ok\n"):
        done = script(PRELUDE + source)
        assert done.stdout == prints
        assert done.stderr == ""

    return forks


def test_child_of_a_running_loop_runs_a_new_one(forks):
    forks(
        """
async def main():
    before = asyncio.get_running_loop()
    def child():
        assert asyncio._get_running_loop() is None
        run_new(echo())
        assert asyncio._get_running_loop() is None
    reader, writer = socket.socketpair()
    readable = asyncio.Event()
    before.add_reader(reader, readable.set)
    pid = fork(child)
    await asyncio.to_thread(join, pid)
    await echo()
    writer.send(b"x")
    await readable.wait()
    before.remove_reader(reader)
    reader.close(), writer.close()

run_new(main())
print("ok")
"""
    )


def test_child_of_an_idle_program_runs_a_new_one(forks):
    forks(
        """
loop = new_loop()
loop.run_until_complete(echo())
join(fork(lambda: run_new(echo())))
loop.run_until_complete(echo())
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
print("ok")
"""
    )


def test_child_of_a_thread_beside_a_waiting_loop_runs_a_new_one(forks):
    forks(
        """
loop = new_loop()
thread = threading.Thread(target=loop.run_forever)
thread.start()
asyncio.run_coroutine_threadsafe(echo(), loop).result(20)
time.sleep(0.01)  # it waits in its poll
for _ in range(3):
    join(fork(lambda: run_new(echo())))
asyncio.run_coroutine_threadsafe(echo(), loop).result(20)
asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(20)
loop.call_soon_threadsafe(loop.stop)
thread.join()
loop.close()
print("ok")
"""
    )


WATCHED = """
loop = new_loop()
reader, writer = socket.socketpair()
events = []
loop.add_reader(reader, lambda: events.append(reader.recv(10)))
loop.call_later(1000, events.append, "never")
loop.call_soon(loop.stop)
loop.run_forever()
join(fork(child))
writer.send(b"x")
threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop]).start()
loop.run_forever()
assert events == [b"x"], events
loop.close()
reader.close(), writer.close()
print("ok")
"""


@own_only  # stock takes its wake-up descriptor out of the epoll set that the parent waits with
def test_child_closes_the_inherited_loop(forks):
    forks(
        """
def child():
    loop.close()
    run_new(echo())
"""
        + WATCHED
    )


@own_only  # the same
def test_child_drops_the_inherited_loop(forks):
    forks(
        """
def child():
    global loop
    warnings.simplefilter("ignore", ResourceWarning)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    run_new(echo())
"""
        + WATCHED
    )


@own_only  # stock's child waits with the parent's epoll set
def test_child_goes_on_running_the_inherited_loop(forks):
    forks(
        """
def child():
    mine, other = socket.socketpair()
    loop.remove_reader(reader)
    loop.add_reader(mine, loop.stop)
    threading.Timer(0.01, other.send, [b"x"]).start()
    loop.run_forever()
    threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop]).start()
    loop.remove_reader(mine)
    loop.run_forever()
    loop.run_until_complete(echo())
    mine.close(), other.close()
"""
        + WATCHED
    )


@own_only  # stock: as above
def test_child_leaves_the_running_loop_by_an_exception(forks, Task):
    if Task is asyncio.Task and sys.version_info >= (3, 14):
        pytest.skip("in a child, a step of asyncio's own task ends in RuntimeError: its loop is not the running loop")
    forks(
        """
async def main():
    loop = asyncio.get_running_loop()
    reader, writer = socket.socketpair()
    readable = asyncio.Event()
    loop.add_reader(reader, readable.set)
    pid = os.fork()
    if pid == 0:
        sys.stderr = None  # which says that nobody took the task's SystemExit
        sys.exit(7)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    writer.send(b"x")
    await readable.wait()
    loop.remove_reader(reader)
    reader.close(), writer.close()
    await echo()

with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
print("ok")
"""
    )


@own_only
def test_child_of_a_child_runs_loops(forks):
    forks(
        """
async def main(depth):
    await echo()
    if depth:
        pid = fork(lambda: run_new(main(depth - 1)))
        await asyncio.to_thread(join, pid)
        await echo()

run_new(main(3))
print("ok")
"""
    )


def test_connections_of_the_parent_survive_the_child(forks):
    forks(
        """
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
    writer.close()

def child():
    gc.collect()
    run_new(echo())

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for i in range(3):
        writer.write(b"%d\\n" % i)
        assert await reader.readline() == b"%d\\n" % i
        await asyncio.to_thread(join, fork(child))
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    server.close()

run_new(main())
print("ok")
"""
    )


@own_only  # on 3.11 stock's child writes its signals to the parent
def test_signals_of_the_child_are_not_told_to_the_parent(forks):
    forks(
        """
heard = []

def child():
    os.kill(os.getpid(), signal.SIGUSR1)
    async def main():
        own = []
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, own.append, 1)
        os.kill(os.getpid(), signal.SIGUSR2)
        while not own:
            await asyncio.sleep(0.001)
    run_new(main())

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "SIGUSR1")
    loop.add_signal_handler(signal.SIGUSR2, heard.append, "SIGUSR2")
    await asyncio.to_thread(join, fork(child))
    await asyncio.sleep(0.02)
    assert heard == [], heard
    os.kill(os.getpid(), signal.SIGUSR1)
    while not heard:
        await asyncio.sleep(0.001)
    assert heard == ["SIGUSR1"]

run_new(main())
print("ok")
"""
    )


@own_only
def test_signals_of_the_parent_are_not_taken_by_a_child_that_goes_on(forks):
    forks(
        """
heard = []
loop = new_loop()
loop.add_signal_handler(signal.SIGUSR1, heard.append, "SIGUSR1")
ready, told = os.pipe()
done, finish = os.pipe()

def child():
    os.close(finish)
    loop.add_reader(done, loop.stop)
    loop.call_soon(os.write, told, b"x")
    loop.run_forever()
    assert heard == []
    loop.remove_reader(done)
    loop.close()

pid = fork(child)
os.read(ready, 1)
for i in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.002)  # long enough for the child to take it
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
assert len(heard) == 20, heard
os.close(finish)
join(pid)
loop.close()
print("ok")
"""
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_in_a_running_loop(forks, method):
    forks(
        f"""
import concurrent.futures, multiprocessing

async def double(x):
    await echo()
    return 2 * x

def work(x):
    return run_new(double(x))

async def main():
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context({method!r})
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        results = await asyncio.gather(*(loop.run_in_executor(pool, work, i) for i in range(4)))
    assert results == [0, 2, 4, 6]
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    assert await asyncio.to_thread(queue.get) == 84
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0
    await echo()

def put(queue):
    queue.put(work(42))

if __name__ == "__main__":
    run_new(main())
    print("ok")
"""
    )
