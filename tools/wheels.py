"""wheels.py PYTHON...: the source distribution, a wheel for each interpreter with libev inside, and proof that it runs

Everything is left in dist/. libev is built from its release (build-libev), the wheels from the source distribution;
finish_wheel.py adds what must go with libev. Each wheel is then installed into an empty environment. The tests that a
published wheel has to pass run there, and the main example, while this machine's libev is out of sight: in a mount
namespace of its own, which takes root or unprivileged user namespaces. Exit status 1 at the first failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]

# Runs its arguments where no libev is to be found by the dynamic loader.
WITHOUT_LIBEV = """
set -eu
ldconfig=$(command -v ldconfig || echo /sbin/ldconfig)
for library in $("$ldconfig" -p | sed -n 's/.*libev\\.so.* => //p'); do
    mount --bind /dev/null "$(realpath "$library")"
done
"$1" -c '
import ctypes
try:
    ctypes.CDLL("libev.so.4")
except OSError:
    pass
else:
    raise SystemExit("libev is still there")'
exec "$@"
"""


def run(*command, **options):
    """Run a command, which must succeed."""
    print("+", *map(str, command), flush=True)
    return subprocess.run([str(part) for part in command], check=True, **options)


def environment(python, place):
    """Make an empty virtual environment; return its interpreter."""
    run(python, "-m", "venv", place)
    inside = place / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", "--upgrade", "pip")
    return inside


def build_sdist():
    run(sys.executable, "-m", "build", "-q", "--sdist", "--outdir", DIST, ROOT)
    (sdist,) = DIST.glob("*.tar.gz")
    return sdist


def build_wheel(python, sdist, prefix, work):
    """Return the wheel that `python` makes of the source distribution, with the libev of `prefix` inside."""
    inside = environment(python, work / "build")
    raw = work / "raw"
    with_libev = os.environ | {"LIBEV_PREFIX": str(prefix)}
    run(inside, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", raw, sdist, env=with_libev)
    (wheel,) = raw.glob("*.whl")
    before = set(DIST.glob("*.whl"))
    run(sys.executable, ROOT / "tools" / "finish_wheel.py", prefix, wheel, DIST)
    (finished,) = set(DIST.glob("*.whl")) - before
    return finished


def try_wheel(python, wheel, work):
    """Install the wheel where there is nothing else; run the tests and the example without this machine's libev."""
    inside = environment(python, work / "empty")
    run(inside, "-m", "pip", "install", "-q", "--only-binary", ":all:", wheel)
    for group in (*SETTINGS["test-groups"], "examples"):
        run(inside, "-m", "pip", "install", "-q", "--group", f"{ROOT / 'pyproject.toml'}:{group}", cwd=work)
    for name in (*SETTINGS["test-sources"], "examples"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, work / name)
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    alone = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    tests = SETTINGS["test-command"].removeprefix("python ").split()
    for program in (tests, ["examples/fetch.py"]):
        run(*namespace, "sh", "-c", WITHOUT_LIBEV, "sh", inside, *program, cwd=work, env=alone)


def main():
    pythons = sys.argv[1:]
    if not pythons:
        sys.exit(__doc__)
    shutil.rmtree(DIST, ignore_errors=True)
    sdist = build_sdist()
    made = []
    with tempfile.TemporaryDirectory() as prefix:
        run(ROOT / "tools" / "build-libev", prefix)
        for python in pythons:
            with tempfile.TemporaryDirectory() as place:
                wheel = build_wheel(python, sdist, Path(prefix), Path(place))
                try_wheel(python, wheel, Path(place))
                made.append(wheel)
    print("\nIn dist/, each installed and tested without libev on the machine:")
    for path in (sdist, *made):
        print(f"    {path.name}  {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as exc:
        sys.exit(f"failed, with exit status {exc.returncode}: {' '.join(exc.cmd)}")
