"""Task.cancel, uncancel and cancelling: in every state of the task."""

import asyncio
import sys

import pytest


async def forever():
    await asyncio.get_running_loop().create_future()


@pytest.fixture
def start(loop, Task, turn):
    """Makes a task of a coroutine and lets it run to its first await."""

    def start(coro):
        task = Task(coro, loop=loop)
        turn()
        return task

    return start


class TestStates:
    def test_cancel_before_the_first_step_runs_nothing(self, loop, Task, turn):
        seen = []

        async def main():
            seen.append("ran")

        task = Task(main(), loop=loop)
        assert task.cancel() is True
        assert not task.cancelled()
        turn()
        assert task.cancelled()
        assert seen == []

    def test_cancel_cancels_the_awaited_future(self, start, future, turn):
        async def main():
            await future

        task = start(main())
        assert task.cancel() is True
        assert future.cancelled()
        assert not task.done()
        turn()
        assert task.cancelled()

    def test_cancel_of_a_queued_task_is_thrown_in_its_next_step(self, start, turn):
        async def main():
            await asyncio.sleep(0)
            seen.append("went on")

        seen = []
        task = start(main())
        assert task.cancel() is True
        turn()
        assert task.cancelled()
        assert seen == []

    @pytest.mark.parametrize("finish", ["set_result", "set_exception"])
    def test_cancel_of_a_woken_task_wins_over_the_outcome(self, start, future, turn, finish):
        async def main():
            await future
            seen.append("went on")

        seen = []
        task = start(main())
        getattr(future, finish)(ValueError("x"))
        assert task.cancel() is True
        turn()
        assert task.cancelled()
        assert seen == []
        future._log_traceback = False

    def test_cancel_of_a_task_woken_by_a_cancel_cancels_it(self, start, future, turn):
        async def main():
            await future

        task = start(main())
        future.cancel("the future's")
        assert task.cancel("the task's") is True
        turn()
        assert task.cancelled()

    def test_cancel_in_its_own_step_is_thrown_at_the_next_await(self, loop, Task, turn):
        async def main():
            assert asyncio.current_task().cancel() is True
            seen.append("until the next await")
            await asyncio.sleep(0)
            seen.append("no further")

        seen = []
        task = Task(main(), loop=loop)
        turn(2)
        assert task.cancelled()
        assert seen == ["until the next await"]

    def test_cancel_in_its_last_step_cancels_the_task(self, loop, Task, turn):
        async def main():
            asyncio.current_task().cancel("late")
            return 1

        task = Task(main(), loop=loop)
        turn()
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError, match="^late$"):
            task.result()

    def test_cancel_in_its_own_step_cancels_the_next_awaited_future(self, loop, Task, future, turn):
        async def main():
            asyncio.current_task().cancel()
            await future

        task = Task(main(), loop=loop)
        turn()
        assert future.cancelled()
        turn()
        assert task.cancelled()

    @pytest.mark.parametrize("outcome", ["result", "exception", "cancelled"])
    def test_cancel_of_a_done_task_returns_false(self, loop, Task, turn, outcome):
        async def main():
            match outcome:
                case "exception":
                    raise ValueError("x")
                case "cancelled":
                    raise asyncio.CancelledError
            return 1

        task = Task(main(), loop=loop)
        turn()
        assert task.cancel() is False
        assert task.cancelling() == 0
        assert task.cancelled() is (outcome == "cancelled")
        task._log_traceback = False

    def test_cancel_cancels_the_awaited_task(self, loop, start, turn):
        child = start(forever())

        async def main():
            await child

        task = start(main())
        task.cancel()
        assert child.cancelling() == 1
        turn(2)
        assert child.cancelled()
        turn()
        assert task.cancelled()

    def test_cancel_cancels_the_children_of_gather(self, start, run, loop, Task):
        async def main():
            children = [loop.create_task(forever()) for _ in range(3)]
            task = loop.create_task(gathering(children))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert all(child.cancelled() for child in children)

        async def gathering(children):
            await asyncio.gather(*children)

        run(main())

    def test_cancel_leaves_a_shielded_task_alone(self, run, loop):
        async def main():
            inner = loop.create_task(asyncio.sleep(0.005, "inner"))

            async def shielded():
                await asyncio.shield(inner)

            task = loop.create_task(shielded())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not inner.cancelled()
            assert await inner == "inner"

        run(main())


