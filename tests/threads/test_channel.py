"""Channel: what is put is got once and in order, whoever waits, is cancelled or shuts it down.

asyncio has no such class. Its loops can use ours, so most tests run on both kinds of loops.
"""

import asyncio
import gc
import random
import sys
import threading

import pytest

import asyncloop
from asyncloop import Channel, QueueShutDown, _channel


def run_in_threads(loop_factory, *mains):
    """Run each coroutine function in a loop and thread of its own. -> what they return."""
    results = [None] * len(mains)

    def run(number):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            try:
                results[number] = runner.run(asyncio.wait_for(mains[number](), 60))
            except BaseException as exc:
                results[number] = exc

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(mains))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    return results


def in_a_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


async def collect(channel):
    return [item async for item in channel]


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_items_go_from_loop_to_loop_in_order(loop_factory, maxsize):
    channel = Channel(maxsize)

    async def produce():
        for number in range(2000):
            await channel.put(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        channel.shutdown()

    assert run_in_threads(loop_factory, produce, lambda: collect(channel)) == [None, list(range(2000))]


@pytest.mark.parametrize("maxsize", [0, 1, 5])
def test_each_item_is_got_once_and_those_of_a_producer_in_order(loop_factory, maxsize):
    channel = Channel(maxsize)
    left = [3]
    lock = threading.Lock()

    def finish():
        with lock:
            left[0] -= 1
            if left[0] == 0:
                channel.shutdown()

    def produce(name):
        async def main():
            for number in range(500):
                await channel.put((name, number))
            finish()

        return main

    def put():
        number = 0
        while number < 500:
            try:
                channel.put_nowait(("thread", number))
                number += 1
            except asyncio.QueueFull:
                pass
        finish()

    thread = threading.Thread(target=put)
    thread.start()
    first, second = run_in_threads(
        loop_factory, lambda: collect(channel), lambda: collect(channel), produce("a"), produce("b")
    )[:2]
    thread.join(20)
    names = ["a", "b", "thread"]
    assert sorted(first + second) == [(name, number) for name in names for number in range(500)]
    for got in (first, second):
        for name in names:
            numbers = [item[1] for item in got if item[0] == name]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("maxsize", [0, 3])
def test_cancellation_neither_loses_nor_doubles(loop_factory, maxsize):
    """Each task is cancelled at random, before, while and after it has been granted what it waits for."""
    channel = Channel(maxsize)

    async def attempt(coroutine, chance):
        """-> whether it has ended, its result"""
        task = asyncio.ensure_future(coroutine)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            task.cancel()
        try:
            return True, await task
        except asyncio.CancelledError:
            return False, None

    async def produce():
        chance = random.Random(1)
        for number in range(1500):
            while not (await attempt(channel.put(number), chance))[0]:
                pass
        channel.shutdown()

    async def consume():
        chance = random.Random(2)
        got = []
        try:
            while True:
                done, item = await attempt(channel.get(), chance)
                if done:
                    got.append(item)
        except QueueShutDown:
            return got

    assert run_in_threads(loop_factory, produce, consume) == [None, list(range(1500))]


def test_a_getter_that_is_cancelled_leaves_the_item_to_the_next(loop, turn):
    channel = Channel()
    first, second = (loop.create_task(channel.get()) for _ in range(2))
    turn(2)
    in_a_thread(channel.put_nowait, 1)
    assert channel.empty() and channel.qsize() == 0  # it is promised
    with pytest.raises(asyncio.QueueEmpty):
        channel.get_nowait()
    first.cancel()
    assert loop.run_until_complete(asyncio.wait_for(second, 20)) == 1
    assert first.cancelled()


def test_items_of_cancelled_getters_stay_in_order(loop, turn):
    channel = Channel()
    getters = [loop.create_task(channel.get()) for _ in range(3)]
    turn(2)
    for number in range(5):
        in_a_thread(channel.put_nowait, number)
    assert channel.qsize() == 2
    for getter in getters:
        getter.cancel()
    turn(3)
    assert channel.qsize() == 5
    assert [channel.get_nowait() for _ in range(5)] == list(range(5))


def test_a_putter_that_is_cancelled_leaves_the_place_to_the_next(loop, turn):
    channel = Channel(1)
    channel.put_nowait(0)
    first, second = (loop.create_task(channel.put(number)) for number in (1, 2))
    turn(2)
    got = []
    in_a_thread(lambda: got.append(channel.get_nowait()))
    assert channel.full()  # the place is taken
    with pytest.raises(asyncio.QueueFull):
        channel.put_nowait(3)
    first.cancel()
    loop.run_until_complete(asyncio.wait_for(second, 20))
    assert first.cancelled() and got == [0]
    assert channel.get_nowait() == 2 and channel.empty()


def test_a_waiter_that_is_cancelled_is_forgotten(loop, turn):
    channel = Channel(1)
    getter = loop.create_task(channel.get())
    turn(2)
    getter.cancel()
    turn(3)
    channel.put_nowait(1)
    putter = loop.create_task(channel.put(2))
    turn(2)
    assert repr(channel) == "<Channel maxsize=1, 1 items, 0 getters, 1 putters>"
    putter.cancel()
    turn(3)
    assert repr(channel) == "<Channel maxsize=1, 1 items, 0 getters, 0 putters>"
    assert channel.get_nowait() == 1 and channel.empty()


def test_waiters_are_served_first_come_first_served(loop, turn):
    channel = Channel(1)
    order = []

    async def get(name):
        order.append((name, await channel.get()))

    tasks = [loop.create_task(get(name)) for name in range(5)]
    turn(2)
    putters = [loop.create_task(channel.put(number)) for number in range(5)]
    loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks, *putters), 20))
    assert order == [(number, number) for number in range(5)]


