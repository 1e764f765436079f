"""The C files of src/base, src/sys and tls/records.c by themselves: without the module, a loop or a user.

Each program goes through random inputs, the same each time, and checks a property of all of them. They are compiled
with AddressSanitizer and UndefinedBehaviorSanitizer where the compiler has them: then reading one byte too far is seen.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-UNDEBUG", "-DAL_DEBUG", "-fvisibility=default"]
INCLUDES = [
    f"-I{folder}" for folder in (SRC, HERE, *{sysconfig.get_path("include"), sysconfig.get_path("platinclude")})
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]

# Programs that need no Python, with the files of src/ that they test.
PROGRAMS = {"list.c": [], "grow.c": ["base/grow.c"], "records.c": ["tls/records.c"], "sock.c": ["sys/sock.c"]}

# Programs in Python, which call the functions of these files.
SCRIPTS = ["args.py", "chunks.py", "sockaddr.py", "addr_cache.py"]
CALLED = [f"base/{name}.c" for name in ("args", "check", "chunks", "grow")] + ["sys/sockaddr.c", "sys/addr_cache.c"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sizes of addresses are those of Linux")


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    """compiler(name, *sources and flags) compiles and links; compiler.sanitizers are the libraries to preload."""
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("c")

    def compiler(name, *arguments):
        path = folder / name
        flags = SANITIZE if compiler.sanitizers else []
        command = [cc, *FLAGS, *flags, *INCLUDES, *map(str, arguments), "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "warnings"
        return path

    compiler.sanitizers = find_sanitizers(cc, folder)
    return compiler


def find_sanitizers(cc, folder):
    """The paths of the libraries, [] where a program that is compiled with them cannot be linked or run."""
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    done = subprocess.run([cc, *SANITIZE, probe, "-o", folder / "probe"], capture_output=True)
    if done.returncode != 0 or subprocess.run([folder / "probe"], capture_output=True).returncode != 0:
        return []
    names = ["libasan.so", "libubsan.so"]
    found = [subprocess.check_output([cc, f"-print-file-name={name}"], text=True).strip() for name in names]
    return found if all(map(os.path.isabs, found)) else []


def passes(*command, preload=()):
    environment = os.environ | {
        "ASAN_OPTIONS": "detect_leaks=0",  # the programs count what they allocate
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # each block is one of the sanitizer's
        "PYTHONUTF8": "1",
    }
    if preload:
        environment["LD_PRELOAD"] = ":".join(preload)
    else:
        environment.pop("LD_PRELOAD", None)
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(compiler, tmp_path, name):
    program = compiler(Path(name).stem, HERE / name, *(SRC / source for source in PROGRAMS[name]))
    passes(program, tmp_path)


@pytest.fixture(scope="module")
def library(compiler):
    return compiler("library.so", "-shared", "-fPIC", *(SRC / source for source in CALLED))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(compiler, library, name):
    passes(sys.executable, HERE / name, library, preload=compiler.sanitizers)
