#!/bin/sh
# test-wheels.sh: installs greenloom from the index in dist/ (make wheels) in clean roots of Debian, without a compiler,
# and uses it there: in a virtual environment, and in Debian's own Python, which is externally managed. 64-bit ARM runs
# where qemu is installed.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$(dirname "$tools")")"
[ -d dist/simple/greenloom ] || { echo "dist/ has no index: make wheels" >&2; exit 1; }

native=$(dpkg --print-architecture)
roots="bookworm:$native:3.11 unstable:$native:3.14+3.15"
[ "$native" = arm64 ] || ! command -v qemu-aarch64-static >/dev/null || roots="$roots unstable:arm64:3.14+3.15"
for root in $roots; do
    IFS=: read -r suite architecture versions <<EOT
$root
EOT
    versions=$(echo "$versions" | tr + ' ')
    for version in $versions; do
        echo "--- Debian $suite, $architecture, CPython $version"
        "$tools/clean-root.sh" "$suite" "$architecture" "$versions" sh /src/python/tools/use-wheel.sh "python$version"
    done
done
