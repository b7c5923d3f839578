#!/bin/sh
# bench-hooks.sh [TURNS [PART...]]: C libraries with hooks beside stock eventlet's and PyMySQL, and synchronous crates
# beside asynchronous ones; on the CPython of PYTHON (by default 3.13), with the servers of
# tests/synchronous_crates/servers.sh run. Raw figures: bench/results/, or RESULTS.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
: "${GREENLOOM_SERVERS:?run it through tests/synchronous_crates/servers.sh run}"
found=$(PYTHON=${PYTHON:-3.13} "$here/tools/find-pythons.sh")
version=${found%% *}
ours="$root/.venv-$version"
"$here/tools/make-venv.sh" "${found#* }" "$ours"
stock=$("$here/tools/stock-venv.sh" "$version" "${found#* }")
for venv in "$ours" "$stock"; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check psycopg2-binary mysqlclient PyMySQL
done
(cd "$root/tests/synchronous_crates" && cargo build --quiet --release --example queries)
"$ours/bin/python" "$root/bench/python/hooks/compare.py" "$ours/bin/python" "$stock/bin/python" \
    "$root/tests/synchronous_crates/target/release/examples/queries" \
    "${RESULTS:-$root/bench/results/python-hooks-$version.json}" "$@"
