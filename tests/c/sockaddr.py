"""sys/sockaddr.c against a model in Python, and against the sockets of the socket module."""

import contextlib
import ctypes
import os
import socket
import struct
import tempfile
from ctypes import POINTER, c_bool, c_int, c_void_p, py_object

from library import HEAP_BYTE, Address, function, repeat

PATH = 108  # the size of sun_path
INET, INET6, UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)


from_python = function("al_sockaddr_from_python", c_bool, POINTER(Address), c_int, py_object)
to_python = function("al_sockaddr_to_python", py_object, c_void_p)
copy = function("al_sockaddr_copy", c_void_p, POINTER(Address))
free = ctypes.pythonapi.PyMem_Free
free.restype, free.argtypes = None, [c_void_p]


def parse(family, address):
    """The kernel's form of an address, None where the socket module has to do it; never an exception."""
    # On the heap, where the sanitizer knows its ends, and with something in it.
    memory = ctypes.create_string_buffer(bytes([HEAP_BYTE]) * ctypes.sizeof(Address), ctypes.sizeof(Address))
    parsed = Address.from_buffer(memory)
    return bytes(parsed) if from_python(parsed, family, address) else None


def show(kernel):
    """What Python sees of the kernel's form, of which there is a copy that is no longer than that."""
    address = Address.of(kernel)
    exact = copy(address)
    try:
        shown = to_python(exact)
        assert shown == to_python(ctypes.addressof(address))  # whatever comes behind it
        return shown
    finally:
        free(exact)


# --- the model --------------------------------------------------------------------------------------------------------


def model_host(family, host):
    """A numeric host in bytes, or None."""
    if not isinstance(host, str) or not host.isascii() or "\0" in host:
        return None
    size = 4 if family == INET else 16
    with contextlib.suppress(OSError):
        return socket.inet_pton(family, host) if host else bytes(size)
    return None


def model_numbers(numbers, limits):
    """The numbers, 0 for those left out; or None if one is too large, or is none."""
    for number, limit in zip(numbers, limits, strict=False):
        if not isinstance(number, int) or not 0 <= number <= limit:
            return None
    return [*map(int, numbers), *[0] * (len(limits) - len(numbers))]


def model(family, address):
    if family == UNIX:
        with contextlib.suppress(UnicodeError):
            path = os.fsencode(address) if isinstance(address, str) else address
            if isinstance(path, bytes) and len(path) + (path[:1] not in (b"", b"\0")) <= PATH:
                return struct.pack("=H", UNIX) + path + (b"\0" if path[:1] not in (b"", b"\0") else b"")
        return None
    lengths = (2,) if family == INET else (2, 3, 4) if family == INET6 else ()
    if not isinstance(address, tuple) or len(address) not in lengths:
        return None
    host = model_host(family, address[0])
    numbers = model_numbers(address[1:], [0xFFFF, 0xFFFFF, 0xFFFFFFFF][: 1 if family == INET else 3])
    if host is None or numbers is None:
        return None
    if family == INET:
        return struct.pack("=H", INET) + struct.pack("!H", numbers[0]) + host + bytes(8)
    port, flowinfo, scope = numbers
    return struct.pack("=H", INET6) + struct.pack("!HI", port, flowinfo) + host + struct.pack("=I", scope)


# --- addresses --------------------------------------------------------------------------------------------------------


class Index:
    def __index__(self):
        return 80


class Int(int):
    pass


class Str(str):
    pass


class Tuple(tuple):
    pass


ODD_HOSTS = [
    *("", " ", "0", "127.1", "0x7f.0.0.1", "127.0.0.01", "256.1.1.1", "1.2.3", "1.2.3.4.", " 1.2.3.4", "1.2.3.4\0"),
    *("<broadcast>", "localhost", "::", "::1", ":::", "1::2::3", "::1%lo", "fe80::1%1", "::ffff:1.2.3.4", "[::1]"),
    *("1" * 3000, "é", "１２７.0.0.1", "\udc80", "a.example", b"127.0.0.1", bytearray(b"::1"), None, 5, 1.5),
    Str("127.0.0.1"),
]
ODD_NUMBERS = [0, 1, 80, 65535, 65536, 0xFFFFF, 0x100000, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 10**40] + [
    *(-1, -(2**31), -(2**64), True, 1.0, "80", b"80", None, Index(), Int(8080), Int(-1))
]
ODD_PATHS = ["", "\0", "x", "\0x", "x\0", "a\0b", "é", "\udc80", "\ud800", b"", b"\0", b"\0\0", b"\xff\xfe"] + [
    *(bytearray(b"path"), memoryview(b"path"), None, 5, ("path",), Str("path"), "p" * 107, "p" * 108, "p" * 109),
    *(b"\0" + b"n" * 107, b"\0" + b"n" * 108, "é" * 53, "é" * 54, "p" * 100_000),
]
ODD_ADDRESSES = [(), (1,), ("127.0.0.1",), ["127.0.0.1", 80], "127.0.0.1", None, 5, {}, ("::1", 1, 2, 3, 4)]


