"""base/args.c against Python functions of the same signature: the same arguments, or TypeError."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_ssize_t, c_void_p, py_object

from library import HEAP_BYTE, function, repeat

MOST = 8
NAMES = ["a", "ab", "abc", "b", "sock", "data", "loop", "name", "context", "A"]
STRANGERS = ["", "x", "ac", "é", "\udc80", "a\0", "a\0b", "sock ", "z" * 5000, "名前"]
MISSING = object()


class Signature(ctypes.Structure):
    _fields_ = [("function", c_char_p), ("names", c_char_p * (MOST + 1))] + [
        (name, c_int) for name in ("required", "positional", "positional_only")
    ]


parse = function("al_args_parse", c_int, POINTER(Signature), POINTER(py_object), c_ssize_t, py_object, c_void_p)
parse_tuple = function("al_args_parse_tuple", c_int, POINTER(Signature), py_object, py_object, c_void_p)


class Parser:
    """A signature, and the Python function that has it."""

    def __init__(self, random):
        self.names = random.sample(NAMES, random.randint(0, MOST))
        count = len(self.names)
        positional = random.randint(0, count)
        positional_only = random.randint(0, positional)
        required = random.randint(0, count)
        self.c = Signature(b"f", (), required, positional, positional_only)
        for i, name in enumerate(self.names):
            self.c.names[i] = name.encode()

        parameters = [name if i < required else f"{name}=MISSING" for i, name in enumerate(self.names)]
        if positional < count:
            parameters.insert(positional, "*")
        if positional_only:
            parameters.insert(positional_only, "/")
        names = {"MISSING": MISSING}
        exec(f"def f({', '.join(parameters)}): return [{', '.join(self.names)}]", names)
        self.python = names["f"]

    def call(self, call):
        """What C code gets: a list, or the TypeError."""
        out = (c_void_p * (MOST + 1))()
        ctypes.memset(out, HEAP_BYTE, ctypes.sizeof(out))
        untouched = out[MOST]
        try:
            assert call(ctypes.byref(self.c), out) == 0
        except TypeError as error:
            assert str(error).startswith("f() ")
            return error
        finally:
            assert all(out[i] == untouched for i in range(len(self.names), MOST + 1))
        return [MISSING if place is None else ctypes.cast(place, py_object).value for place in out[: len(self.names)]]

    def call_vector(self, args, kwargs):
        values = [*args, *kwargs.values()]
        array = (py_object * len(values))(*values)  # no longer than that
        names = py_object(tuple(kwargs)) if kwargs else py_object()
        return self.call(lambda signature, out: parse(signature, array, len(args), names, out))

    def call_tuple(self, args, kwargs):
        return self.call(lambda signature, out: parse_tuple(signature, args, kwargs if kwargs else py_object(), out))


def like_a_python_function(random):
    parser = Parser(random)
    for _ in range(100):
        args = tuple(object() for _ in range(random.choice([0, 1, 2, random.randint(0, MOST + 2)])))
        # More often than not what is left, which may be right.
        wanted = parser.names[len(args) :] if random.random() < 0.7 else parser.names
        wanted = [name for name in wanted if random.random() < 0.8] + random.sample(STRANGERS, random.random() < 0.1)
        random.shuffle(wanted)
        kwargs = {name: object() for name in wanted}
        try:
            expected = parser.python(*args, **kwargs)
        except TypeError:
            expected = TypeError
        for call in parser.call_vector, parser.call_tuple:
            got = call(args, kwargs)
            if expected is TypeError:
                assert isinstance(got, TypeError), (parser.names, args, kwargs, got)
            else:
                assert got == expected, (parser.names, args, kwargs, got)


repeat(300, like_a_python_function)
