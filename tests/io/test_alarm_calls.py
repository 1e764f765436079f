"""What a wait for a deadline asks of the kernel: one wait, and one call that sets the timerfd if the deadline changes.

The programs run with calls.c preloaded, which counts. A busy machine lets a deadline pass before the loop waits for
it, so the counts are bounds; but for those of programs whose clock goes on by waiting alone.
"""

import errno

import pytest

pytestmark = pytest.mark.feature("epoll", "timerfd")

PRELUDE = """
def let_the_clock_stand(stand):  # but for waits, see calls.c
    ctypes.c_int64.in_dll(library, "standing_clock").value = time.monotonic_ns() if stand else 0

def pulse(sock, count):  # from a thread, so that the loop waits for each byte
    for _ in range(count):
        time.sleep(0.0005)
        sock.send(b"x")

async def pulses(count):
    near, far = socket.socketpair()
    near.setblocking(False)
    threading.Thread(target=pulse, args=(far, count)).start()
    for _ in range(count):
        yield await loop.sock_recv(near, 1)
    near.close()
    far.close()
"""


@pytest.fixture
def counted(preloaded):
    """counted(source) runs the source of main() on a loop of ours."""
    return lambda source: preloaded("asyncloop", PRELUDE, source)


@pytest.mark.parametrize("delay", [50e-6, 1e-3, 6e-3])
def test_a_deadline_is_one_wait_and_one_setting(counted, delay):
    """Each is armed by the callback of the one before: another turn between them may poll, if it takes long."""
    counted(f"""
        def again(left, done):
            if left == 50:
                calls("waits"), calls("settings"), calls("readings")
            if left > 0:
                loop.call_later({delay}, again, left - 1, done)
            else:
                done.set_result([calls("waits"), calls("settings"), calls("readings")])

        async def main():
            let_the_clock_stand(True)
            done = loop.create_future()
            loop.call_later({delay}, again, 50, done)
            assert await done == [50, 50, 0]
            let_the_clock_stand(False)
    """)


def test_a_deadline_that_does_not_change_is_set_once(counted):
    counted("""
        async def main():
            loop.call_later(3600, print)
            async for _ in pulses(50):
                loop.call_later(5000, print)
            assert calls("settings") == 1
    """)


def test_a_deadline_that_is_cancelled_ends_no_wait(counted):
    counted("""
        async def main():
            timer = loop.call_later(0.05, print)
            async for _ in pulses(3):  # the loop waits for them, so the timerfd is set
                pass
            timer.cancel()
            calls("waits")
            near, far = socket.socketpair()
            near.setblocking(False)
            threading.Timer(0.2, far.send, (b"x",)).start()
            await loop.sock_recv(near, 1)
            assert calls("waits") == 1
    """)


def test_timeouts_that_are_cancelled_again_and_again(counted):
    """The alarm is moved every few milliseconds only; and a deadline that is nearer is kept all the same."""
    counted("""
        async def main():
            timer = loop.call_later(30, print)
            began = loop.time()
            async for _ in pulses(500):
                timer.cancel()
                timer = loop.call_later(30, print)
            assert calls("settings") <= (loop.time() - began) / 0.004 + 2
            assert calls("readings") == 0
            timer.cancel()
            began = loop.time()
            await asyncio.sleep(0.02)
            assert 0.02 <= loop.time() - began < 25  # not 30 s later
    """)


@pytest.mark.parametrize("far", [0, 1, 4])
@pytest.mark.parametrize("arming", ["in order", "shuffled", "from the last to the first", "and half of them cancelled"])
def test_deadlines_that_are_close_together_share_a_wait(counted, arming, far):
    """Whatever else waits, and in whatever order they were armed; none fires before it is due."""
    counted(f"""
        import random

        async def main():
            for _ in range({far}):
                loop.call_later(3600, print)
            let_the_clock_stand(True)
            for turn in range(2):
                begin = loop.time() + 0.01
                done = loop.create_future()
                deadlines = [begin + i * 8e-6 for i in range(2000)]
                late = []
                if {arming!r} == "shuffled":
                    random.Random(turn).shuffle(deadlines)
                if {arming!r} == "from the last to the first":
                    deadlines.reverse()
                for when in deadlines:
                    timer = loop.call_at(when, lambda when=when: late.append(loop.time() - when))
                    if {arming!r} == "and half of them cancelled":
                        timer.cancel()
                        loop.call_at(when, lambda when=when: late.append(loop.time() - when))
                loop.call_at(begin + 0.017, done.set_result, None)
                calls("waits")
                await done
                waits = calls("waits")
                # 13 of them lie within less than 100 us; the first and the last wait are for a lone one.
                assert 2000 / 13 <= waits <= 2000 / 12 + 10, waits
                assert len(late) == 2000 and -1e-9 <= min(late) and max(late) <= 0.0001, (min(late), max(late))
            let_the_clock_stand(False)
    """)


def test_a_few_deadlines_that_are_close_together_do_not(counted):
    """Each of them has a wait of its own, as it would be late otherwise."""
    counted("""
        async def main():
            let_the_clock_stand(True)
            for _ in range(100):
                begin = loop.time() + 0.002
                done = loop.create_future()
                for i in range(3):
                    loop.call_at(begin + i * 80e-6, int)
                loop.call_at(begin + 3 * 80e-6, done.set_result, None)
                calls("waits")
                await done
                waits = calls("waits")
                assert waits == 4, waits
            let_the_clock_stand(False)
    """)


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
def test_timers_are_not_early_without_a_timerfd(counted, error):
    counted(f"""
        async def main():
            refuse("timerfd", {error})
            for delay in (1e-4, 1e-3, 5e-3, 0.02):
                began = loop.time()
                await asyncio.sleep(delay)
                assert loop.time() - began >= delay
            assert calls("settings") == 0
            assert calls("waits") <= 8
    """)


def test_timers_are_not_early_if_the_timerfd_cannot_be_watched(counted):
    counted("""
        async def main():
            refuse("watch", errno.ENOSPC)
            for delay in (1e-4, 1e-3, 5e-3, 0.02) * 3:
                began = loop.time()
                await asyncio.sleep(delay)
                assert loop.time() - began >= delay
    """)


def test_descriptors_closed_while_the_timerfd_is_set(counted):
    counted("""
        async def main():
            timer = loop.call_later(3600, print)
            async for _ in pulses(2):
                pass
            for fd in os.listdir("/proc/self/fd"):
                try:
                    is_timer = "timerfd" in os.readlink(f"/proc/self/fd/{fd}")
                except OSError:  # that of the listing
                    continue
                if is_timer:
                    os.close(int(fd))
            for delay in (1e-3, 5e-3, 0.02):
                await asyncio.sleep(delay)
            timer.cancel()
    """)