def test_a_batch_calls_a_loop_once(loop, turn):
    channel = Channel()
    calls = []
    call_soon_threadsafe = loop.call_soon_threadsafe

    def count(*args, **kwargs):
        calls.append(args)
        return call_soon_threadsafe(*args, **kwargs)

    loop.call_soon_threadsafe = count
    getters = [loop.create_task(channel.get()) for _ in range(5)]
    turn(2)
    in_a_thread(lambda: [channel.put_nowait(number) for number in range(10)])
    assert loop.run_until_complete(asyncio.gather(*getters)) == list(range(5))
    assert len(calls) == 1
    assert loop.run_until_complete(channel.get()) == 5
    assert len(calls) == 1


def test_within_a_loop_nothing_is_called_through_other_threads_way(loop):
    def refuse(*args, **kwargs):
        raise AssertionError("call_soon_threadsafe() wakes the loop, which costs a system call")

    async def main():
        channel = Channel(1)
        getter = asyncio.create_task(collect(channel))
        for number in range(5):
            await channel.put(number)
        channel.shutdown()
        return await getter

    loop.call_soon_threadsafe = refuse
    assert loop.run_until_complete(asyncio.wait_for(main(), 20)) == list(range(5))
    del loop.call_soon_threadsafe


def test_a_waiter_of_a_closed_loop_is_passed_over(loop_factory, loop, turn):
    channel = Channel()
    other = loop_factory()
    lost = channel.get()

    async def start():
        lost.send(None)

    other.run_until_complete(start())
    other.close()
    getter = loop.create_task(channel.get())
    turn(2)
    in_a_thread(channel.put_nowait, 1)
    assert loop.run_until_complete(asyncio.wait_for(getter, 20)) == 1
    lost.close()
    channel.put_nowait(2)
    assert channel.get_nowait() == 2


def test_a_coroutine_that_is_freed_gives_up(loop):
    async def main():
        channel = Channel()
        lost = channel.get()
        lost.send(None)
        in_a_thread(channel.put_nowait, 1)
        assert channel.empty()
        del lost
        gc.collect()
        return channel.get_nowait()

    assert loop.run_until_complete(main()) == 1


