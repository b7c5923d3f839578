#!/bin/sh
# Shows unmodified packages that stand on greenlet running on ours: gevent, SQLAlchemy with aiosqlite, stock eventlet.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
PYTHON=${PYTHON:-3.11}
found=$(PYTHON=$PYTHON "$here/tools/find-pythons.sh")
venv="$root/target/dependents-${found%% *}"
"$here/tools/make-venv.sh" "${found#* }" "$venv"
# Ours is installed, so the resolver has to find that it satisfies what they ask for.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check gevent sqlalchemy aiosqlite eventlet
"$venv/bin/python" -m pip check --disable-pip-version-check
for program in gevent_server sqlalchemy_asyncio stock_eventlet; do
    "$venv/bin/python" "$here/tests/dependents/$program.py"
done
