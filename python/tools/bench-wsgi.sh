#!/bin/sh
# Our WSGI server beside stock eventlet's, bjoern and granian, on the CPythons of PYTHONS (by default 3.13) that this
# machine has; all figures, or those named.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
bench="$root/bench/python/wsgi"
mkdir -p "$root/bench/results" "$root/target"
load="$root/target/eventlet-load"
cc -O2 -o "$load" "$root/bench/python/eventlet/load.c"
for version in ${PYTHONS:-3.13}; do
    found=$(PYTHON=$version "$here/tools/find-pythons.sh") || continue
    venv="$root/.venv-$version"
    "$here/tools/make-venv.sh" "${found#* }" "$venv"
    stock=$("$here/tools/stock-venv.sh" "$version" "${found#* }")
    pip="-m pip install --quiet --disable-pip-version-check"
    for python in "$venv" "$stock"; do
        "$python/bin/python" $pip -r "$bench/frameworks.txt"
    done
    # One by one, so that one which cannot be built leaves the others.
    while read -r peer; do
        "$stock/bin/python" $pip "$peer" >"$root/target/bench-wsgi-pip" 2>&1 && continue
        echo "$peer cannot be installed and is left out; see target/bench-wsgi-pip" >&2
        case $peer in
        bjoern*) echo "bjoern is built with the headers of libev: on Debian, apt install libev-dev" >&2 ;;
        esac
    done <"$bench/requirements.txt"
    "$venv/bin/python" "$bench/compare.py" "$venv/bin/python" "$stock/bin/python" "$load" \
        "$root/bench/results/python-wsgi-$version.json" "$@"
done
