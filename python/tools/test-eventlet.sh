#!/bin/sh
# test-eventlet.sh VERSION VENV HUB...: our tests of eventlet, and eventlet's own, on each of the hubs. VENV has ours.
# With databases (EVENTLET_DB_TEST_AUTH is set) the baseline is that of stock with databases.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
version=$1
venv=$2
shift 2
"$here/tools/suite-packages.sh" "$venv/bin/python"
stock_tests=$("$here/tools/eventlet-tests.sh" "$venv/bin/python")
results="$root/target/eventlet-results"
mkdir -p "$results"

failed=
for hub in "$@"; do
    run="$version/$hub${EVENTLET_DB_TEST_AUTH:++databases}"
    log="$results/$(echo "$run" | tr / -)"
    echo "our tests of eventlet, $run:"
    EVENTLET_HUB=$hub PYTHONPATH="$here/tests" "$venv/bin/python" "$here/tools/suite.py" "$venv/bin/python" \
        "$here/tests/eventlet" --name "$run" --log "$log-ours.json" || failed="$failed $run-ours"
    echo "eventlet's own tests, $run:"
    EVENTLET_HUB=$hub "$venv/bin/python" "$here/tools/suite.py" "$venv/bin/python" "$stock_tests" \
        --baseline "$here/tests/suite/stock-0.41.3.txt" --on-purpose "$here/tests/suite/different-on-purpose.txt" \
        --name "$run" --log "$log.json" || failed="$failed $run"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
