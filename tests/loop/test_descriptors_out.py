"""A process has no descriptors left, or closes those of its loop: an OSError, never a loop that stands or a crash."""

import sys

import pytest

PRELUDE = """
import errno, gc, os, resource, select, signal, socket, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside threads
from importlib import import_module

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def use_up(left=0, limit=200):
    "Have the process open as many descriptors as it may, but for some."
    global spare
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    spare = []
    try:
        while True:
            spare.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(left):
        os.close(spare.pop())

def give_back():
    while spare:
        os.close(spare.pop())

def number(function, *args):
    "The errno of the OSError that it raises."
    try:
        function(*args)
    except OSError as exc:
        return exc.errno

def end(loop):
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

def kinds(kind):
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if kind in os.readlink("/proc/self/fd/" + fd):
                found.append(int(fd))
        except OSError:  # that of the listing itself
            pass
    return found
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd is Linux's")
ours = pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)


@pytest.fixture
def passes(script, kind):
    """Runs a script that prints nothing; stock complains of a loop that could not be made when it is collected."""

    def passes(source):
        done = script(PRELUDE + source)
        assert (done.stdout, done.stderr if kind == "asyncloop" else "") == ("", "")

    return passes


class TestNone:
    """No descriptor is left."""

    @pytest.mark.parametrize("left", [0, 1, 2, 3, 4])
    def test_a_loop_is_made_or_not(self, passes, left):
        passes(f"""
new_loop().close()
before = descriptors()
use_up({left})
made = []
error = number(lambda: made.append(new_loop()))
assert made or error == errno.EMFILE, error
if made:
    made[0].run_until_complete(asyncio.sleep(0.002))
    made[0].close()
give_back()
gc.collect()
assert descriptors() == before
loop = new_loop()
loop.run_until_complete(asyncio.sleep(0.002))
loop.close()
""")

    @ours
    @pytest.mark.parametrize("backend", ["epoll", "poll", "select", "linuxaio", "iouring"])
    @pytest.mark.parametrize("left", [0, 1, 2, 3])
    def test_a_loop_of_any_backend_is_made_or_not(self, passes, left, backend):
        passes(f"""
Loop = import_module("asyncloop").Loop
try:
    Loop(backend={backend!r}).close()
except ValueError:
    sys.exit()  # not here
before = descriptors()
use_up({left})
made = []
error = number(lambda: made.append(Loop(backend={backend!r})))
assert made or error == errno.EMFILE, error
if made:
    made[0].run_until_complete(asyncio.sleep(0.002))
    made[0].close()
give_back()
assert descriptors() == before
""")

    def test_a_thread_that_makes_a_loop_does_not_block_others(self, passes):
        passes("""
ran, beats = [], []
signal.signal(signal.SIGALRM, lambda *_: ran.append("handler"))

async def main():
    loop = asyncio.get_running_loop()
    async def heart():
        while True:
            beats.append(1)
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.002)
    await loop.run_in_executor(None, int)
    use_up(1)
    beating = asyncio.create_task(heart())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert await loop.run_in_executor(None, number, new_loop) == errno.EMFILE
    await asyncio.sleep(0.1)
    beating.cancel()
    give_back()

loop = new_loop()
loop.run_until_complete(main())
assert ran == ["handler"] and len(beats) > 5
end(loop)
""")

    @ours
    @pytest.mark.parametrize("backend", [None, "poll", "select", "linuxaio", "iouring"])
    def test_a_child_runs_its_loop_when_it_can(self, passes, backend):
        passes(f"""
try:
    loop = import_module("asyncloop").Loop(backend={backend!r})
except ValueError:
    sys.exit()
near, far = socket.socketpair()
read = []
loop.add_reader(near, lambda: (read.append(near.recv(1)), loop.stop()))
loop.run_until_complete(asyncio.sleep(0.002))
pid = os.fork()
if pid == 0:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    for _ in range(2):
        assert number(loop.run_until_complete, asyncio.sleep(0.002)) == errno.EMFILE
    assert number(loop.add_signal_handler, signal.SIGUSR1, print) == errno.EMFILE
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    loop.call_later(0.002, os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    loop.call_later(0.002, far.send, b"x")
    loop.run_forever()
    assert read == [b"x"]
    loop.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
far.send(b"y")
loop.run_forever()
assert read == [b"y"]
loop.close()
""")

    @pytest.mark.parametrize("make", ["os.eventfd(0)", "os.openpty()[0]", "os.pidfd_open(os.getpid())", "os.pipe()[0]"])
    def test_a_descriptor_is_watched(self, passes, make):
        passes(f"""
async def main():
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.002)
    fd = {make}
    use_up()
    loop.add_reader(fd, print)
    await asyncio.sleep(0.002)
    assert loop.remove_reader(fd)
    give_back()

loop = new_loop()
loop.run_until_complete(main())
loop.close()
""")

    def test_a_terminal_is_read_again(self, passes):
        passes("""
async def main():
    loop = asyncio.get_running_loop()
    here, there = os.openpty()
    transport, _ = await loop.connect_read_pipe(asyncio.Protocol, open(here, "rb", 0))
    await asyncio.sleep(0.002)
    use_up()
    transport.pause_reading()
    transport.resume_reading()
    give_back()
    transport.close()
    await asyncio.sleep(0.002)

