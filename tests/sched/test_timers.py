"""Timers: deadlines, their order, cancellation, and odd numbers."""

import asyncio
import decimal
import fractions
import gc
import math
import random
import sys
import time
import weakref

import pytest

RESOLUTION = time.get_clock_info("monotonic").resolution


@pytest.fixture
def seen():
    return []


@pytest.fixture
def run_for(loop):
    def run_for(seconds):
        loop.call_later(seconds, loop.stop)
        loop.run_forever()

    return run_for


def test_time_is_the_monotonic_clock(loop):
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()


def test_order_is_by_deadline(loop, seen):
    now = loop.time()
    for i in 3, 1, 4, 2:
        loop.call_at(now + i / 1000, loop.stop if i == 4 else lambda i=i: seen.append(i))
    loop.run_forever()
    assert seen == [1, 2, 3]


def test_1_000_timers_in_random_order(loop, seen):
    now = loop.time()
    deadlines = [now + random.uniform(-0.01, 0.01) for _ in range(1_000)]
    for deadline in deadlines:
        loop.call_at(deadline, seen.append, deadline)
    loop.call_at(now + 0.02, loop.stop)
    loop.run_forever()
    assert seen == sorted(deadlines)


def test_1_000_timers_some_of_them_cancelled_in_random_order(loop, run_for, seen):
    now = loop.time()
    deadlines = [now + random.uniform(0, 0.01) for _ in range(1_000)]
    handles = [loop.call_at(deadline, seen.append, deadline) for deadline in deadlines]
    random.shuffle(handles)
    for handle in handles[:700]:
        handle.cancel()
    run_for(0.02)
    assert seen == sorted(handle.when() for handle in handles[700:])


@pytest.mark.parametrize("disorder", [0, 0.01, 0.5])
@pytest.mark.parametrize("cancels", [0, 0.3, 0.9])
def test_timers_of_many_turns_fire_in_order(loop, turn, seen, disorder, cancels):
    """Deadlines in order, or nearly, many armed and cancelled while some fire; now and then all are gone."""
    rng = random.Random(f"{disorder} {cancels}")
    now = 0.0
    loop.time = lambda: now
    waiting = {}
    for number in range(5_000):
        delay = rng.uniform(1, 30) if rng.random() < disorder else 30
        when = now + delay + number * 1e-6
        waiting[when] = loop.call_at(when, seen.append, when)
        if rng.random() < cancels:
            waiting.pop(rng.choice(list(waiting)[-20:])).cancel()
        if rng.random() < 0.1:
            now += rng.choice([0.01, 1, 10, 100])
            due = sorted(when for when in waiting if when <= now)
            for when in due:
                del waiting[when]
            turn()
            assert seen == due
            seen.clear()
    del loop.time


def test_equal_deadlines_all_fire_in_one_turn(loop, turn, seen):
    when = loop.time()
    for i in range(100):
        loop.call_at(when, seen.append, i)
    turn()
    assert sorted(seen) == list(range(100))


@pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
def test_equal_deadlines_fire_in_the_order_they_were_made(loop, turn, seen):
    """More than asyncio promises: its heap is not stable."""
    when = loop.time()
    handles = [loop.call_at(when, seen.append, i) for i in range(100)]
    for handle in handles[::3]:
        handle.cancel()
    turn()
    assert seen == [i for i in range(100) if i % 3]


@pytest.mark.parametrize("delay", [0.0001, 0.0005, 0.001, 0.0042, 0.01])
def test_never_early(loop, delay):
    async def main():
        for _ in range(5):
            fired = loop.create_future()
            handle = loop.call_later(delay, lambda fired=fired: fired.set_result(loop.time()))
            assert await fired >= handle.when() - RESOLUTION
            before = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - before >= delay - RESOLUTION

    loop.run_until_complete(main())


@pytest.mark.parametrize("now", [0.0, 1.0, 1e12, -1e12, 1e300, -1e300, math.inf])
def test_timer_is_due_within_the_resolution_of_the_clock(loop, turn, seen, now):
    """asyncio leaves out the latter before Python 3.15: there a clock as coarse as that waits for ever."""
    resolution = max(RESOLUTION, math.ulp(now) if sys.version_info >= (3, 15) else 0)
    loop.time = lambda: now
    deadlines = [now - 1, now, now + resolution / 2, now + resolution, now + 2 * resolution]
    for when in deadlines:
        loop.call_at(when, seen.append, when)
    turn()
    del loop.time
    assert seen == [when for when in deadlines if when < now + resolution]