class TestSwallowed:
    def test_task_that_swallows_a_cancel_goes_on(self, start, turn):
        async def main():
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                return "went on"

        task = start(main())
        task.cancel()
        turn(3)
        assert task.result() == "went on"
        assert task.cancelling() == 1

    def test_each_cancel_is_thrown(self, start, turn):
        async def main():
            for _ in range(3):
                try:
                    await forever()
                except asyncio.CancelledError as exc:
                    seen.append(exc.args)
            return "stubborn"

        seen = []
        task = start(main())
        for i in range(3):
            assert task.cancel(i) is True
            turn(2)
        assert task.result() == "stubborn"
        assert seen == [(0,), (1,), (2,)]
        assert task.cancelling() == 3

    def test_exception_in_its_place_is_the_outcome(self, start, turn):
        async def main():
            try:
                await forever()
            except asyncio.CancelledError:
                raise ValueError("x") from None

        task = start(main())
        task.cancel()
        turn(2)
        assert not task.cancelled()
        with pytest.raises(ValueError, match="^x$"):
            task.result()

    def test_cancelled_twice_before_it_runs_is_thrown_once(self, start, turn):
        async def main():
            try:
                await forever()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                return "once"

        task = start(main())
        assert task.cancel() is True
        turn()
        turn()
        assert task.result() == "once"


class TestMessage:
    @pytest.mark.parametrize("message", ["why", 0, ("a",), None])
    def test_reaches_coroutine_and_result(self, start, turn, message):
        async def main():
            try:
                await forever()
            except asyncio.CancelledError as exc:
                seen.append(exc.args)
                raise

        seen = []
        expected = () if message is None else (message,)
        task = start(main())
        task.cancel(msg=message)
        turn(2)
        assert seen == [expected]
        with pytest.raises(asyncio.CancelledError) as raised:
            task.result()
        assert raised.value.args == expected

    def test_before_the_first_step_reaches_the_result(self, loop, Task):
        task = Task(forever(), loop=loop)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="^why$"):
            loop.run_until_complete(task)

    def test_goes_down_a_chain(self, loop, run):
        async def child():
            with pytest.raises(asyncio.CancelledError, match="^why$"):
                await forever()
            raise asyncio.CancelledError("changed")

        async def parent():
            with pytest.raises(asyncio.CancelledError, match="^changed$"):
                await loop.create_task(child())
            return "seen"

        async def main():
            task = loop.create_task(parent())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel("why")
            assert await task == "seen"

        run(main())

    def test_last_one_wins_before_the_first_step(self, loop, Task):
        task = Task(forever(), loop=loop)
        task.cancel("one")
        task.cancel("two")
        assert task.cancelling() == 2
        with pytest.raises(asyncio.CancelledError, match="^two$"):
            loop.run_until_complete(task)

    def test_of_a_wrong_name_or_number_is_refused(self, loop, Task, turn):
        task = Task(forever(), loop=loop)
        with pytest.raises(TypeError):
            task.cancel("a", "b")
        with pytest.raises(TypeError):
            task.cancel(message="a")
        assert task.cancelling() == 0
        task.cancel()
        turn()


class TestCount:
    def test_cancel_counts_up_and_uncancel_down(self, start, turn):
        task = start(forever())
        assert task.cancelling() == 0
        assert task.uncancel() == 0
        for i in range(1, 4):
            assert task.cancel() is True
            assert task.cancelling() == i
        for i in (2, 1, 0, 0):
            assert task.uncancel() == i
        turn()
        assert task.cancelled()  # it had been thrown already

    def test_uncancel_before_the_first_step_revokes_a_cancel_from_313_on(self, loop, Task, turn):
        async def main():
            return "ran"

        task = Task(main(), loop=loop)
        task.cancel()
        task.uncancel()
        turn()
        if sys.version_info >= (3, 13):
            assert task.result() == "ran"
        else:
            assert task.cancelled()

    def test_nested_timeouts_expire_one_after_the_other(self, run):
        async def main():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await forever()
                    assert asyncio.current_task().cancelling() == 0
                    await forever()
            assert asyncio.current_task().cancelling() == 0

        run(main())


