#!/bin/sh
# suite-packages.sh PYTHON: installs what eventlet's own tests use; with databases (EVENTLET_DB_TEST_AUTH is set) MySQLdb too,
# which is built against the client library. As root, Debian's is installed where it is absent.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
"$1" -m pip install --quiet --disable-pip-version-check -r "$here/tests/suite/requirements.txt"
[ -n "${EVENTLET_DB_TEST_AUTH:-}" ] || exit 0
pkg-config --exists libmariadb 2>/dev/null || pkg-config --exists mysqlclient 2>/dev/null || [ "$(id -u)" != 0 ] ||
    apt-get install -y default-libmysqlclient-dev pkg-config >/dev/null
"$1" -m pip install --quiet --disable-pip-version-check mysqlclient==2.3.2
