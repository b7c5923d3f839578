#!/bin/sh
# bench-base.sh REVISION [ROW...]: this tree's greenlet and eventlet beside those of an earlier revision, which is built
# in target/base-REVISION, on the CPython of PYTHON (by default 3.13).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
revision=$(git -C "$root" rev-parse --short "${1:?which revision? make bench-base BASE=main}^{commit}")
shift
found=$(PYTHON=${PYTHON:-3.13} "$here/tools/find-pythons.sh")
version=${found%% *}
base="$root/target/base-$revision"
if [ ! -x "$base/.venv-$version/bin/python" ]; then
    mkdir -p "$base"
    git -C "$root" archive "$revision" | tar -x -C "$base"
    "$base/python/tools/make-venv.sh" "${found#* }" "$base/.venv-$version"
    rm -rf "$base/target"
fi
"$here/tools/make-venv.sh" "${found#* }" "$root/.venv-$version"
"$root/.venv-$version/bin/python" "$root/bench/python/eventlet/base.py" "$root/.venv-$version/bin/python" \
    "$base/.venv-$version/bin/python" "$@"
