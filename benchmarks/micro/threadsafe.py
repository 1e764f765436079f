"""Callbacks that come from another thread."""

import threading

from case import micro

BURST = 10_000


def noop():
    pass


@micro("call_soon_threadsafe bursts", operation="a callback from another thread, in bursts of 10,000", batch=BURST)
def burst(loop):
    wanted = threading.Semaphore(0)
    finished = False

    def other_thread():
        while wanted.acquire() and not finished:
            for _ in range(BURST - 1):
                loop.call_soon_threadsafe(noop)
            loop.call_soon_threadsafe(loop.stop)

    def work(count):
        for _ in range(count // BURST):
            wanted.release()
            loop.run_forever()

    thread = threading.Thread(target=other_thread)
    thread.start()
    yield work
    finished = True
    wanted.release()
    thread.join()
