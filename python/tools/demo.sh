#!/bin/sh
# The router agent on our eventlet, and beside it on stock eventlet where that can be had. Arguments go to the agent.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
found=$(PYTHON="${PYTHON:-}" "$here/tools/find-pythons.sh" | tail -n 1)
[ -n "$found" ] || { echo "no supported CPython (3.10 to 3.15) with headers was found" >&2; exit 1; }
version=${found%% *}
venv="$root/.venv-$version"
"$here/tools/make-venv.sh" "${found#* }" "$venv"
stock=$("$here/tools/stock-venv.sh" "$version" "${found#* }") || stock=
exec "$venv/bin/python" "$here/tools/demo.py" "$venv/bin/python" ${stock:+"$stock/bin/python"} "$@"
