"""A loop that was not closed and that nobody uses any more is collected, whatever it has scheduled, watched or made.

Each test makes an object that keeps its loop and that the loop refers to in turn, and lets go of both.
"""

import asyncio
import gc
import os
import signal
import socket
import weakref

import pytest


class Owner:
    """Keeps its loop, and whatever it is given; its method is what the loop will call."""

    def __init__(self, loop):
        self.loop = loop

    def method(self, *args):
        pass

    def stop(self, *args):
        self.loop.stop()

    def turn(self):
        self.loop.call_soon(self.stop)
        self.loop.run_forever()

    def soon_while_running(self):
        self.loop.call_soon(lambda: (self.loop.stop(), vars(self).update(handle=self.loop.call_soon(self.method))))
        self.loop.run_forever()

    def soon_in_a_turn_by_hand(self):
        self.loop.call_soon(lambda: vars(self).update(handle=self.loop.call_soon(self.method)))
        self.loop._run_once()

    async def wait(self):
        await self.loop.create_future()

    async def receive(self):
        return await self.loop.sock_recv(self.sockets[0], 1)

    def begin_to_receive(self):
        self.sockets[0].setblocking(False)
        self.task = self.loop.create_task(self.receive())
        self.turn()

    def connect(self):
        connection = self.loop.create_connection(lambda: Protocol(self), sock=self.sockets[0])
        self.pair = self.loop.run_until_complete(connection)

    def open_endpoint(self):
        endpoint = self.loop.create_datagram_endpoint(lambda: Protocol(self), ("127.0.0.1", 0))
        self.pair = self.loop.run_until_complete(endpoint)

    def serve(self):
        self.server = self.loop.run_until_complete(self.loop.create_server(lambda: Protocol(self), "127.0.0.1", 0))

    def call_back(self):
        self.future = self.loop.create_future()
        self.future.add_done_callback(self.method)
        self.future.set_result(None)


class Protocol(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self, owner):
        self.owner = owner


WAYS = {
    "nothing": lambda o: None,
    "call_soon": lambda o: vars(o).update(handle=o.loop.call_soon(o.method)),
    "call_soon with arguments": lambda o: vars(o).update(handle=o.loop.call_soon(print, o, o, o)),
    "several": lambda o: vars(o).update(handles=[o.loop.call_soon(o.method) for _ in range(3)]),
    "only the first is kept": lambda o: vars(o).update(handle=[o.loop.call_soon(o.method) for _ in range(3)][0]),
    "call_soon_threadsafe": lambda o: vars(o).update(handle=o.loop.call_soon_threadsafe(o.method)),
    "call_later": lambda o: vars(o).update(handle=o.loop.call_later(1000, o.method)),
    "call_at": lambda o: vars(o).update(handle=o.loop.call_at(o.loop.time() + 1000, o.method)),
    "cancelled": lambda o: (vars(o).update(handle=o.loop.call_later(1000, o.method)), o.handle.cancel()),
    "weak reference": lambda o: vars(o).update(handle=weakref.ref(o.loop.call_soon(o.method))),
    "after a run": lambda o: (o.turn(), vars(o).update(handle=o.loop.call_soon(o.method))),
    "before a run": lambda o: (vars(o).update(handle=o.loop.call_later(1000, o.method)), o.turn()),
    "has run": lambda o: (vars(o).update(handle=o.loop.call_soon(o.method)), o.turn(), o.loop.call_soon(o.method)),
    "while running": Owner.soon_while_running,
    "in a turn by hand": Owner.soon_in_a_turn_by_hand,
    "debug mode": lambda o: (o.loop.set_debug(True), vars(o).update(handle=o.loop.call_soon(o.method))),
    "task": lambda o: vars(o).update(task=o.loop.create_task(o.wait())),
    "future's callback": Owner.call_back,
    "reader": lambda o: o.loop.add_reader(o.sockets[0], o.method),
    "sock_recv": Owner.begin_to_receive,
    "signal handler": lambda o: o.loop.add_signal_handler(signal.SIGUSR1, o.method),
    "exception handler": lambda o: o.loop.set_exception_handler(o.method),
    "executor": lambda o: vars(o).update(future=o.loop.run_in_executor(None, int)),
    "connection": Owner.connect,
    "datagrams": Owner.open_endpoint,
    "server": Owner.serve,
}


@pytest.mark.filterwarnings("ignore:.*(unclosed|was destroyed|never awaited):")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("way", WAYS)
def test_dropped_loop_is_collected_and_closes_its_descriptors(loop_factory, way, is_closed, caplog):
    def make():
        owner = Owner(loop_factory())
        owner.sockets = socket.socketpair()
        WAYS[way](owner)
        if is_closed:
            owner.loop.close()
        return weakref.ref(owner), weakref.ref(owner.loop)

    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    watches = make()
    gc.collect()
    gc.collect()  # what finalisers have made
    assert [watch() for watch in watches] == [None, None]
    assert len(os.listdir("/proc/self/fd")) == descriptors
