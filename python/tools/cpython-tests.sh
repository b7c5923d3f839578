#!/bin/sh
# cpython-tests.sh full|quick: the interpreter's own tests under monkey_patch(). `full` runs every module unpatched,
# under stock eventlet and under ours, and prints the table of docs/cpython-tests.md; MODULES names some, CPYTHON_JOBS
# says how many at a time. `quick` runs a selection under ours alone. Both fail if a test passes only unpatched and is
# not in python/tests/cpython/expected.txt. PYTHON chooses the CPython, which must have its `test` package.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")

with_tests() {
    PYTHON="${PYTHON:-}" "$here/tools/find-pythons.sh" | while read -r version python; do
        "$python" -c 'import test.test_queue' 2>/dev/null && echo "$version $python"
    done | tail -n 1
}

found=$(with_tests)
if [ -z "$found" ]; then
    echo "CPython's own tests: no CPython here has its \`test\` package (Debian: libpython3.X-testsuite)" >&2
    [ "$1" = quick ] && exit 0
    exit 1
fi
version=${found%% *}
venv="$root/.venv-$version"
"$here/tools/make-venv.sh" "${found#* }" "$venv"
results="$root/target/cpython-tests/$version"
tool="$venv/bin/python $here/tools/cpython_tests.py"

if [ "$1" = quick ]; then
    echo "CPython $version's own tests under monkey_patch(), a selection:"
    exec $tool check --quick --jobs 3 --python "$venv/bin/python" --results "$results/quick"
fi

stock=$("$here/tools/stock-venv.sh" "$version" "${found#* }")
jobs="--jobs ${CPYTHON_JOBS:-2}"
echo "unpatched:"
$tool run $jobs --python "$venv/bin/python" --results "$results/unpatched" ${MODULES:-}
echo "under stock eventlet's monkey_patch():"
$tool run $jobs --python "$stock/bin/python" --results "$results/stock" --patch ${MODULES:-}
echo "under ours:"
failed=
$tool check $jobs --python "$venv/bin/python" --results "$results/ours" ${MODULES:-} || failed=1
$tool table --name "$version" "$results/unpatched" "$results/stock" "$results/ours"
[ -z "$failed" ]
