#!/bin/sh
# bootstrap.sh PYTHON VENV - a virtual environment for work on asyncloop, on a machine that has only Python.
#
# What a build needs and is missing (a C compiler, Python's headers, venv, libev) is installed by the system's package
# manager if we may use it: as root or by a sudo that asks no password. Otherwise one line says what to install.
set -eu
python=$1
venv=$2

command -v "$python" >/dev/null || { echo "no $python here: install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "asyncloop needs Python 3.11 or newer, $python is $("$python" -V): say make PYTHON=..." >&2
    exit 1
}
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')

# The names of a package manager's packages for what this machine does not have.
missing() { # compiler headers venv libev
    cc=${CC:-cc}
    $cc --version >/dev/null 2>&1 || echo "$1"
    test -e "$headers/Python.h" || echo "$2"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$3"
    if [ -n "${LIBEV_PREFIX:-}" ]; then
        return # setup.py has a word to say if it is not there
    fi
    for place in "${CPATH:-}" /usr/include /usr/include/libev /usr/local/include /opt/homebrew/include /opt/local/include; do
        test -e "$place/ev.h" && return
    done
    echo "$4"
}

as_root=impossible
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
fi

if command -v apt-get >/dev/null; then
    install="apt-get install -y --no-install-recommends"
    packages=$(missing build-essential "python$minor-dev" "python$minor-venv" libev-dev)
elif command -v dnf >/dev/null; then
    install="dnf install -y"
    case $(/usr/bin/python3 -V 2>/dev/null) in # the system's own has no number in the names of its packages
        "Python $minor."*) packages=$(missing gcc python3-devel python3 libev-devel) ;;
        *) packages=$(missing gcc "python$minor-devel" "python$minor" libev-devel) ;;
    esac
elif command -v brew >/dev/null; then
    install="brew install"
    packages=$(missing gcc "python@$minor" "python@$minor" libev)
    as_root= # brew refuses to be root
else
    install="install"
    packages=$(missing "a C compiler," "Python's headers," "Python's venv and ensurepip," "libev 4.33 or newer")
    as_root=impossible
fi
packages=$(echo $packages) # in one line

if [ -n "$packages" ]; then
    if [ "$as_root" = impossible ]; then
        echo "asyncloop cannot be built without what is missing here. As root, please: $install $packages" >&2
        exit 1
    fi
    echo "+ $as_root $install $packages"
    case $install in
        apt-get*) $as_root apt-get update -q || true ;; # a new machine has no lists; a stale mirror need not stop us
    esac
    $as_root env DEBIAN_FRONTEND=noninteractive $install $packages
fi

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --upgrade pip # groups in pyproject.toml need pip 25.1
