#!/bin/sh
# test-packages.sh PYTHON - what the tests use besides Python's own packages, on a machine where we may install it.
#
# Programs that tests/clients starts as peers, strace, and PYTHON's own tests, which Debian has in a package of their own.
# Only as root with apt-get, as on a new machine or in a container; elsewhere one line says what the tests will do
# without. No server is left running: what the tests need they start themselves.
set -eu
python=$1
missing=
for pair in curl:curl nginx:nginx-light openssl:openssl redis-server:redis-server socat:socat strace:strace; do
    command -v "${pair%:*}" >/dev/null || [ -x "/usr/sbin/${pair%:*}" ] || missing="$missing ${pair#*:}"
done
[ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || command -v initdb >/dev/null || missing="$missing postgresql"
tests=$("$python" -c '
import importlib.util, sys
if importlib.util.find_spec("test.test_asyncio") is None:
    print("libpython%d.%d-testsuite" % sys.version_info[:2])')
missing="$missing${tests:+ $tests}"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, so their tests are skipped:$missing"
    exit 0
fi
echo "+ apt-get install$missing"
# No package may start its service, and PostgreSQL's none make a database of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
clusters=/etc/postgresql-common/createcluster.conf
if [ ! -e "$clusters" ]; then
    mkdir -p "${clusters%/*}"
    echo "create_main_cluster = false" >"$clusters"
fi
apt-get update -q >/dev/null 2>&1 || true
# One by one: a package that this machine's sources do not have must not keep the others away.
for package in $missing; do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        echo "$package could not be installed, so its tests are skipped"
done
