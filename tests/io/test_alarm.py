"""Deadlines that are kept to microseconds, which epoll itself cannot do."""

import asyncio
import os
import random
import resource

import pytest

SHORT = 0.0003  # seconds


def timerfds():
    """The descriptors of this process that are timers."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "timerfd" in os.readlink(f"/proc/self/fd/{fd}"):
                found.append(int(fd))
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def test_timers_of_random_delays_are_never_early(run):
    async def main():
        loop = asyncio.get_running_loop()
        delays = random.Random(7)
        early = []

        def check(handle_time):
            if loop.time() < handle_time - 1e-9:
                early.append(handle_time - loop.time())

        for _ in range(300):
            when = loop.time() + delays.choice([1e-7, 1e-5, 1e-4, 3e-4, 9e-4, 1.1e-3, 4e-3, 1e-2]) * delays.random()
            fired = loop.create_future()
            loop.call_at(when, check, when)
            loop.call_at(when, fired.set_result, None)
            await fired
        return early

    assert run(main()) == []


def test_order_of_short_deadlines(run):
    async def main():
        loop = asyncio.get_running_loop()
        order = []
        start = loop.time() + SHORT
        for i in (3, 1, 2, 0):
            loop.call_at(start + i * SHORT, order.append, i)
        await asyncio.sleep(10 * SHORT)
        return order

    assert run(main()) == [0, 1, 2, 3]


def test_short_timer_beside_a_long_one_and_a_cancelled_one(run):
    async def main():
        loop = asyncio.get_running_loop()
        order = []
        far = loop.call_later(3600, order.append, "far")
        loop.call_later(SHORT, order.append, "cancelled").cancel()
        await asyncio.sleep(2 * SHORT)
        loop.call_later(0.02, order.append, "near")
        await asyncio.sleep(SHORT)
        assert order == []
        await asyncio.sleep(0.03)
        far.cancel()
        return order

    assert run(main()) == ["near"]


def test_overridden_clock_is_waited_for(loop_factory):
    """A short time on an overridden clock is waited for on the real one, again and again."""
    loop = loop_factory()
    now = 0.0

    def clock():
        nonlocal now
        now += SHORT / 10
        return now

    loop.time = clock
    try:
        loop.run_until_complete(asyncio.sleep(SHORT))
    finally:
        loop.close()
    assert now >= SHORT


@pytest.mark.feature("timerfd")
class TestOurs:
    @pytest.fixture(autouse=True)
    def ours(self, kind):
        if kind != "asyncloop":
            pytest.skip("about asyncloop's own means")

    def test_waits_and_does_not_spin(self, run):
        async def main():
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            for _ in range(100):
                await asyncio.sleep(SHORT)
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

        assert run(main()) >= 50  # the rest for a machine so busy that a deadline passes before the poll

    def test_descriptor_ends_with_the_loop(self, loop_factory):
        before = timerfds()
        loop = loop_factory()
        loop.run_until_complete(asyncio.sleep(SHORT))
        assert len(timerfds()) == len(before) + 1
        loop.close()
        assert timerfds() == before

    def test_descriptor_closed_by_the_program(self, run):
        async def main():
            await asyncio.sleep(SHORT)
            for fd in timerfds():
                os.close(fd)
            for _ in range(3):
                await asyncio.sleep(SHORT)
            return "went on"

        assert run(main()) == "went on"

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the timeout of the tests has a thread
    def test_child_has_its_own(self, loop):
        loop.run_until_complete(asyncio.sleep(SHORT))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                loop.run_until_complete(asyncio.sleep(SHORT))
                status = 0
            finally:
                os._exit(status)
        for _ in range(20):
            loop.run_until_complete(asyncio.sleep(SHORT))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