def test_due_timers_run_after_ready_descriptors(loop, turn, seen):
    loop.call_later(0, seen.append, "timer")
    loop.call_soon(seen.append, "ready")
    turn()
    assert seen == ["ready", "timer"]


def test_timer_does_not_starve_behind_a_busy_queue(loop, seen):
    def busy():
        if not seen:
            loop.call_soon(busy)

    loop.call_soon(busy)
    loop.call_later(0.002, seen.append, "fired")
    loop.call_later(0.003, loop.stop)
    loop.run_forever()
    assert seen == ["fired"]


class TestOddNumbers:
    @pytest.mark.parametrize("delay", [0, -0.0, -1, -1e300, -math.inf, 1e-12, False, fractions.Fraction(0)])
    def test_fires_in_the_next_turn(self, loop, turn, seen, delay):
        assert isinstance(loop.call_later(delay, seen.append, 1), asyncio.TimerHandle)
        assert isinstance(loop.call_at(delay, seen.append, 2), asyncio.TimerHandle)
        assert seen == []
        turn()
        assert sorted(seen) == [1, 2]

    @pytest.mark.parametrize("delay", [math.inf, 1e300, 1e18, 2**31, 2**63, 2**64, 10**30, 3600 * 24 * 400])
    def test_does_not_fire(self, loop, run_for, seen, delay):
        handles = [loop.call_later(delay, seen.append, 1), loop.call_at(loop.time() + delay, seen.append, 2)]
        loop.call_later(0.002, seen.append, "the others do")
        run_for(0.004)
        assert seen == ["the others do"]
        for handle in handles:
            assert handle.when() >= delay
            handle.cancel()

    def test_nan_fires_at_once(self, loop, turn, seen):
        loop.call_at(math.nan, seen.append, "nan")
        turn()
        assert seen == ["nan"]

    @pytest.mark.parametrize("others", [1, 2])
    def test_nan_stays_behind_those_that_were_there(self, loop, turn, seen, others):
        for i in range(others):
            loop.call_later(0.01 + 0.005 * i, seen.append, i)
        loop.call_later(math.nan, seen.append, "nan")
        turn(3)
        assert seen == []
        end = loop.time() + 10
        while len(seen) <= others and loop.time() < end:
            turn()
        assert seen == [*range(others), "nan"]

    def test_nan_is_due_with_one_that_came_later(self, loop, turn, seen):
        later = loop.call_later(10, seen.append, "never")
        assert math.isnan(loop.call_at(math.nan, seen.append, "nan").when())
        turn(3)
        assert seen == []
        loop.call_later(0.002, seen.append, "later")
        end = loop.time() + 5
        while len(seen) < 2 and loop.time() < end:
            turn()
        assert seen == ["later", "nan"]
        later.cancel()

    def test_many_nans_some_of_them_cancelled(self, kind, loop, run_for, turn, seen):
        if kind == "asyncio":
            pytest.skip("it hands a NaN to its selector")
        handles = [loop.call_later(10, seen.append, 1)]
        handles += [loop.call_later(math.nan, seen.append, "nan") for _ in range(100)]
        for handle in handles[1::2]:
            handle.cancel()
        turn(3)
        assert seen == []
        handles[0].cancel()
        run_for(0)
        turn()
        assert seen == ["nan"] * 50

    def test_nan_among_others_is_no_danger(self, loop, run_for, seen):
        for i in range(20):
            loop.call_later(math.nan if i % 2 else i / 10_000, seen.append, i)
        run_for(0.02)
        loop.run_until_complete(asyncio.sleep(0.01))
        assert sorted(seen) == list(range(20))

    def test_none_is_refused(self, loop):
        with pytest.raises(TypeError, match="^delay must not be None$"):
            loop.call_later(None, print)
        with pytest.raises(TypeError, match="^when cannot be None$"):
            loop.call_at(None, print)

    @pytest.mark.parametrize("delay", ["1", b"1", [], (), {}, object(), decimal.Decimal(1)], ids=lambda d: str(type(d)))
    def test_delay_that_is_no_number_is_refused(self, loop, delay):
        with pytest.raises(TypeError):
            loop.call_later(delay, print)

    def test_int_too_large_for_a_float_is_refused(self, loop):
        with pytest.raises(OverflowError, match="^int too large to convert to float$"):
            loop.call_later(10**400, print)

    @pytest.mark.parametrize("method", ["call_later", "call_at"])
    def test_missing_arguments_are_refused(self, loop, method):
        with pytest.raises(TypeError):
            getattr(loop, method)()
        with pytest.raises(TypeError):
            getattr(loop, method)(1)
        with pytest.raises(TypeError):
            getattr(loop, method)(1, print, contxt=None)

    def test_arguments_can_be_named(self, loop, turn, seen):
        loop.call_later(delay=0, callback=lambda: seen.append(1))
        loop.call_at(when=loop.time(), callback=lambda: seen.append(2))
        turn()
        assert sorted(seen) == [1, 2]


