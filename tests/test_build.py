"""What is published can be built, and says what it misses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(*args, cwd, **environ):
    """Run this interpreter without what a developer's environment would add to a build."""
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("ASYNCLOOP_") and k not in ("LD_PRELOAD", "PYTHONPATH")
    }
    return subprocess.run(
        [sys.executable, *args],
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


def test_package_from_sdist_runs_outside_the_tree(sdist, tmp_path):
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "--target", str(site), str(sdist)]
    done = python(*install, cwd=tmp_path)
    assert done.returncode == 0, done.stdout

    program = """
import asyncio, asyncloop, pathlib

async def main():
    await asyncio.sleep(0.001)
    return type(asyncio.get_running_loop()) is asyncloop.Loop

assert asyncloop.run(main())
print(pathlib.Path(asyncloop.__file__).parent, pathlib.Path(asyncloop._core.__file__).parent)
"""
    done = python("-c", program, cwd=tmp_path, PYTHONPATH=str(site))
    assert done.stdout.split() == [str(site / "asyncloop")] * 2
    assert (site / "asyncloop" / "py.typed").is_file()
    assert (site / "asyncloop" / "_core.pyi").is_file()


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


def test_missing_compiler_is_not_called_a_missing_libev(sdist, tmp_path):
    done = python("setup.py", "-q", "build_ext", cwd=sdist, CC=str(tmp_path / "no-such-compiler"))
    assert done.returncode != 0
    (line,) = done.stdout.splitlines()
    assert "C compiler" in line and "libev" not in line
