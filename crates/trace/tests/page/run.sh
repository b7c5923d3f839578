#!/bin/sh
# The tests of the page in Chromium, and of the file for Perfetto by Perfetto's own definitions. Chromium is Debian's,
# installed where there is none; the definitions are in an environment of their own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

found=
for browser in chromium-headless-shell chromium google-chrome; do
    if command -v $browser >/dev/null; then found=1; fi
done
[ -n "$found" ] || "$root/tools/apt-install.sh" chromium-headless-shell

venv=$target/page-venv
if [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check perfetto==0.59.1 'protobuf>=6'
    touch "$venv/ready"
fi

cd "$root"
${CARGO:-cargo} build --quiet -p greenloom --example timeline
GREENLOOM_TRACE_FOLDER=$(mktemp -d)
export GREENLOOM_TRACE_FOLDER GREENLOOM_TRACE_EXAMPLE="$target/debug/examples/timeline"
trap 'rm -rf "$GREENLOOM_TRACE_FOLDER"' EXIT
"$venv/bin/python" "$here/test_page.py" "$@"
[ -z "${BENCH:-}" ] || "$venv/bin/python" "$here/time_page.py"
# For the documentation: PICTURE=docs/trace.png make test-page
[ -z "${PICTURE:-}" ] || cp "$GREENLOOM_TRACE_FOLDER/page.png" "$PICTURE"
