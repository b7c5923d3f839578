#!/bin/sh
# Our eventlet beside stock eventlet, gevent, asyncio and uvloop, on the CPythons of PYTHONS (by default 3.11 and
# 3.13) that this machine has; all figures, or those named.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
mkdir -p "$root/bench/results"
load="$root/target/eventlet-load"
cc -O2 -o "$load" "$root/bench/python/eventlet/load.c"
for version in ${PYTHONS:-3.11 3.13}; do
    found=$(PYTHON=$version "$here/tools/find-pythons.sh") || continue
    venv="$root/.venv-$version"
    "$here/tools/make-venv.sh" "${found#* }" "$venv"
    stock=$("$here/tools/stock-venv.sh" "$version" "${found#* }")
    "$stock/bin/python" -m pip install --quiet --disable-pip-version-check gevent uvloop
    "$venv/bin/python" "$root/bench/python/eventlet/compare.py" "$venv/bin/python" "$stock/bin/python" "$load" \
        "$root/bench/results/python-eventlet-$version.json" "$@"
    # The picture is of the last one, with greenlet's figures if they were taken (bench.sh).
    if [ $# = 0 ]; then
        set -- "$root/bench/results/python-eventlet-$version.json"
        greenlet="$root/bench/results/python-greenlet-$version.json"
        [ ! -e "$greenlet" ] || set -- "$greenlet" "$@"
        "$root/bench/run" plot "$root/docs/bench-python.svg" \
            "greenlet and eventlet on Greenloom beside others" "$@"
        set --
    fi
done
