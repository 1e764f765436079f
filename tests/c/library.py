"""What the Python programs of this folder share: the C functions, and random numbers that are the same each time."""

import ctypes
import random
import sys

library = ctypes.PyDLL(sys.argv[1])  # what a function raises, its call raises

HEAP_BYTE = 0x55  # what is in memory that nobody has written


class Address(ctypes.Structure):
    """al_sockaddr, with struct sockaddr_un for the longest."""

    _fields_ = [("size", ctypes.c_uint32), ("any", ctypes.c_ubyte * 112)]

    @classmethod
    def of(cls, kernel):
        """The address with the kernel's bytes, and with anything behind them."""
        address = cls()
        ctypes.memset(ctypes.byref(address), HEAP_BYTE, ctypes.sizeof(address))
        address.size = len(kernel)
        ctypes.memmove(address.any, kernel, len(kernel))
        return address

    def __bytes__(self):
        assert self.size <= len(self.any)
        return bytes(self.any[: self.size])


def function(name, result, *arguments):
    """A C function."""
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


def repeat(count, *tests):
    """Call the tests in so many rounds, each with the random numbers of its round."""
    for number in range(count):
        for test in tests:
            try:
                test(random.Random(number))
            except BaseException as error:
                error.add_note(f"in round {number} of {test.__name__}()")
                raise
