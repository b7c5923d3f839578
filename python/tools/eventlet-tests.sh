#!/bin/sh
# eventlet-tests.sh PYTHON: prints a folder that has nothing but eventlet's own tests, from its sdist: an `eventlet`
# beside them would be imported instead of the one that is installed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
version=0.41.3
folder="$root/target/eventlet-$version-tests"
if [ ! -d "$folder/tests" ]; then
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    "$1" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary eventlet \
        --dest "$unpacked" "eventlet==$version" >&2
    tar -xzf "$unpacked/eventlet-$version.tar.gz" -C "$unpacked"
    mkdir -p "$folder"
    mv "$unpacked/eventlet-$version/tests" "$folder/tests"
fi
echo "$folder"
