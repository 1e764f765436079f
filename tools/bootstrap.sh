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
else
    install="install by your package manager:"
    packages=$(missing "a C compiler" "Python's headers" "Python's venv and ensurepip" "libev (4.33 or newer)")
fi

if [ -n "$packages" ]; then
    packages=$(echo $packages) # in one line
    sudo=
    case $install in
        brew*) may=yes ;;
        install*) may=no ;;
        *)
            if [ "$(id -u)" = 0 ]; then
                may=yes
            elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
                may=yes sudo="sudo -n"
            else
                may=no sudo=sudo
            fi
            ;;
    esac
    if [ $may = no ]; then
        echo "asyncloop needs some packages that are not here, please run: $sudo $install $packages" >&2
        exit 1
    fi
    echo "$sudo $install $packages"
    case $install in
        apt-get*) $sudo apt-get update -q || true ;; # a new machine has no lists; a stale mirror need not stop us
    esac
    $sudo env DEBIAN_FRONTEND=noninteractive $install $packages
fi

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -q --upgrade pip # groups in pyproject.toml need pip 25.1