@pytest.mark.parametrize("waits_for", ["item", "place"])
def test_a_waiter_may_be_closed_at_any_call_of_a_grant(loop, turn, waits_for):
    """As the collector does. It runs where a function begins or a call ends, and its thread may have the lock."""

    async def begin(coroutine):
        coroutine.send(None)

    def grant(number):
        """Close the first of two waiters at the call with that number. -> how many calls there were"""
        channel = Channel(1)
        if waits_for == "place":
            channel.put_nowait(0)
        lost = channel.get() if waits_for == "item" else channel.put(1)
        loop.run_until_complete(begin(lost))
        waiter = loop.create_task(channel.get() if waits_for == "item" else channel.put(2))
        turn(2)
        calls = 0

        def profile(frame, event, arg):
            nonlocal calls
            calls += frame.f_code.co_filename == _channel.__file__ and event != "c_call"
            if calls == number:
                lost.close()

        def put_or_get():
            sys.setprofile(profile)
            try:
                if waits_for == "item":
                    channel.put_nowait(2)
                else:
                    channel.get_nowait()
            finally:
                sys.setprofile(None)

        in_a_thread(put_or_get)
        lost.close()
        result = loop.run_until_complete(asyncio.wait_for(waiter, 20))
        assert (channel.get_nowait() if waits_for == "place" else result) == 2
        assert channel.empty() and not channel.full()
        return calls

    calls = grant(0)
    assert calls > 5
    for number in range(1, calls + 1):
        grant(number)


def test_shutdown_lets_items_be_got(loop):
    channel = Channel()
    channel.put_nowait(1)
    channel.put_nowait(2)
    channel.shutdown()
    assert "shut down" in repr(channel)
    with pytest.raises(QueueShutDown):
        channel.put_nowait(3)
    with pytest.raises(QueueShutDown):
        loop.run_until_complete(channel.put(3))
    assert channel.get_nowait() == 1
    assert loop.run_until_complete(channel.get()) == 2
    with pytest.raises(QueueShutDown):
        channel.get_nowait()
    with pytest.raises(QueueShutDown):
        loop.run_until_complete(channel.get())
    channel.shutdown(immediate=True)


def test_shutdown_wakes_waiters(loop, turn):
    empty, full = Channel(), Channel(1)
    full.put_nowait(1)
    waiters = [loop.create_task(coroutine) for coroutine in (empty.get(), full.put(2), full.put(3))]
    turn(2)
    in_a_thread(empty.shutdown)
    in_a_thread(full.shutdown)
    results = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 20))
    assert list(map(type, results)) == [QueueShutDown] * 3
    assert full.get_nowait() == 1


def test_a_promised_item_survives_shutdown_but_not_an_immediate_one(loop, turn):
    for immediate in (False, True):
        channel = Channel()
        getter = loop.create_task(channel.get())
        turn(2)
        in_a_thread(channel.put_nowait, 1)
        channel.shutdown(immediate)
        (result,) = loop.run_until_complete(asyncio.gather(getter, return_exceptions=True))
        assert type(result) is QueueShutDown if immediate else result == 1
        assert channel.qsize() == 0 and channel.empty()


def test_a_putter_that_was_granted_a_place_is_shut_down(loop, turn):
    channel = Channel(1)
    channel.put_nowait(1)
    putter = loop.create_task(channel.put(2))
    turn(2)
    in_a_thread(channel.get_nowait)
    channel.shutdown()
    (result,) = loop.run_until_complete(asyncio.gather(putter, return_exceptions=True))
    assert type(result) is QueueShutDown and channel.empty()


def test_cancel_after_shutdown(loop, turn):
    channel = Channel()
    getter = loop.create_task(channel.get())
    turn(2)
    channel.shutdown()
    getter.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(getter)


def test_finalizers_of_items_may_use_the_channel():
    channel = Channel()

    class Item:
        def __del__(self):
            seen.append(channel.qsize())

    seen = []
    channel.put_nowait(Item())
    channel.shutdown(immediate=True)
    gc.collect()
    assert seen == [0]


def test_sizes():
    channel = Channel(2)
    assert (channel.maxsize, channel.qsize(), channel.empty(), channel.full()) == (2, 0, True, False)
    channel.put_nowait(None)
    assert (channel.qsize(), channel.empty(), channel.full()) == (1, False, False)
    channel.put_nowait(None)
    assert (channel.qsize(), channel.empty(), channel.full()) == (2, False, True)
    with pytest.raises(asyncio.QueueFull):
        channel.put_nowait(None)
    assert not Channel().full() and not Channel(-1).full()
    with pytest.raises(asyncio.QueueEmpty):
        Channel().get_nowait()


def test_shutdown_exception_is_that_of_asyncio_where_it_has_one():
    assert asyncloop.QueueShutDown is QueueShutDown
    if sys.version_info >= (3, 13):
        assert QueueShutDown is asyncio.QueueShutDown
