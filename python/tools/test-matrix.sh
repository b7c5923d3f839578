#!/bin/sh
# eventlet's own tests and ours on every CPython found here, on every hub, and once with databases. About an hour on
# two cores. DEBIAN=1 adds what `make test-debian` runs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
failed=
for version in 3.10 3.11 3.12 3.13 3.14 3.15; do
    [ -z "${PYTHON:-}" ] || [ "$PYTHON" = "$version" ] || continue
    found=$(PYTHON=$version "$here/tools/find-pythons.sh" 2>/dev/null) || continue
    venv="$root/.venv-$version"
    "$here/tools/make-venv.sh" "${found#* }" "$venv"
    "$here/tools/test-eventlet.sh" "$version" "$venv" epolls poll selects asyncio || failed="$failed $version"
    "$here/tools/databases.sh" "$here/tools/test-eventlet.sh" "$version" "$venv" epolls ||
        failed="$failed $version+databases"
done
[ -z "${DEBIAN:-}" ] || make -C "$root" test-debian || failed="$failed Debian"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
