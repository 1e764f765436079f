"""base/chunks.c against a bytearray: what is queued is in the iovec, in order, and every reference is given back."""

import ctypes
import sys
from ctypes import POINTER, c_int, c_size_t, c_void_p, py_object

from library import function, repeat

IOV_MAX = 1024


class Chunks(ctypes.Structure):
    _fields_ = [("items", c_void_p), *((name, c_size_t) for name in ("capacity", "head", "count", "size"))]


class IOVec(ctypes.Structure):
    _fields_ = [("base", c_void_p), ("length", c_size_t)]


push = function("al_chunks_push", c_int, POINTER(Chunks), py_object, c_size_t)
push_copy = function("al_chunks_push_copy", c_int, POINTER(Chunks), ctypes.c_char_p, c_size_t)
take = function("al_chunks_take", c_int, POINTER(Chunks), POINTER(Chunks))
iovec = function("al_chunks_iovec", c_int, POINTER(Chunks), POINTER(IOVec), c_int)
consume = function("al_chunks_consume", None, POINTER(Chunks), c_size_t)
clear = function("al_chunks_clear", None, POINTER(Chunks))
check = function("al_chunks_check", None, POINTER(Chunks))  # aborts where an invariant does not hold


def content(chunks, limit=IOV_MAX):
    """The bytes that an iovec of at most `limit` pieces shows."""
    iov = (IOVec * (limit + 1))()
    iov[limit].length = 42  # not ours to write
    count = iovec(chunks, iov, limit)
    assert count == min(chunks.count, limit)
    assert iov[limit].length == 42
    return b"".join(ctypes.string_at(piece.base, piece.length) for piece in iov[:count])


class Queue:
    """A queue beside what it should have in it."""

    def __init__(self, random):
        self.random = random
        self.chunks = Chunks()
        self.expected = bytearray()
        self.pieces = 0  # chunks that were pushed

    def push(self, given):
        data = self.random.randbytes(self.random.choice([0, 1, 5, 300]))
        skip = self.random.randint(0, len(data))
        if self.random.random() < 0.3:
            assert push_copy(self.chunks, data, len(data)) == 0
            self.expected += data
        else:
            given.append(data)
            assert push(self.chunks, data, skip) == 0
            self.expected += data[skip:]

    def consume(self):
        size = self.random.choice([0, 1, self.random.randint(0, len(self.expected)), len(self.expected)])
        size = min(size, len(self.expected))
        consume(self.chunks, size)
        del self.expected[:size]
        # Not much more memory than is used, and no less than is kept for everyday use.
        assert self.chunks.capacity <= 32 or self.chunks.count > self.chunks.capacity // 4

    def check(self):
        check(self.chunks)
        assert self.chunks.size == len(self.expected)
        assert (self.chunks.items is None) == (self.chunks.capacity == 0)
        shown = content(self.chunks)
        assert self.expected.startswith(shown)
        assert shown == self.expected or self.chunks.count > IOV_MAX
        few = self.random.randint(0, 5)
        assert self.expected.startswith(content(self.chunks, few))


def random_changes(random):
    queue, other = Queue(random), Queue(random)
    given = []  # the objects
    often = random.choice([0.1, 0.4, 0.7])  # how often something leaves the queue
    for _ in range(random.choice([20, 200, 1500])):
        choice = random.random()
        if choice < often:
            queue.consume()
        elif choice > 0.98:
            for _ in range(random.randint(0, 40)):
                other.push(given)
            assert take(queue.chunks, other.chunks) == 0
            queue.expected += other.expected
            other.expected.clear()
            other.check()
        else:
            queue.push(given)
        if random.random() < 0.2:
            queue.check()
    queue.check()
    clear(queue.chunks)
    queue.expected.clear()
    queue.check()
    assert queue.chunks.capacity == 0
    fresh = bytes(bytearray(b"fresh"))
    while given:
        data = given.pop()
        assert len(data) < 2 or sys.getrefcount(data) == sys.getrefcount(fresh)  # (the interpreter has the short ones)


class Bytes(bytes):
    """Its end changes the queue that it is dropped from."""

    def __del__(self):
        self.at_end()


def reentrant(change):
    """One chunk is dropped, and changes the queue: as bytes may, of a subclass."""
    chunks = Chunks()

    def at_end():
        check(chunks)
        change(chunks)
        check(chunks)

    first = Bytes(b"first")
    first.at_end = at_end
    assert push(chunks, first, 0) == 0
    for _ in range(40):
        assert push(chunks, b"other", 0) == 0
    del first
    return chunks


def clear_and_push(chunks):
    clear(chunks)
    assert push(chunks, b"new", 0) == 0


def push_many(chunks):
    for _ in range(100):
        assert push(chunks, b"new", 0) == 0


def changes_while_a_chunk_is_dropped():
    chunks = reentrant(clear)
    consume(chunks, 30)
    check(chunks)
    assert chunks.count == 0

    chunks = reentrant(push_many)
    consume(chunks, 30)
    check(chunks)
    assert content(chunks) == b"other" * 35 + b"new" * 100
    clear(chunks)

    chunks = reentrant(clear_and_push)
    consume(chunks, 5)
    check(chunks)
    assert content(chunks) == b"new"
    clear(chunks)

    chunks = reentrant(clear_and_push)
    clear(chunks)  # drops what was queued before; the new chunk stays
    check(chunks)
    assert content(chunks) == b"new"
    clear(chunks)


repeat(300, random_changes)
changes_while_a_chunk_is_dropped()
