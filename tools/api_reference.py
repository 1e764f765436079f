"""Makes the page of the API: signatures from the stub and the Python files, descriptions from the docstrings."""

import ast
import asyncio
import inspect
import re
import sys
import textwrap
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stub_signatures():
    """Return what asyncloop/_core.pyi says of each function: {"Loop.time": "() -> float"}, the first overload."""
    signatures = {}

    def read(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef):
                read(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                signatures.setdefault(prefix + node.name, written(node))
            elif isinstance(node, ast.If):
                read([*node.body, *node.orelse], prefix)

    read(ast.parse((ROOT / "asyncloop" / "_core.pyi").read_text()).body, "")
    return signatures


def written(node):
    """Return the signature of a function as a stub writes it, without self."""
    arguments = ast.unparse(node.args)
    arguments = re.sub(r"^(self|cls)(, /)?(, )?", "", arguments)
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({arguments}){result}"


def source_signature(function):
    """Return the signature of a Python function as its file has it, or None if it is written in C."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    (node,) = ast.parse(source).body
    return written(node)


def signature(thing, name, stubs):
    return stubs.get(name) or source_signature(thing) or "(...)"


def described(thing):
    """Return a docstring as Markdown: paragraphs, lists of arguments, code."""
    lines, in_list = [], False
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line.startswith("    ") and not in_list:
            lines.append(line)  # code, as Markdown has it
            continue
        text = re.sub(r"([_*<\[\]`])", r"\\\1", line.strip())
        if argument := re.match(r"((?:\\\*){0,2}[\w\\]+(?:, [\w\\]+)*): (.*)", text):
            if not in_list:
                lines.append("")
            lines.append(f"- *{argument[1]}*: {argument[2]}")
            in_list = True
        elif in_list and line.startswith(" "):
            lines[-1] += f" {text}"
        else:
            if in_list and text:
                lines.append("")
            in_list = in_list and not text
            lines.append(text)
    return "\n".join(lines)


def members(cls):
    """Return the public methods and properties of a class that are asyncloop's own, by name."""
    found = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] != "asyncloop":
            continue
        for name, value in vars(base).items():
            if not name.startswith("_") and (callable(value) or inspect.isdatadescriptor(value)):
                found.setdefault(name, (base, value))
    return dict(sorted(found.items()))


def of_class(name, cls, stubs):
    made = next((base for base in cls.__mro__ if "__init__" in vars(base)), None)
    own = made is not None and made.__module__.partition(".")[0] == "asyncloop"
    arguments = signature(made.__init__, f"{name}.__init__", stubs).partition(" -> ")[0] if own else "(...)"
    yield f"## `{name}`"
    yield f"```python\nclass {name}{arguments}\n```"
    yield described(cls)
    stock = next((base.__name__ for base in cls.__mro__[1:] if getattr(asyncio, base.__name__, None) is base), None)
    if stock:
        yield f"A subclass of `asyncio.{stock}`. What is not listed here is inherited, and does what asyncio's does."
    for member, (_, value) in members(cls).items():
        text = described(value)
        if isinstance(value, property) or (inspect.isdatadescriptor(value) and not callable(value)):
            if text:
                yield f"### `{name}.{member}`"
                yield text
        else:
            asynchronous = "async " if inspect.iscoroutinefunction(value) else ""
            yield f"### `{name}.{member}()`"
            yield f"```python\n{asynchronous}def {member}{signature(value, f'{name}.{member}', stubs)}\n```"
            yield text or "What asyncio's does."


def page():
    """Return the page."""

    sys.path.insert(0, str(ROOT))
    import asyncloop

    stubs = stub_signatures()
    parts = [
        "# API",
        "Everything that `import asyncloop` gives. Methods of loops, futures and tasks do what asyncio's do, "
        "so [asyncio's documentation](https://docs.python.org/3/library/asyncio.html) holds for them, too.",
    ]
    for name in sorted(asyncloop.__all__, key=str.lower):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # policies
            thing = getattr(asyncloop, name)
        if inspect.isclass(thing):
            parts += of_class(name, thing, stubs)
        elif callable(thing):
            asynchronous = "async " if inspect.iscoroutinefunction(thing) else ""
            parts += [
                f"## `{name}()`",
                f"```python\n{asynchronous}def {name}{signature(thing, name, stubs)}\n```",
                described(thing),
            ]
        else:
            parts += [f"## `{name}`", f"The version, here `{thing}`."]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page())
