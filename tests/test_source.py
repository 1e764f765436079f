"""The house rules are tests: layers, file sizes, formatting, spelling, types."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import load_tool

import asyncloop

ROOT = Path(__file__).parents[1]
PYTHON = ["asyncloop", "benchmarks", "examples", "setup.py", "tests", "tools", "tools/fresh-debian"]


check_layers = load_tool("check_layers")


def tool(name, group="lint"):
    """The path of a program that stands beside the interpreter when `group` of pyproject.toml is installed."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))  # no other: versions are pinned
    if path is None:
        pytest.skip(f"{name} is not installed: pip install --group {group}")
    return path


def passes(*command):
    package = str(Path(asyncloop.__file__).parents[1])  # for stubtest, which imports it
    env = os.environ | {"PYTHONPATH": package}
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_layers_and_file_sizes():
    assert check_layers.check(ROOT / "src") == []


@pytest.mark.parametrize(
    "path, text, complaint",
    [
        ("base/a.c", '#include "net/sock.h"\n', "base/a.c: base/ must not include net/"),
        ("io/a.h", '#  include "task/task.h"\n', "io/a.h: io/ must not include task/"),
        ("net/a.c", '#include "sock.h"\n', 'net/a.c: "sock.h" must be written from src/'),
        ("misc/a.c", "", "misc/a.c: misc/ is no layer"),
        ("base/a.c", "\n" * 901, "base/a.c: 901 lines, more than 900"),
    ],
)
def test_layer_check_complains(tmp_path, path, text, complaint):
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text)
    assert check_layers.check(tmp_path) == [complaint]


def test_layer_check_finds_circles(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.c").write_text('#include "net/a.h"\n#include "net/b.h"\n')
    (tmp_path / "net" / "a.h").write_text("")
    (tmp_path / "net" / "b.h").write_text('#include "net/c.h"\n')
    (tmp_path / "net" / "c.c").write_text('#include "net/c.h"\n#include "net/a.h"\n')
    (tmp_path / "net" / "c.h").write_text("")
    (tmp_path / "net" / "d.c").write_text('#include "net/a.h"\n')
    assert check_layers.check(tmp_path) == ["a circle of includes: net/a, net/b, net/c"]


def test_layer_check_allows_what_is_below(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.c").write_text('#include "net/sock.h"\n#include "io/fdwatch.h"\n#include <ev.h>\n')
    (tmp_path / "module.c").write_text('#include "loop/loop.h"\n#include "base/state.h"\n')
    assert check_layers.check(tmp_path) == []


def test_c_is_formatted():
    passes(tool("clang-format"), "--dry-run", "--Werror", *sorted((ROOT / "src").rglob("*.[ch]")))


def test_python_is_formatted():
    passes(tool("ruff"), "format", "--check", *PYTHON)


def test_python_is_clean():
    passes(tool("ruff"), "check", *PYTHON)


def test_spelling():
    passes(tool("codespell"))


def test_package_is_typed():
    passes(tool("mypy", "types"))


def test_stub_tells_the_truth():
    passes(tool("stubtest", "types"), "asyncloop._core")


def test_no_machine_path_in_the_sources():
    machine = ["/" + "work/", "/" + "root/", "/" + "tmp/w/", "/" + "opt/pypi"]
    found = []
    for path in sorted(ROOT.rglob("*")):
        folders = path.relative_to(ROOT).parts
        if (
            not path.is_file()
            or folders[0] in ("build", "dist")
            or folders[0].startswith((".venv", ".git", ".pythons"))
        ):
            continue
        if path.suffix in (".c", ".h", ".md", ".py", ".pyi", ".sh", ".toml", ".txt") or path.name == "Makefile":
            text = path.read_text()
            found += [f"{path.relative_to(ROOT)}: {place}" for place in machine if place in text]
    assert found == []
