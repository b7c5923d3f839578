#!/bin/sh
# test-wheels.sh: installs greenloom from the index in dist/ (make wheels) in clean roots of Debian, without a compiler,
# and uses it there: in a virtual environment, and in Debian's own Python, which is externally managed. Then it tests
# the wheel for musl (test-musl.sh). For 64-bit ARM there is test-aarch64.sh: pip takes minutes under emulation.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$(dirname "$tools")")"
[ -d dist/simple/greenloom ] || { echo "dist/ has no index: make wheels" >&2; exit 1; }

architecture=$(dpkg --print-architecture)
for root in "bookworm 3.11" "unstable 3.14 3.15"; do
    suite=${root%% *} versions=${root#* }
    for version in $versions; do
        echo "--- Debian $suite, CPython $version"
        "$tools/clean-root.sh" "$suite" "$architecture" "$versions" sh /src/python/tools/use-wheel.sh "python$version"
    done
done
echo "--- musl, CPython 3.14"
"$tools/test-musl.sh"
