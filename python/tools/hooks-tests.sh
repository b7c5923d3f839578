#!/bin/sh
# hooks-tests.sh VENV [calls]: C code that blocks, on green threads: with an extension module made for it, and with real
# libraries and servers. VENV has ours. The servers are those of tests/synchronous_crates/servers.sh, and of
# crates/rpc/tests/rabbitmq/broker.sh: run this under both. With `calls` only what needs neither. What builds the
# libraries is installed where it is missing: Debian's packages.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=$1/bin/python
cd "$here/tests/native"
export PYTHONPATH="$here/tests"
if [ "${2:-}" = calls ]; then
    exec "$python" -m unittest --buffer test_calls test_every_call test_hubs test_locks test_signals
fi

missing() {
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists libmariadb 2>/dev/null || echo libmariadb-dev
    [ -e /usr/include/ldap.h ] || echo libldap-dev
    [ -e /usr/include/sasl/sasl.h ] || echo libsasl2-dev
    [ -e /usr/include/sql.h ] || echo unixodbc-dev
    grep -qs 'PostgreSQL Unicode' /etc/odbcinst.ini || echo odbc-postgresql
    [ -x /usr/sbin/slapd ] || echo slapd
    /sbin/ldconfig -p | grep -q libhiredis || echo libhiredis-dev
}
packages=$(missing)
# shellcheck disable=SC2086
[ -z "$packages" ] || "$here/../tools/apt-install.sh" $packages

"$python" -m pip install --quiet --disable-pip-version-check psycopg2-binary 'psycopg[binary]' mysqlclient \
    pyodbc python-ldap pyzmq pycurl redis hiredis
# The original was last released in 2018, and does not build with CPython 3.11 and later. This has a few wheels.
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: 'librabbitmq-fork>=2.0.2.dev3' ||
    echo "no wheel of librabbitmq-fork for this CPython: its tests will skip" >&2
exec "$python" -m unittest --buffer
