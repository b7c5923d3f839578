#!/bin/sh
# Our greenlet beside stock greenlet, on the supported CPythons of PYTHONS (by default 3.11 and 3.13) that this
# machine has.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
mkdir -p "$root/bench/results"
for version in ${PYTHONS:-3.11 3.13}; do
    found=$(PYTHON=$version "$here/tools/find-pythons.sh") || continue
    venv="$root/.venv-$version"
    "$here/tools/make-venv.sh" "${found#* }" "$venv"
    stock="$root/target/stock-greenlet-$version"
    [ -d "$stock/greenlet" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --only-binary :all: --target "$stock" greenlet==3.5.6
    "$venv/bin/python" "$root/bench/python/compare.py" "$venv/bin/python" "$stock" \
        "$root/bench/results/python-greenlet-$version.json"
done