class TestChain:
    def test_of_100_tasks_is_cancelled(self, loop, Task, turn):
        async def link(previous):
            await previous

        tasks = [Task(forever(), loop=loop)]
        for _ in range(100):
            tasks.append(Task(link(tasks[-1]), loop=loop))
        turn()
        assert tasks[-1].cancel() is True
        assert all(task.cancelling() == 1 for task in tasks)
        turn(110)
        assert all(task.cancelled() for task in tasks)

    def test_of_100_000_tasks_is_cancelled_or_a_recursion_error(self, script):
        done = script("""
            async def link(previous):
                await previous

            loop = new_loop()
            first = last = Future(loop=loop)
            tasks = [last := loop.create_task(link(last)) for _ in range(100_000)]
            loop.call_soon(loop.stop)
            loop.run_forever()
            try:
                last.cancel()
            except RecursionError:
                first.cancel()
            try:
                loop.run_until_complete(last)
            except asyncio.CancelledError:
                pass
            print(sum(task.cancelled() for task in tasks))
            loop.close()
        """)
        assert done.stdout.split() == ["100000"]

    def test_ring_of_tasks_is_a_recursion_error(self, script):
        done = script("""
            async def wait(i):
                await tasks[i - 1]

            loop = new_loop()
            tasks = [loop.create_task(wait(i)) for i in range(3)]
            loop.call_soon(loop.stop)
            loop.run_forever()
            try:
                tasks[0].cancel()
            except RecursionError:
                print("RecursionError")
            for task in tasks:
                task._log_destroy_pending = False
            loop.close()
        """)
        assert done.stdout.split() == ["RecursionError"]


class TestReentrancy:
    def test_cancel_of_the_awaited_future_may_cancel_the_task_again(self, loop, start, Future, turn):
        class Attacker(Future):
            def cancel(self, msg=None):
                task.cancel() if not attacks.append(1) and len(attacks) < 3 else None
                return super().cancel(msg)

        async def main():
            await Attacker(loop=loop)

        attacks = []
        task = start(main())
        task.cancel()
        assert task.cancelling() == 3
        turn()
        assert task.cancelled()

    def test_cancel_assigned_on_the_awaited_future_is_called(self, start, future, turn):
        async def main():
            await future

        calls = []
        future.cancel = lambda msg=None: calls.append(msg)
        task = start(main())
        assert task.cancel("why") is True
        assert calls == ["why"]
        assert task._must_cancel
        del future.cancel
        future.set_result(1)
        turn()
        assert task.cancelled()

    def test_failing_cancel_of_the_awaited_future_is_raised(self, loop, start, Future, turn):
        class Odd(Future):
            def cancel(self, msg=None):
                raise ZeroDivisionError

        async def main():
            await odd

        odd = Odd(loop=loop)
        task = start(main())
        with pytest.raises(ZeroDivisionError):
            task.cancel()
        odd.set_result(1)
        turn()
        assert task.done()


@pytest.mark.parametrize("when", ["it waits", "it runs"])
def test_cancel_passes_its_message_by_position(loop, Task, Future, turn, when):
    """The cancel() of the awaited object may have another name for the message."""

    class Odd(Future):
        def cancel(self, *why):
            seen.append(why)
            return super().cancel(*why)

    async def main():
        if when == "it runs":
            task.cancel("why")
        await Odd(loop=loop)

    seen = []
    task = Task(main(), loop=loop)
    turn()
    if when == "it waits":
        task.cancel("why")
    turn(2)
    assert task.cancelled()
    assert seen == [("why",)]
