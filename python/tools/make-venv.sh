#!/bin/sh
# make-venv.sh PYTHON FOLDER: a virtual environment with greenloom, greenlet, eventlet and amqp from this tree.
set -eu
python=$1
venv=$2
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
venv=$(cd "$venv" && pwd)
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.2,<2' 'setuptools>=77' wheel
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# A target folder for each version: they would throw each other's objects out of a shared one.
(cd "$here/greenloom" && CARGO_TARGET_DIR="$root/target/python-$version" VIRTUAL_ENV="$venv" \
    "$venv/bin/maturin" build --quiet --release --interpreter "$venv/bin/python" --out "$wheels")
for package in greenlet eventlet amqp; do
    "$venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --wheel-dir "$wheels" "$here/$package"
    rm -rf "$here/$package/build" "$here/$package/$package.egg-info"
done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'dnspython>=1.15.0' 'vine>=5,<6'
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
