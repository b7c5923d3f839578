#!/bin/sh
# Names in Python that nothing defines: a line that hardly ever runs shows no such mistake in a test.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv="$root/target/check-names"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check ruff==0.17.6
"$venv/bin/ruff" check --no-cache --quiet "$root"
