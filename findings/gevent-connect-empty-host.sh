#!/bin/sh
# gevent's connect(("", port)) is a name that is not found, where bind(("", port)) is every address.
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: for CPython's sockets "" is INADDR_ANY in every address, so that connect(("", port)) reaches a server of
# this machine; Linux takes it for the loopback address. A patched program gets gaierror (EAI_NONAME) from connect and
# connect_ex. Its bind, sendto and gethostbyname take "" as CPython's do.
#
# Why it surprises: programs take the host of a server's own address, often "", for its clients, too. gevent looks names
# up itself before it connects, and gives "" to getaddrinfo, for which it is no name.
#
# Seen:
#   plain   connected
#   gevent  gaierror -2
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

listener = socket.socket()
listener.bind(("", 0))
listener.listen()
client = socket.socket()
try:
    client.connect(("", listener.getsockname()[1]))
    seen = "connected"
except socket.gaierror as error:
    seen = "gaierror %d" % error.errno
print("%-7s %s" % (sys.argv[1], seen))
if seen != sys.argv[2]:
    sys.exit("changed: expected " + sys.argv[2])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain connected
"$tmp/venv/bin/python" "$tmp/probe.py" gevent 'gaierror -2'
