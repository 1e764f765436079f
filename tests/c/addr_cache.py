"""sys/addr_cache.c: the same tuples as without it, made once while their slot is theirs, and none that stays."""

import socket
import struct
import sys
from ctypes import POINTER, c_void_p, py_object

from library import Address, function, repeat

to_python = function("al_sockaddr_to_python", py_object, POINTER(Address))
get = function("al_addr_cache_get", py_object, POINTER(c_void_p), POINTER(Address))
find = function("al_addr_cache_find", POINTER(Address), c_void_p, py_object)
free = function("al_addr_cache_free", None, c_void_p)

INET, INET6, UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)


def random_kernel(random):
    family = random.choice([INET, INET, INET6, INET6, UNIX, None])
    if family is None:
        return b""
    if family == UNIX:
        return struct.pack("=H", UNIX) + random.randbytes(random.randint(0, 108))
    return struct.pack("=H", family) + random.randbytes(14 if family == INET else 26)


def random_addresses(random):
    cache = c_void_p()
    known = [random_kernel(random) for _ in range(random.choice([1, 3, 20, 200]))]
    last = None, b""  # the object that the last get() of an internet address gave, and the kernel's form
    tuples = {}
    for _ in range(random.choice([10, 1000])):
        kernel = random.choice(known)
        shown = get(cache, Address.of(kernel))
        assert shown == to_python(Address.of(kernel))
        is_cached = kernel[:2] in (struct.pack("=H", INET), struct.pack("=H", INET6))
        if is_cached:
            if last[1] == kernel:
                assert shown is last[0]  # at least two in a row are one
            last = shown, kernel
            tuples[id(shown)] = shown
        for asked in shown, last[0], (*last[0],) if last[0] else (), None, 5:
            found = find(cache, asked)
            assert bool(found) == (asked is last[0] and asked is not None)
            if found:
                assert bytes(found.contents) == last[1]
    free(cache)
    del shown, asked
    last = None
    fresh = (random.random(),)
    for key in list(tuples):
        kept = tuples.pop(key)
        assert sys.getrefcount(kept) == sys.getrefcount(fresh)


def one_address_is_one_tuple():
    cache = c_void_p()
    kernels = [struct.pack("=H", INET) + struct.pack("!H", 1000 + i) + b"\x7f\0\0\1" + bytes(8) for i in range(4)]
    first = [get(cache, Address.of(kernel)) for kernel in kernels]
    again = [get(cache, Address.of(kernel)) for kernel in kernels]
    assert first == again == [("127.0.0.1", 1000 + i) for i in range(4)]
    assert sum(a is b for a, b in zip(first, again, strict=True)) >= 2  # as two may share a slot
    free(cache)


assert not find(None, ("127.0.0.1", 1))
free(None)
repeat(300, random_addresses)
one_address_is_one_tuple()
