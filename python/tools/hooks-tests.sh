#!/bin/sh
# hooks-tests.sh VENV [calls]: C code that blocks, on green threads: with an extension module made for it, and with real
# libraries and servers. VENV has ours. The servers are those of tests/synchronous_crates/servers.sh: run this under it.
# With `calls` only what needs neither.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=$1/bin/python
cd "$here/tests/native"
export PYTHONPATH="$here/tests"
if [ "${2:-}" = calls ]; then
    exec "$python" -m unittest --buffer test_calls
fi
"$python" -m pip install --quiet --disable-pip-version-check psycopg2-binary pycurl
exec "$python" -m unittest --buffer
