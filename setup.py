"""Builds asyncloop._core: every C file under src/ and libev, in one extension module.

Environment
    LIBEV_PREFIX        directory with libev's include/ and lib/; nowhere else is looked then
    ASYNCLOOP_DEBUG     "1": no optimisation, with asserts
    ASYNCLOOP_SANITIZE  "1": the same under AddressSanitizer and UndefinedBehaviorSanitizer
    ASYNCLOOP_WERROR    "1": a warning of the compiler is an error
    ASYNCLOOP_WITHOUT   features of the system that are not used though it has them, with commas between: epoll, select,
                        timerfd, pipe2, accept4, recvmmsg, sendmmsg, pidfd, or "all"; see src/base/features.h
"""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

SOURCES = sorted(map(str, Path("src").rglob("*.c")))
HEADERS = sorted(map(str, Path("src").rglob("*.h")))

NO_LIBEV = (
    "asyncloop needs libev 4.33 or newer with its header: install libev-dev (Debian, Ubuntu), "
    "libev-devel (Fedora) or libev (Homebrew), or set LIBEV_PREFIX to the directory it is in"
)
NO_COMPILER = (
    "asyncloop needs a C compiler and Python's headers: install build-essential and python3-dev (Debian, Ubuntu), "
    "gcc and python3-devel (Fedora) or the command line tools (macOS: xcode-select --install)"
)

# Across files, and calls into the interpreter without a detour: 3 to 9 % of the time of timers and task switches.
# For the compilers that have them; those that only accept them say so by a warning.
WHOLE_PROGRAM = ["-flto=auto", "-fno-plt"]

PROBE_PYTHON = "#include <Python.h>\n"
PROBE_LIBEV = """\
#include {header}
#if EV_VERSION_MAJOR < 4 || (EV_VERSION_MAJOR == 4 && EV_VERSION_MINOR < 33)
#error "libev is too old"
#endif
int probe(void) {{ return ev_version_major(); }}
"""


def wanted(switch):
    """Whether the environment variable ASYNCLOOP_<switch> is set to something other than 0."""
    return os.environ.get(f"ASYNCLOOP_{switch}", "0") not in ("", "0")


def debugging():
    """Whether the build is one to find mistakes with."""
    return wanted("DEBUG") or wanted("SANITIZE")


FEATURES = [name.lower() for name in re.findall(r"ifndef AL_WITHOUT_(\w+)", Path("src/base/features.h").read_text())]


def unwanted_features():
    """The features that ASYNCLOOP_WITHOUT names."""
    names = [name.strip() for name in os.environ.get("ASYNCLOOP_WITHOUT", "").split(",") if name.strip()]
    if unknown := set(names) - {*FEATURES, "all", "eventfd"}:  # an eventfd is never used
        raise PlatformError(f"ASYNCLOOP_WITHOUT knows no {', '.join(sorted(unknown))}, only {', '.join(FEATURES)}, all")
    return FEATURES if "all" in names else [name for name in names if name in FEATURES]


def build_flags():
    """Arguments for the compiler and for the linker that every compiler takes."""
    # The macro: POSIX and Linux names in every file, also where a system header comes before Python.h.
    compiling = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden"]
    compiling += ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes"]
    linking = []
    if debugging():
        compiling += ["-O0", "-g3", "-UNDEBUG", "-DAL_DEBUG"]
    if wanted("SANITIZE"):
        linking = ["-fsanitize=address,undefined"]
        compiling += [*linking, "-O1", "-fno-omit-frame-pointer"]
    compiling += [f"-DAL_WITHOUT_{name.upper()}=1" for name in unwanted_features()]
    if wanted("WERROR"):
        compiling += ["-Werror"]
    return compiling, linking


def libev_places():
    """Where libev may be, as (header, include directories, library directories), likeliest first."""
    if prefix := os.environ.get("LIBEV_PREFIX"):
        root = Path(prefix).resolve()
        # By its full path: a header that is missing here must not be found elsewhere.
        yield f'"{root}/include/ev.h"', [f"{root}/include"], [str(root / lib) for lib in ("lib", "lib64")]
        return
    yield "<ev.h>", [], []
    yield "<ev.h>", ["/usr/include/libev"], []
    for prefix in ("/opt/homebrew", "/usr/local", "/opt/local"):
        yield "<ev.h>", [f"{prefix}/include"], [f"{prefix}/lib"]


