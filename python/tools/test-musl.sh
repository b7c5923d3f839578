#!/bin/sh
# test-musl.sh: our tests of greenlets, greenlet's own, and our tests of eventlet, with the wheel for musl and CPython
# 3.14 in dist/ (make wheels).
#
# No package of Debian has a CPython for musl. freeze-core, the part of cx_Freeze that is a program with a CPython in
# it, comes as a wheel for musl; musl and the standard library are those of the clean root of Debian unstable.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
cd "$(dirname "$(dirname "$tools")")"
version=3.14
machine=$(uname -m)
work=target/test-musl/$version
in_root() { "$tools/clean-root.sh" unstable "$(dpkg --print-architecture)" "3.14 3.15" "$@"; }
in_root test -e "/lib/ld-musl-$machine.so.1" || { echo "remove target/clean-roots/unstable-*: no musl" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"

into() {
    folder=$1
    shift
    python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --no-compile \
        --platform "musllinux_1_2_$machine" --python-version "$version" --implementation cp --only-binary :all: \
        --target "$folder" "$@"
}
into "$work/packages" --no-index --no-deps --find-links dist greenloom
into "$work/packages" dnspython objgraph psutil
into "$work/stock" --no-deps greenlet==3.5.6
into "$work/freeze" --no-deps freeze-core==0.8.1

# The program, and the folder beside it where it looks for all it needs.
lib=$work/lib
in_root cp -r "/usr/lib/python$version" "/src/$lib"
cp "$work/freeze/freeze_core/lib/"* "$work/freeze/freeze_core.libs/"* "$tools/musl/__init__python.py" "$lib"
cp "$work/freeze/freeze_core/bases/console-"* "$work/python"
chmod +x "$work/python"
echo 'build_time_vars = {}' >"$lib/_sysconfigdata__linux_$machine-linux-musl.py"
# No zlib for musl is to be had. Its module binascii wants one function of it; its module zlib, more.
rm "$lib"/zlib.*.so
target/wheel-tools/bin/python -m ziglang cc -target "$machine-linux-musl" -shared -O2 \
    -o "$lib/libz.so.1" "$tools/musl/crc32.c"

python=/src/$work/python packages=/src/$work/packages
drop_in=$packages/greenloom/drop_in
failed=
# run FOLDER PYTHONPATH MODULE...
run() {
    folder=$1 path=$2
    shift 2
    in_root env GREENLET_SKIP_LEAKCHECKS=1 GREENLOOM_STOCK_GREENLET="/src/$work/stock" PYTHONPATH="$path:$packages" \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$folder" "$python" -m unittest --buffer "$@" || failed="$failed $1"
}
echo "the tests of greenlet 3.5.6, CPython $version for musl:"
modules=$(cd "$work/stock/greenlet/tests" && ls test_*.py | sed 's/\.py$//; s/^/greenlet.tests./')
run /tmp "/src/python/tests/stock:$drop_in" $modules
echo "our tests, CPython $version for musl:"
# Not what a greenlet costs: it is a page more with this program, which another compiler made than other CPythons.
run /src/python/tests "$drop_in" test_garbage test_greenlets test_stacks.Size \
    test_stacks.Memory.test_stacks_are_used_again test_stress test_deep
echo "our tests of eventlet, CPython $version for musl:"
for module in blocking dns fairness files fork frames http os pool pools queue select signals sockets ssl subprocess \
    sync thread_end threading timeouts tpool wsgi wsgi_overrides wsgi_rules; do
    echo "test_$module"
    run /src/python/tests/eventlet "$drop_in:/src/python/tests" "test_$module"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
