"""A TLS connection that had much to write gives the memory back when it is sent."""

import asyncio
import gc
import threading
import tracemalloc

LITTLE = 600_000  # bytes: the SSL object's buffers, and what is not worth giving back


def test_writes_of_a_connection(connect, run, Recorder):
    transport, peer = connect(Recorder())
    transport.set_write_buffer_limits(1 << 30)
    received = 0

    def read():
        nonlocal received
        while received < 8_000_000:
            received += len(peer.recv(1 << 16))

    async def main():
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(80_000):
            transport.write(b"z" * 100)
        thread = threading.Thread(target=read)
        thread.start()
        while received < 8_000_000:
            await asyncio.sleep(0.01)
        thread.join()
        await asyncio.sleep(0.01)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return kept

    assert run(main()) < LITTLE
