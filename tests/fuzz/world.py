"""The world of a running program: its objects by kind, its scripts, and what may not happen.

Every call back into Python ends in `World.hook()`, which runs a script. A hook's steps are the same as those of the
main script, so everything that an operation can do happens within everything that calls back.
"""

import asyncio
import contextlib
import contextvars
import signal
import socket
import sys
import threading
import traceback
import weakref

from . import evil
from .program import SCRIPTS

DEPTH = 4  # hooks within hooks
STEPS = 400  # of all scripts together
POOL = 4  # objects of a kind

KINDS = {
    "loop": asyncio.AbstractEventLoop,
    "task": asyncio.Task,
    "future": asyncio.Future,
    "handle": asyncio.Handle,
    "transport": asyncio.BaseTransport,
    "protocol": asyncio.BaseProtocol,
    "server": asyncio.AbstractServer,
    "context": contextvars.Context,
    "sock": socket.socket,
    "coro": (),  # coroutines, and what looks like one
    "iter": (),  # what __await__() returned
    "evil": (),
    "kept": (),  # anything, only to be kept
}

MAKERS = {
    "future": "new_future",
    "task": "spawn",
    "handle": "call_later",
    "transport": "connect",
    "protocol": "connect_tls",
    "sock": "new_sockets",
    "coro": "new_coroutine",
    "iter": "await_by_hand",
}
"""The operations that make what there is none of."""

TLS_GOES_ON = {"run", "run_until", "turn", "drive_protocol", "reach_tls"}
"""Not for what OpenSSL calls: a handshake that goes on within itself crashes, with asyncio's SSLProtocol as well."""


class Skip(Exception):
    """There is no object that the operation could work on."""


class Wanted(BaseException):
    """Carries an exception out of a script: the hook that ran it raises it."""