loop = new_loop()
loop.run_until_complete(main())
loop.close()
""")

    def test_signals_are_handled(self, passes):
        passes("""
async def main():
    loop = asyncio.get_running_loop()
    use_up()
    for _ in range(3):
        handled = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, handled.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await handled.wait()
        assert loop.remove_signal_handler(signal.SIGUSR1)
    give_back()

loop = new_loop()
loop.run_until_complete(main())
loop.close()
""")

    def test_a_first_sleep_ends(self, passes):
        passes("""
async def main():
    use_up()
    began = time.monotonic()
    for delay in (0.0002, 0.002, 0.02):
        await asyncio.sleep(delay)
    assert 0.0222 <= time.monotonic() - began < 1
    give_back()

loop = new_loop()
loop.run_until_complete(main())
loop.close()
""")


@ours
class TestClosed:
    """The program closes all descriptors that it does not know, as daemons do. Stock's loop is of no use then."""

    @pytest.mark.parametrize("used", [False, True])
    @pytest.mark.parametrize("others", ["nothing", "files", "sockets", "a set"])
    def test_the_loop_goes_on_and_touches_no_others(self, passes, used, others):
        passes(f"""
async def echo(loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    loop.call_later(0.002, far.send, b"x")
    assert await loop.sock_recv(near, 1) == b"x"
    near.close()
    far.close()
    assert await loop.run_in_executor(None, lambda: 42) == 42

loop = new_loop()
if {used}:
    loop.run_until_complete(asyncio.sleep(0.002))
os.closerange(3, 100)
if {others!r} == "files":
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
elif {others!r} == "sockets":
    taken = [sock.detach() for _ in range(5) for sock in socket.socketpair()]
elif {others!r} == "a set":
    sets = [select.epoll() for _ in range(10)]
    taken = [set.fileno() for set in sets]
    waiting, _ = socket.socketpair()
    for set in sets:
        set.register(waiting, select.EPOLLOUT)
else:
    taken = []
identity = [os.fstat(fd) for fd in taken]
loop.call_soon(loop.stop)
loop.run_forever()
loop.run_until_complete(echo(loop))
end(loop)
assert [os.fstat(fd) for fd in taken] == identity
""")

    def test_signals_arrive_in_the_loop_again(self, passes):
        passes("""
def send():
    os.kill(os.getpid(), signal.SIGUSR1)

loop = new_loop()
got = []
loop.add_signal_handler(signal.SIGUSR1, got.append, 1)
os.closerange(3, 100)
others = [sock for _ in range(5) for sock in socket.socketpair()]
loop.run_until_complete(asyncio.sleep(0.002))
loop.call_soon(send)
loop.run_until_complete(asyncio.sleep(0.01))
assert got == [1]
for other in others:
    assert not select.select([other], [], [], 0)[0]
assert loop.remove_signal_handler(signal.SIGUSR1)
assert signal.set_wakeup_fd(-1) == -1
loop.close()
""")

    def test_two_loops_with_signals(self, passes):
        passes("""
first, second = new_loop(), new_loop()
got = []
first.add_signal_handler(signal.SIGUSR1, got.append, 1)
second.add_signal_handler(signal.SIGUSR2, got.append, 2)
os.closerange(3, 100)
for loop in (first, second):
    loop.run_until_complete(asyncio.sleep(0.002))
second.call_soon(os.kill, os.getpid(), signal.SIGUSR2)
second.run_until_complete(asyncio.sleep(0.01))
assert got == [2]
second.close()
first.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
first.run_until_complete(asyncio.sleep(0.01))
assert got == [2, 1]
first.close()
assert signal.set_wakeup_fd(-1) == -1
""")

    @pytest.mark.parametrize("backend", [pytest.param("epoll", marks=pytest.mark.feature("epoll")), "poll", "select"])
    def test_each_of_its_descriptors(self, passes, backend):
        passes(f"""
for kind in ("[eventpoll]", "[timerfd]", "pipe:"):
    loop = import_module("asyncloop").Loop(backend={backend!r})
    before = kinds(kind)
    loop.run_until_complete(asyncio.sleep(0.002))
    for fd in kinds(kind):
        os.close(fd)
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0.002))
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    if kind != "pipe:" or {backend!r} != "epoll":  # there nothing tells of the pipe's end
        loop.run_until_complete(loop.run_in_executor(None, int))
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert kinds(kind) == [], kind
""")


@pytest.mark.feature("epoll")
def test_a_loop_watches_its_own_set(passes):
    passes("""
before = kinds("[eventpoll]")
loop = new_loop()
(own,) = set(kinds("[eventpoll]")) - set(before)
assert number(loop.add_reader, own, print) == errno.EINVAL
loop.run_until_complete(asyncio.sleep(0.002))
loop.close()
""")


@pytest.mark.feature("epoll")
def test_two_loops_watch_each_other(passes):
    passes("""
one = new_loop()
(first,) = kinds("[eventpoll]")
other = new_loop()
(second,) = set(kinds("[eventpoll]")) - {first}
one.add_reader(second, print)
assert number(other.add_reader, first, print) == errno.ELOOP
one.remove_reader(second)
for loop in (one, other):
    loop.run_until_complete(asyncio.sleep(0.002))
    loop.close()
""")
