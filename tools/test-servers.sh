#!/bin/sh
# test-servers.sh - the programs that tests/clients starts as peers, on a machine where we may install them.
#
# Only as root with apt-get, as on a new machine or in a container; elsewhere one line says what the tests will do
# without. None of them is left running: what the tests need they start themselves.
set -eu
missing=
for pair in curl:curl nginx:nginx-light openssl:openssl redis-server:redis-server socat:socat; do
    command -v "${pair%:*}" >/dev/null || [ -x "/usr/sbin/${pair%:*}" ] || missing="$missing ${pair#*:}"
done
[ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || command -v initdb >/dev/null || missing="$missing postgresql"
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
# shellcheck disable=SC2086 # words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    echo "that failed, so some tests of real peers are skipped"