class World:
    current = None  # the one of the process
    local = threading.local()  # its attribute `world` is the one of this thread, if it has its own
    loops = weakref.WeakSet()  # all loops of all worlds
    loops_lock = threading.Lock()

    def __init__(self, program, operations, shift=0):
        self.operations = operations
        self.scripts = {name: program.script(name) for name in ("main", *map(str, range(SCRIPTS)))}
        self.pools = {kind: [] for kind in KINDS}
        self.focus = dict.fromkeys(KINDS, 0)  # the number of the object that was picked or added last
        self.shift = shift  # of the operands of each step
        self.left = STEPS
        self.depth = 0
        self.added = 0
        self.alarms = 0
        self.making = False
        self.within_openssl = 0
        self.thread = threading.get_ident()
        self.findings = []
        self.itself = self  # the world itself is in a cycle: it dies in the interpreter's last collections

    # --- objects ----------------------------------------------------------------------------------------------------

    def add(self, kind, obj):
        if kind == "loop":
            with self.loops_lock:
                self.loops.add(obj)
        pool = self.pools[kind]
        self.added += 1
        if len(pool) < POOL:
            self.focus[kind] = len(pool)
            pool.append(obj)
        else:
            self.focus[kind] = self.added % POOL
            pool[self.added % POOL] = obj
        return obj

    def offer(self, objs):
        """Keep what a hook was given, so that the next steps may use it."""
        for obj in objs:
            for kind, types in KINDS.items():
                if isinstance(obj, types):
                    if not any(obj is known for known in self.pools[kind]):
                        self.add(kind, obj)
                    break

    def pick(self, kind, n):
        """Return the nth object of a kind. A future may be a task, a task may be the current one.

        Every other time it is the one that was picked or added last: a hook acts on what its caller is at work on.
        """
        if kind == "task" and n % 8 == 7 and (task := asyncio.current_task()) is not None:
            return task
        if kind == "future" and n % 3 == 2 and self.pools["task"]:
            kind = "task"
        pool = self.pools[kind]
        if not pool and n % 4 and kind in MAKERS and not self.making:
            self.making = True
            try:
                self.operations[MAKERS[kind]](self, n, 3 * n, 5 * n)
            finally:
                self.making = False
        if not pool:
            raise Skip
        if n % 2:
            self.focus[kind] = n // 2
        return pool[self.focus[kind] % len(pool)]

    def any(self, n):
        pools = [pool for pool in self.pools.values() if pool]
        if not pools:
            raise Skip
        pool = pools[n % len(pools)]
        return pool[n // 7 % len(pool)]

    def loop(self, n):
        """The nth loop, more often the one that runs."""
        running = asyncio._get_running_loop()
        if running is not None and n % 4:
            return running
        if not self.pools["loop"]:
            self.operations["new_loop"](self, 0, n, n)
        return self.pick("loop", n)

    def any_loop(self, n):
        """A loop, or what stands for one."""
        return self.make(evil.OtherLoop, n // 4) if n % 4 == 1 else self.loop(n)

    def make(self, cls, script, *args, **kwargs):
        """Make an object of an evil class, whose hooks run the script from now on."""
        obj = cls(*args, **kwargs)
        obj.script = script % SCRIPTS
        obj.world = self
        return obj

    # --- steps ------------------------------------------------------------------------------------------------------

    def hook(self, script, offered=()):
        self = getattr(World.local, "world", self)
        if self.depth >= DEPTH or self.left <= 0:
            return
        self.depth += 1
        try:
            self.offer(offered)
            self.run(str(script % SCRIPTS))
        finally:
            self.depth -= 1

    def hook_of_tls(self, script, offered):
        """A hook that OpenSSL calls."""
        self.within_openssl += 1
        try:
            self.hook(script, offered)
        finally:
            self.within_openssl -= 1

    @contextlib.contextmanager
    def quiet(self):
        """No hook runs a script meanwhile: for code of the interpreter that holds a lock and would wait for itself."""
        self.depth += DEPTH
        try:
            yield
        finally:
            self.depth -= DEPTH

    def steps(self, script):
        for operation, operands in self.scripts[script]:
            yield operation, tuple((number + self.shift) % 256 for number in operands)

    def run(self, script):
        wanted = None
        for operation, operands in self.steps(script):
            if (exc := self.step(operation, operands)) is not None:
                wanted = exc
        if wanted is not None:
            raise wanted

    def step(self, operation, operands):
        """Run one step; return the exception that its script is to raise, or None."""
        if self.left <= 0:
            return None
        self.left -= 1
        try:
            act = self.operations[operation]
            if not act.any_thread and threading.get_ident() != self.thread:
                return None
            if self.within_openssl and operation in TLS_GOES_ON:
                return None
            if act.is_async:
                self.add("task", self.loop(operands[0]).create_task(act(self, *operands)))
            else:
                act(self, *operands)
        except Skip:
            pass
        except Wanted as wanted:
            return wanted.args[0]
        except BaseException as exc:  # most of what is tried is wrong
            self.judge(exc)
        return None

    async def body(self, script):
        """Run a script as the body of a coroutine. Odd ones swallow every exception, among them cancellation."""
        for operation, operands in self.steps(str(script % SCRIPTS)):
            act = self.operations[operation]
            if act.is_async and self.left > 0:
                self.left -= 1
                try:
                    await act(self, *operands)
                except Skip:
                    pass
                except GeneratorExit:
                    raise
                except BaseException as exc:
                    self.judge(exc)
                    if not script % 2:
                        raise
            elif (exc := self.step(operation, operands)) is not None:
                raise exc
        return script

    # --- what may not happen ----------------------------------------------------------------------------------------

    def finding(self, what):
        self.findings.append(what)
        if len(self.findings) <= 3:
            print(f"FINDING: {what}", file=sys.stderr, flush=True)

    def judge(self, exc):
        """SystemError is what the interpreter raises where C has broken its rules."""
        seen = []
        while exc is not None and exc not in seen:
            if isinstance(exc, SystemError):
                self.finding(f"SystemError: {exc}\n" + "".join(traceback.format_exception(exc)))
            seen.append(exc)
            exc = exc.__cause__ or exc.__context__

    def on_unraisable(self, unraisable):
        self.judge(unraisable.exc_value)

    # --- time -------------------------------------------------------------------------------------------------------

    def start_alarm(self):
        """Nothing waits for ever: from now on an alarm stops the loops, and if that does not help, interrupts."""
        signal.signal(signal.SIGALRM, self.on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)

    def stop_alarm(self):
        signal.setitimer(signal.ITIMER_REAL, 0)

    def on_alarm(self, signum, frame):
        self.alarms += 1
        self.left = min(self.left, 20)
        if self.alarms == 1 and (running := asyncio._get_running_loop()) is not None:
            running.stop()
        else:
            raise KeyboardInterrupt