def random_host(random, family):
    if random.random() < 0.3:
        return random.choice(ODD_HOSTS)
    if family == INET:
        return ".".join(str(random.randrange(256)) for _ in range(4))
    groups = [random.choice([0, 0, random.randrange(0x10000)]) for _ in range(8)]
    return socket.inet_ntop(INET6, struct.pack("!8H", *groups))


def random_number(random, limit):
    return random.choice(ODD_NUMBERS) if random.random() < 0.3 else random.randint(0, limit)


def random_path(random):
    if random.random() < 0.3:
        return random.choice(ODD_PATHS)
    path = random.choice([b"", b"\0"]) + random.randbytes(random.choice([1, 20, 105, 106, 107, 108, 109]))
    path = path.replace(b"/", b"_")  # in this folder
    return os.fsdecode(path) if random.random() < 0.5 else path


def random_address(random, family):
    if random.random() < 0.05:
        return random.choice(ODD_ADDRESSES)
    if family == UNIX:
        return random_path(random)
    limits = [0xFFFF, 0xFFFFF, 0xFFFFFFFF]
    count = 1 if family == INET else random.randint(1, 3)
    numbers = [random_number(random, limit) for limit in limits[:count]]
    address = random_host(random, family), *numbers
    return random.choice([tuple, tuple, tuple, Tuple])(address)


# --- what holds -------------------------------------------------------------------------------------------------------


def like_the_model(random):
    for _ in range(50):
        family = random.choice([INET, INET6, UNIX])
        address = random_address(random, family)
        parsed = parse(family, address)
        assert parsed == model(family, address), (family, address)
        other = random.choice([int(socket.AF_NETLINK), int(socket.AF_PACKET), 0, -1, 1000])
        assert parse(other, address) is None


def there_and_back(random):
    """Of what is shown, the kernel's form is the same again."""
    for _ in range(50):
        family = random.choice([INET, INET6, UNIX])
        parsed = parse(family, random_address(random, family))
        if parsed is None:
            continue
        shown = show(parsed)
        if family == UNIX and parsed[2:3] != b"\0":
            path, _, rest = parsed[2:].partition(b"\0")
            assert shown == os.fsdecode(path)
            assert rest == b"" or b"\0" in rest  # a path with a zero inside is cut there
        else:
            assert parse(family, shown) == parsed, shown


def any_bytes(random):
    """Whatever the kernel says is shown, and no byte behind it is looked at."""
    for _ in range(50):
        family = random.choice([INET, INET6, UNIX, UNIX, random.randrange(0x10000)])
        size = {INET: 16, INET6: 28, UNIX: random.randint(2, 2 + PATH + 1)}.get(family, random.randint(2, 112))
        kernel = struct.pack("=H", family) + random.randbytes(size - 2)
        shown = show(kernel)
        if family == UNIX and (size == 2 or kernel[2] != 0):
            assert shown == os.fsdecode(kernel[2 : 2 + PATH].split(b"\0")[0])
        elif family == UNIX:
            assert shown == kernel[2:]
        elif family not in (INET, INET6):
            assert shown == (family, kernel[2:16].ljust(14, b"\0"))
    assert show(b"") is None


def like_the_socket_module(random):
    """What we parse, a socket takes, and it has that address then."""
    for _ in range(10):
        family = random.choice([INET, INET6, UNIX])
        address = random_address(random, family)
        if family != UNIX and random.random() < 0.7:
            address = (f"127.{random.randrange(256)}.2.3" if family == INET else "::1"), random.randint(1024, 65535)
        parsed = parse(family, address)
        if parsed is None:
            continue
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            continue  # there is no IPv6
        with sock:
            try:
                sock.bind(address)
            except OSError:
                continue  # the kernel's: not an address of this machine, or in use, or not allowed
            name = sock.getsockname()
        if family == UNIX and isinstance(name, str) and name:
            os.unlink(name)
        shown = show(parsed)
        if family == UNIX:
            assert name == shown or parsed[2:] == b"", (address, name)  # the kernel chooses a name
        else:
            assert name[0] == shown[0], (address, name)
            assert name[1] == shown[1] or shown[1] == 0, (address, name)


def paths_without_an_end():
    """A path may fill sun_path: only other programs than Python's make such."""
    libc = ctypes.CDLL(None, use_errno=True)
    kernel = struct.pack("=H", UNIX) + b"p" * PATH
    with socket.socket(UNIX, socket.SOCK_DGRAM) as sock:
        assert libc.bind(sock.fileno(), kernel, len(kernel)) == 0, os.strerror(ctypes.get_errno())
        assert sock.getsockname() == show(kernel) == show(kernel + b"\0") == "p" * PATH


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)  # where the paths are
    repeat(300, like_the_model, there_and_back, any_bytes, like_the_socket_module)
    paths_without_an_end()
    os.chdir("/")
