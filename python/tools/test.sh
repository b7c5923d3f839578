#!/bin/sh
# Runs our tests, greenlet's own, py-amqp's own and eventlet's own on every supported CPython of this machine, or on the
# one that PYTHON names; the first two once more with the JIT, where a CPython has one. greenlet's leak checks take
# minutes, and are for the newest; py-amqp's tests are for the oldest and the newest. What a hub does hardly depends on
# the CPython, so each hub is tried on one of them: the older ones get one hub each, the newest the rest. All hubs on
# all of them is `make test-matrix`.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
stock_version=3.5.6

found=$("$here/tools/find-pythons.sh")
[ -n "$found" ] || { echo "no supported CPython (3.10 to 3.15) with headers was found; nothing is tested" >&2; exit 1; }
echo "CPython found here:"
echo "$found" | sed 's/^/    /'
oldest=$(echo "$found" | head -n 1 | cut -d' ' -f1)
newest=$(echo "$found" | tail -n 1 | cut -d' ' -f1)

rest="poll selects asyncio"
echo "$found" | while read -r version python; do
    echo "--- CPython $version"
    venv="$root/.venv-$version"
    "$here/tools/make-venv.sh" "$python" "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check objgraph psutil py-spy
    stock="$root/target/stock-greenlet-$version"
    [ -d "$stock/greenlet/tests" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --only-binary :all: --target "$stock" "greenlet==$stock_version"
    if [ "$version" = "$newest" ]; then
        beside=$("$here/tools/stock-venv.sh" "$version" "$python")
        "$beside/bin/python" -m pip install --quiet --disable-pip-version-check types-greenlet==3.5.0.20260518
        "$beside/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: gevent==26.9.0 \
            || echo "no gevent for CPython $version; the test of amqp on it is skipped"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check mypy==2.4.1 "pyright[nodejs]==1.1.414" \
            || echo "no type checkers for CPython $version; the tests of the stubs are skipped"
        export GREENLOOM_STOCK_PYTHON="$beside/bin/python"
    fi

    echo "our tests:"
    (cd "$here/tests" && PATH="$venv/bin:$PATH" "$venv/bin/python" -m unittest --buffer)

    echo "the tests of greenlet $stock_version:"
    modules=$(cd "$stock/greenlet/tests" && ls test_*.py | sed 's/\.py$//; s/^/greenlet.tests./')
    [ "$version" = "$newest" ] || export GREENLET_SKIP_LEAKCHECKS=1
    (cd "$root/target" && PYTHONPATH="$here/tests/stock" GREENLOOM_STOCK_GREENLET="$stock" \
        "$venv/bin/python" -m unittest --buffer $modules)
    if "$venv/bin/python" -c 'import sys; sys.exit(not sys._jit.is_available())' 2>/dev/null; then
        echo "both with the JIT:"
        (cd "$here/tests" && PYTHON_JIT=1 "$venv/bin/python" -m unittest --buffer)
        (cd "$root/target" && PYTHONPATH="$here/tests/stock" GREENLOOM_STOCK_GREENLET="$stock" PYTHON_JIT=1 \
            GREENLET_SKIP_LEAKCHECKS=1 "$venv/bin/python" -m unittest --buffer $modules)
    fi
    unset GREENLET_SKIP_LEAKCHECKS
    case $version in "$oldest" | "$newest") "$here/tools/amqp-tests.sh" "$venv" </dev/null ;; esac
    case $version in "$oldest" | "$newest") "$here/tools/hooks-tests.sh" "$venv" calls </dev/null ;; esac

    if [ "$version" = "$newest" ]; then
        hubs="epolls $rest"
        echo "random programs, on OS threads and under monkey_patch():"
        "$venv/bin/python" "$here/tests/differential/differential.py" check </dev/null
    else
        hubs=${rest%% *}
        rest=$(echo "$rest" | cut -s -d' ' -f2-)
    fi
    # Its input is the list of CPythons, which no test may eat.
    "$here/tools/test-eventlet.sh" "$version" "$venv" ${hubs:-epolls} </dev/null
done
