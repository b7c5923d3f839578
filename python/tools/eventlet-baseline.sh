#!/bin/sh
# Writes down what stock eventlet passes of its own tests, on the CPythons found here and each hub; once more for every call,
# a test counts as passed if it ever was. With databases where EVENTLET_DB_TEST_AUTH is set.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
"$here/tools/find-pythons.sh" | while read -r version python; do
    venv=$("$here/tools/stock-venv.sh" "$version" "$python")
    "$here/tools/suite-packages.sh" "$venv/bin/python"
    tests=$("$here/tools/eventlet-tests.sh" "$venv/bin/python")
    for hub in ${HUBS:-epolls poll selects asyncio}; do
        EVENTLET_HUB=$hub "$venv/bin/python" "$here/tools/suite.py" "$venv/bin/python" "$tests" --record \
            --baseline "$here/tests/suite/stock-0.41.3.txt" --name "$version/$hub${EVENTLET_DB_TEST_AUTH:++databases}"
    done
done
