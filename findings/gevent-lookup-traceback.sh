#!/bin/sh
# A look-up whose error the program catches leaves a traceback on gevent's standard error.
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: socket.gethostbyname(name) raises UnicodeError for a name with an empty label, and the program catches it.
# With gevent the worker of its thread pool that made the look-up prints the traceback first. Of gaierror, the usual
# error of a look-up, it prints nothing.
#
# Why it surprises: the error is handled; what is printed looks like a crash of the server, once for each bad name that
# a client sends.
#
# Seen, as lines on standard error:
#   plain   0
#   gevent  more than 5, among them "Traceback" and "UnicodeError"
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' \
    'zope.interface==8.7'

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
import socket

try:
    socket.gethostbyname("www..example")
except UnicodeError:
    pass
PY
for how in plain gevent; do
    "$tmp/venv/bin/python" "$tmp/probe.py" $how 2>"$tmp/$how"
    echo "$how: $(wc -l <"$tmp/$how") lines"
done
[ ! -s "$tmp/plain" ] || { echo "changed: CPython prints something"; exit 1; }
grep -q Traceback "$tmp/gevent" && grep -q UnicodeError "$tmp/gevent" || { echo "changed: gevent is silent"; exit 1; }