class BuildExt(build_ext):
    """Finds libev, then compiles what has changed, on all processors."""

    def finalize_options(self):
        super().finalize_options()
        # Objects of other flags or another Python are kept apart, so that none is ever taken for another.
        python = sys.version, sysconfig.get_config_var("SOABI")
        flags = build_flags(), WHOLE_PROGRAM, os.environ.get("CFLAGS")
        variant = sha256(repr((python, flags)).encode()).hexdigest()[:8]
        self.build_temp = f"build/{sys.implementation.cache_tag}-{variant}"
        self.force = True  # linking is cheap, and the module in place may be one of other flags

    def build_extension(self, ext):
        if not self.links(PROBE_PYTHON):
            raise PlatformError(NO_COMPILER)
        for header, include_dirs, library_dirs in libev_places():
            if self.links(PROBE_LIBEV.format(header=header), include_dirs, library_dirs):
                break
        else:
            raise PlatformError(NO_LIBEV)
        ext.include_dirs += include_dirs
        ext.library_dirs += library_dirs
        if os.environ.get("LIBEV_PREFIX"):  # where the loader looks for a shared library
            ext.runtime_library_dirs += [d for d in library_dirs if any(Path(d).glob("libev.[sd][oy]*"))]
        if not debugging():
            optional = [flag for flag in WHOLE_PROGRAM if self.links(PROBE_PYTHON, flags=[flag, "-Werror"])]
            ext.extra_compile_args += optional
            ext.extra_link_args += ["-O3", *optional]
        self.compiler.compile = partial(compile_changed, self.compiler, self.compiler.compile)
        super().build_extension(ext)

    def links(self, source, include_dirs=(), library_dirs=(), flags=()):
        """Whether a shared library made of `source` and libev, if `source` is about it, can be built; says nothing."""
        python = sysconfig.get_paths()
        includes = [f"-I{d}" for d in (*include_dirs, python["include"], python["platinclude"])]
        libraries = [*(f"-L{d}" for d in library_dirs), "-lev"] if source is not PROBE_PYTHON else []
        with tempfile.TemporaryDirectory() as place:
            c, o, so = (f"{place}/probe.{suffix}" for suffix in ("c", "o", "so"))
            Path(c).write_text(source)
            commands = (
                [*self.compiler.compiler_so, *includes, *flags, "-c", c, "-o", o],
                [*self.compiler.linker_so, o, *libraries, *flags, "-o", so],
            )
            try:
                return all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands)
            except OSError:  # there is no such compiler
                return False


def compile_changed(compiler, compile_all, sources, output_dir=None, depends=(), **options):
    """Stand in for the compiler's compile(): file by file at the same time, leaving out what is up to date."""
    objects = compiler.object_filenames(sources, output_dir=output_dir)
    newest_header = max(map(os.path.getmtime, depends))

    def one(source, made):
        needed = max(newest_header, os.path.getmtime(source))
        if not os.path.exists(made) or os.path.getmtime(made) < needed:
            compile_all([source], output_dir=output_dir, depends=depends, **options)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(one, *pair) for pair in zip(sources, objects, strict=True)]:
            done.result()
    return objects


def readme():
    """Return README.md with links that work where the other files are not beside it."""
    source = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]["Source"]
    text = re.sub(r"(!\[[^]]*\]\()(?!\w+:)", rf"\1{source}/raw/main/", Path("README.md").read_text())
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!\w+:|#)", rf"\1{source}/blob/main/", text)


COMPILING, LINKING = build_flags()
setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "asyncloop._core",
            SOURCES,
            depends=[*HEADERS, "setup.py"],
            include_dirs=["src"],
            libraries=["ev"],
            extra_compile_args=COMPILING,
            extra_link_args=LINKING,
        )
    ],
)
