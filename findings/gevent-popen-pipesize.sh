#!/bin/sh
# gevent's Popen takes `pipesize` and makes pipes of the default size.
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: subprocess.Popen(..., stdin=PIPE, pipesize=N) of a patched program raises nothing, and its pipe has the
# system's default size. CPython (3.10 and later, on Linux) sets the size by F_SETPIPE_SZ.
#
# Why it surprises: the keyword is in the signature, so it looks supported. A program that relies on a pipe that holds
# its whole message, to write it without a reader, blocks.
#
# Seen, for pipesize=131072:
#   plain CPython   131072
#   gevent 26.9.0   65536
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
import fcntl
import subprocess

child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=131072)
size = fcntl.fcntl(child.stdin, fcntl.F_GETPIPE_SZ)
child.communicate()
print("%-7s %d" % (sys.argv[1], size))
if size != int(sys.argv[2]):
    sys.exit("changed: expected " + sys.argv[2])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain 131072
"$tmp/venv/bin/python" "$tmp/probe.py" gevent 65536
