"""What is published can be built, and says what it misses."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asyncloop import _core

ROOT = Path(__file__).parents[1]


def python(*args, cwd, interpreter=sys.executable, **environ):
    """Run an interpreter, this one unless told, without what a developer's environment would add to a build."""
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("ASYNCLOOP_") and k not in ("LD_PRELOAD", "PYTHONPATH")
    }
    return subprocess.run(
        [interpreter, *args],
        cwd=cwd,
        env=env | environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The unpacked source distribution."""
    place = tmp_path_factory.mktemp("sdist")
    build = f"import setuptools.build_meta as b; print(b.build_sdist({str(place)!r}))"
    done = python("-W", "ignore", "-c", build, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    (archive,) = place.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(place)], check=True)  # tarfile has no filter in 3.11.2
    return place / archive.name.removesuffix(".tar.gz")


def test_sdist_holds_all_that_is_needed(sdist):
    for folder, kind in [("src", "*.[ch]"), ("asyncloop", "*.py"), ("tests", "*.py"), ("tools", "*")]:
        ours = {p.relative_to(ROOT) for p in (ROOT / folder).rglob(kind) if p.is_file() and p.suffix != ".pyc"}
        assert ours == {p.relative_to(sdist) for p in (sdist / folder).rglob(kind) if p.is_file()}
    for name in ["LICENSE", "Makefile", "README.md", "asyncloop/_core.pyi", "asyncloop/py.typed", "pyproject.toml"]:
        assert (sdist / name).is_file(), name
    assert not list(sdist.rglob("*.so"))


def test_description_has_no_relative_link(sdist):
    """It is shown where no other file of the repository is."""
    description = (sdist / "PKG-INFO").read_text().partition("\n\n")[2]
    assert "# asyncloop" in description
    links = re.findall(r"\]\(([^)\s]+)\)", description)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []


# Where a program finds asyncloop, and whether it works.
PROGRAM = """
import asyncio, asyncloop, pathlib

async def main():
    await asyncio.sleep(0.001)
    return type(asyncio.get_running_loop()) is asyncloop.Loop

assert asyncloop.run(main())
print(*(pathlib.Path(module.__file__).parent for module in (asyncloop._core, asyncloop._loop)))
"""


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """What `pip install .` makes in the source folder before it installs it."""
    place = tmp_path_factory.mktemp("wheel")
    done = python("-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", str(place), str(sdist), cwd=place)
    assert done.returncode == 0, done.stdout
    (wheel,) = place.glob("*.whl")
    return wheel


def environment(place, *wheels):
    """Make a virtual environment with these wheels; return its interpreter and the folder of its packages."""
    done = python("-m", "venv", "--without-pip", str(place), cwd=place.parent)
    assert done.returncode == 0, done.stdout
    inside = place / "bin" / "python"
    if wheels:
        install = ["install", "--no-index", "--no-deps", *map(str, wheels)]
        done = python("-m", "pip", "--python", str(inside), *install, cwd=place.parent)
        assert done.returncode == 0, done.stdout
    (packages,) = place.glob("lib/*/site-packages")
    return inside, packages


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


def test_package_from_sdist_runs_outside_the_tree(installed, tmp_path):
    interpreter, packages = installed
    done = python("-c", PROGRAM, cwd=tmp_path, interpreter=interpreter)
    assert done.stdout.split() == [str(packages / "asyncloop")] * 2
    assert (packages / "asyncloop" / "py.typed").is_file()
    assert (packages / "asyncloop" / "_core.pyi").is_file()


@pytest.mark.parametrize("way", [["-c", PROGRAM], ["program.py"], ["-m", "program"], ["-m", "asyncloop", "program.py"]])
def test_program_in_the_source_folder_finds_the_installed_package(sdist, installed, way):
    interpreter, packages = installed
    (sdist / "program.py").write_text(PROGRAM)
    done = python(*way, cwd=sdist, interpreter=interpreter)
    assert done.stdout.split() == [str(packages / "asyncloop")] * 2


@pytest.fixture(scope="module")
def developer(sdist, wheel, tmp_path_factory):
    """An environment in which a clone, whose folder has the name of the package, is installed as `make` does it."""
    clone = tmp_path_factory.mktemp("beside") / "asyncloop"
    shutil.copytree(sdist, clone)  # with the objects from which the wheel was made
    build = f"import setuptools.build_meta as b; print(b.build_editable({str(clone.parent)!r}))"
    done = python("-W", "ignore", "-c", build, cwd=clone)
    assert done.returncode == 0, done.stdout
    (editable,) = clone.parent.glob("*.whl")
    interpreter, _ = environment(clone.parent / "venv", editable)
    return interpreter, clone


@pytest.mark.parametrize("way", [["-c", PROGRAM], ["program.py"], ["-m", "program"], ["-m", "asyncloop", "program.py"]])
@pytest.mark.parametrize("place", ["in", "beside", "elsewhere"])
def test_program_finds_the_clone_that_was_built_in_place(developer, tmp_path, place, way):
    interpreter, clone = developer
    cwd = {"in": clone, "beside": clone.parent, "elsewhere": tmp_path}[place]
    (cwd / "program.py").write_text(PROGRAM)
    done = python(*way, cwd=cwd, interpreter=interpreter)
    assert done.stdout.split() == [str(clone / "asyncloop")] * 2


def test_source_folder_that_is_not_built_says_what_to_do(sdist, tmp_path):
    interpreter, _ = environment(tmp_path / "venv")
    done = python("-c", "import asyncloop", cwd=sdist, interpreter=interpreter)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"ImportError: {sdist / 'asyncloop'} has no _core for {sys.implementation.cache_tag}:")
    assert f"`{interpreter} -m pip install .`" in last
    assert "During handling" not in done.stdout


def test_error_inside_the_c_module_is_not_hidden(developer, tmp_path):
    """Only a _core that is missing is looked for elsewhere, not one that fails."""
    _, clone = developer
    shutil.copytree(clone / "asyncloop", tmp_path / "asyncloop")
    (tmp_path / "asyncloop" / "_registry.py").write_text("import no_such_module\n")
    done = python("-c", "import asyncloop", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.parametrize("version", [None, (4, 31)])
def test_missing_or_old_libev_is_one_clear_line(sdist, tmp_path, version):
    if version:
        (tmp_path / "include").mkdir()
        major, minor = version
        header = f"#define EV_VERSION_MAJOR {major}\n#define EV_VERSION_MINOR {minor}\nint ev_version_major(void);\n"
        (tmp_path / "include" / "ev.h").write_text(header)
    done = python("setup.py", "-q", "build_ext", cwd=sdist, LIBEV_PREFIX=str(tmp_path))
    assert done.returncode != 0
    (line,) = done.stdout.splitlines()
    assert all(word in line for word in ("libev 4.33", "libev-dev ", "libev-devel ", "Homebrew", "LIBEV_PREFIX"))


@pytest.mark.parametrize("names", ["kqueue", "epoll,Timerfd"])
def test_unknown_feature_to_do_without_is_one_clear_line(sdist, names):
    done = python("setup.py", "-q", "build_ext", cwd=sdist, ASYNCLOOP_WITHOUT=names)
    assert done.returncode != 0
    *_, line = done.stdout.splitlines()
    assert f"knows no {names.removeprefix('epoll,')}, only epoll, select, timerfd" in line


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux, where all exist, and cc")
@pytest.mark.parametrize("name", sorted(_core._features()))
def test_each_feature_can_be_done_without(name):
    macros = {each: "UNLIMITED_SELECT" if each == "select" else each.upper() for each in _core._features()}
    source = '#include "base/features.h"\n' + "".join(f"{each} AL_HAS_{macros[each]}\n" for each in macros)
    done = subprocess.run(
        ["cc", "-E", "-P", "-Isrc", f"-DAL_WITHOUT_{name.upper()}=1", "-"],
        cwd=ROOT,
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    left = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line)
    assert {each for each, value in left.items() if "!1" in value} == {name}


def test_missing_compiler_is_not_called_a_missing_libev(sdist, tmp_path):
    done = python("setup.py", "-q", "build_ext", cwd=sdist, CC=str(tmp_path / "no-such-compiler"))
    assert done.returncode != 0
    (line,) = done.stdout.splitlines()
    assert "C compiler" in line and "libev" not in line
