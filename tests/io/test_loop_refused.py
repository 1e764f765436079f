"""The kernel refuses what a loop is made of: it does without, or whoever makes it is told, and nothing is left open."""

import pytest

PRELUDE = """
import asyncloop

def descriptors():
    "Each, and what it stands for."
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield int(fd), os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # that of the listing
            pass

def opened():
    return sorted(name for _, name in descriptors())

def close_set():
    (fd,) = [fd for fd, name in descriptors() if "eventpoll" in name]
    os.close(fd)

def number(function, *args):
    try:
        function(*args)
    except OSError as exc:
        return exc.errno

def use(loop):
    "Connections, another thread, a timer."
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * 1000 + b"\\n")
            assert len(await reader.read()) == 1001
            writer.close()
        server.close()
        assert await asyncio.to_thread(int) == 0
        began = loop.time()
        await asyncio.sleep(0.01)
        assert loop.time() - began >= 0.01

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())

loop.close()
use(first := asyncloop.Loop())  # whatever is imported or opened only once
first.close()
del loop, first
at_first = opened()
"""


@pytest.fixture
def passes(preloaded):
    return lambda source: preloaded("asyncloop", PRELUDE, source, run="\nassert opened() == at_first\n")


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EACCES"])
class TestNoSuchCall:
    def test_without_epoll_libev_is_used(self, passes, error):
        passes(f"""
            refuse("set", errno.{error})
            loop = asyncloop.Loop()
            assert not [name for name in opened() if "eventpoll" in name]
            use(loop)
            loop.close()
        """)

    def test_to_watch_by_epoll(self, passes, error):
        passes(f"""
            refuse("add", errno.{error})
            loop = asyncloop.Loop()
            use(loop)
            loop.close()
        """)

    def test_pipe2(self, passes, error):
        passes(f"""
            refuse("pipe2", errno.{error})
            loop = asyncloop.Loop()
            use(loop)
            loop.close()
        """)

    def test_fstat(self, passes, error):
        passes(f"""
            refuse("fstat", errno.{error})
            loop = asyncloop.Loop()
            use(loop)
            loop.close()
            refuse("fstat", 0)
        """)

    def test_a_child_without_epoll(self, passes, error):
        passes(f"""
            refuse("set", errno.{error})
            loop = asyncloop.Loop()
            if (child := os.fork()) == 0:
                use(loop)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            use(loop)
            loop.close()
        """)


@pytest.mark.feature("epoll", "pipe2")
@pytest.mark.parametrize("what", ["set", "add", "pipe2"])
@pytest.mark.parametrize("error", ["EMFILE", "ENOMEM", "ENOSPC"])
def test_a_loop_that_cannot_be_made_raises_the_error(passes, what, error):
    passes(f"""
        refuse({what!r}, errno.{error})
        assert number(asyncloop.Loop) == errno.{error}
        assert number(asyncloop.Loop) == errno.{error}
        refuse({what!r}, 0)
        assert opened() == at_first
        loop = asyncloop.Loop()
        use(loop)
        loop.close()
    """)


@pytest.mark.feature("epoll")
@pytest.mark.parametrize("error", ["ENOMEM", "ENOSPC", "EPERM"])
def test_the_set_is_closed_and_another_is_refused(passes, error):
    passes(f"""
        loop = asyncloop.Loop()
        close_set()
        refuse("add", errno.{error})
        for _ in range(3):
            assert number(loop.run_until_complete, asyncio.sleep(0.001)) == errno.{error}
        refuse("add", 0)
        use(loop)
        loop.close()
    """)


@pytest.mark.feature("epoll")
def test_the_pipe_is_looked_at_in_vain(passes):
    """Without an answer to what it is, it is taken for the loop's own: not left open, not made again."""
    passes("""
        loop = asyncloop.Loop()
        pipes = [name for name in opened() if name.startswith("pipe:")]
        refuse("fstat", errno.ENOMEM)
        close_set()
        loop.run_until_complete(asyncio.sleep(0.001))
        assert [name for name in opened() if name.startswith("pipe:")] == pipes
        use(loop)
        loop.close()
        refuse("fstat", 0)
    """)
