#!/bin/sh
# stock-venv.sh VERSION PYTHON: makes a virtual environment with stock eventlet, greenlet and amqp; prints its folder.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv="$root/target/stock-eventlet-$1"
[ -x "$venv/bin/python" ] || "$2" -m venv "$venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check eventlet==0.41.3 greenlet==3.5.6 amqp==5.4.2 >&2
echo "$venv"