class TestCancel:
    def test_by_an_earlier_timer_takes_effect(self, loop, turn, seen):
        late = loop.call_later(0, seen.append, "late")
        loop.call_at(late.when() - 1, late.cancel)
        turn()
        assert seen == []

    def test_by_a_callback_of_the_same_turn_takes_effect(self, loop, turn, seen):
        timer = loop.call_later(0, seen.append, 1)
        loop.call_soon(timer.cancel)
        turn()
        assert seen == []

    def test_of_its_own_handle_does_nothing(self, loop, turn, seen):
        handle = loop.call_later(0, lambda: (handle.cancel(), gc.collect(), seen.append(1)))
        turn()
        assert seen == [1]

    def test_of_the_earliest_leaves_the_next(self, loop, run_for, seen):
        first = loop.call_later(0.001, seen.append, 1)
        loop.call_later(0.002, seen.append, 2)
        first.cancel()
        run_for(0.004)
        assert seen == [2]

    def test_of_the_last_lets_the_loop_sleep(self, loop):
        loop.call_later(0.001, print).cancel()
        loop.call_later(0.003, loop.stop)
        loop.run_forever()

    def test_finaliser_of_an_argument_may_cancel_others(self, loop, turn, seen):
        class Attacker:
            def __del__(self):
                for handle in handles:
                    handle.cancel()
                loop.call_later(0, seen.append, "added")

        handles = [loop.call_later(100, id, Attacker()) for _ in range(10)]
        handles += [loop.call_later(0, seen.append, "cancelled") for _ in range(10)]
        handles[4].cancel()
        turn()
        assert set(seen) == {"added"}

    @pytest.mark.parametrize("kind", ["asyncloop"], indirect=True)
    def test_cancelled_timer_leaves_at_once(self, loop):
        """More than asyncio promises: it keeps them until there are many."""
        handle = loop.call_later(1_000, print)
        watch = weakref.ref(handle)
        handle.cancel()
        del handle
        assert watch() is None

    def test_100_000_made_and_cancelled(self, loop, turn, seen):
        loop.set_debug(False)  # as many creation tracebacks take a minute
        for _ in range(100_000):
            loop.call_later(100, seen.append, 1).cancel()
        turn()
        assert seen == []


class TestReentrancy:
    def test_due_timer_added_by_a_timer_runs_in_the_next_turn(self, loop, turn, seen):
        loop.call_later(0, lambda: loop.call_later(0, seen.append, "next turn"))
        turn()
        assert seen == []
        turn()
        assert seen == ["next turn"]

    def test_comparison_is_never_asked_of_the_callbacks(self, loop, turn):
        class Odd:
            def __eq__(self, other):
                raise ZeroDivisionError

            def __call__(self, *args):
                pass

        when = loop.time()
        for _ in range(10):
            loop.call_at(when, Odd(), Odd())
        turn()

    def test_number_that_runs_code(self, loop, turn, seen):
        class Delay(float):
            def __radd__(self, other):
                loop.call_soon(seen.append, "code")
                return other

        loop.call_later(Delay(0), seen.append, "timer")
        turn()
        assert seen == ["code", "timer"]

    def test_timer_that_closes_nothing_but_stops(self, loop, seen):
        loop.call_later(0, loop.stop)
        loop.call_later(0, seen.append, "same turn")
        loop.run_forever()
        assert seen == ["same turn"]


def test_sleep_results_and_order(run):
    async def main():
        assert await asyncio.sleep(0, "zero") == "zero"
        assert await asyncio.sleep(0.001, result="later") == "later"
        assert await asyncio.sleep(-1, "past") == "past"
        return await asyncio.gather(*(asyncio.sleep(d / 1000, d) for d in (3, 1, 2)))

    assert run(main()) == [3, 1, 2]


def test_sleep_cancelled_leaves_no_timer(loop, run):
    async def main():
        task = loop.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
