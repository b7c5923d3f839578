#!/bin/sh
# test-aarch64.sh: our tests of greenlets, and greenlet's own, for 64-bit ARM, on the CPython of Debian unstable under
# qemu's emulation of a process, with the wheel in WHEELS, or else in dist/ (make wheels MACHINES=aarch64 PYTHON=3.14).
# PYTHON=3.15 takes that one.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$(dirname "$tools")")"
version=${PYTHON:-3.14}
wheels=${WHEELS:-dist}
work=target/test-aarch64/$version
rm -rf "$work"
mkdir -p "$work"

# pip takes minutes under emulation, so this machine's installs.
into() {
    folder=$1
    shift
    python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --no-compile \
        --platform manylinux_2_17_aarch64 --platform manylinux_2_28_aarch64 --python-version "$version" \
        --implementation cp --only-binary :all: --target "$folder" "$@"
}
into "$work/packages" --no-index --no-deps --find-links "$wheels" greenloom
into "$work/packages" dnspython objgraph psutil
into "$work/stock" --no-deps greenlet==3.5.6

# Those of what is compiled. Not test_layout, which needs a compiler, nor what looks at the memory of a process from
# outside, which is qemu's: test_profilers, and what a greenlet costs. Nor crowds of stacks: qemu knows no guards but
# those made by mprotect, each of which is a mapping, and a process may have 65,530 (vm.max_map_count).
size="test_stacks.Size.test_it_can_be_set_from_inside test_stacks.Size.test_it_can_be_set_by_the_environment"
ours="test_garbage test_greenlets $size test_stacks.Memory.test_stacks_are_used_again test_stress test_deep"
in_root() {
    "$tools/clean-root.sh" unstable arm64 "3.14 3.15" env GREENLET_SKIP_LEAKCHECKS=1 \
        GREENLOOM_STOCK_GREENLET="/src/$work/stock" "$@"
}
packages=/src/$work/packages
drop_in=$packages/greenloom/drop_in
failed=
echo "the tests of greenlet 3.5.6, CPython $version:"
modules=$(cd "$work/stock/greenlet/tests" && ls test_*.py | sed 's/\.py$//; s/^/greenlet.tests./' | tr '\n' ' ')
in_root GREENLOOM_PATIENCE=10 PYTHONPATH="/src/python/tests/stock:$drop_in:$packages" sh -c \
    "cd /tmp && python$version -m unittest --buffer $modules" || failed="$failed greenlet's"
echo "our tests, CPython $version:"
in_root PYTHONPATH="$drop_in:$packages" sh -c \
    "cd /src/python/tests && python$version -m unittest --buffer $ours" || failed="$failed ours"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
