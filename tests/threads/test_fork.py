"""A process that forks while its threads run loops: the child is left with one thread, and its loops still work."""

import pytest
import stock


@pytest.mark.stock_needs(not stock.FREE_THREADED, reason="its child may wait for a lock of a thread that it has not")
def test_child_may_run_loops_while_threads_ran_theirs(script):
    done = script("""
        import os, threading, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
        loops = [new_loop() for _ in range(3)]
        stop = False

        async def work(other):
            while not stop:
                other.call_soon_threadsafe(int)
                await asyncio.sleep(0)

        def run(number):
            loops[number].run_until_complete(work(loops[number - 1]))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        failed = 0
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    loop = new_loop()
                    loop.call_later(0.001, loop.stop)
                    loop.run_forever()
                    for inherited in loops:
                        inherited.call_soon_threadsafe(int)
                    loop.close()
                    status = 0
                finally:
                    os._exit(status)
            failed += os.waitpid(pid, 0)[1] != 0
        stop = True
        for thread in threads:
            thread.join()
        print(failed)
    """)
    assert done.stdout.split() == ["0"]
