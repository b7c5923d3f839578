#!/bin/sh
# gevent's and eventlet's sockets do not keep SO_RCVTIMEO.
#
# Versions: gevent 26.9.0, eventlet 0.41.3; CPython without them for comparison.
#
# Behaviour: setsockopt(SOL_SOCKET, SO_RCVTIMEO, 0.1 s) succeeds, and getsockopt tells it again. recv() on a socket
# without a timeout of its own then raises BlockingIOError after that time with CPython. In a patched program it waits
# for as long as nothing comes.
#
# Why it surprises: the option is how C programs, and Python programs that share a socket with them, limit a wait; it
# is taken without a word. The system applies it only to calls that wait in the system, and these wait in a hub.
#
# Seen, with a peer that sends after 0.4 s:
#   plain     BlockingIOError
#   gevent    b'late'
#   eventlet  b'late'
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' \
    'zope.interface==8.7' 'eventlet==0.41.3' 'dnspython==2.9.2'

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
import socket
import struct
import threading

one, other = socket.socketpair()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 100_000))
threading.Timer(0.4, lambda: other.send(b"late")).start()
try:
    seen = repr(one.recv(10))
except BlockingIOError as error:
    seen = type(error).__name__
print("%-9s %s" % (sys.argv[1], seen))
if seen != sys.argv[2]:
    sys.exit("changed: expected " + sys.argv[2])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain BlockingIOError
"$tmp/venv/bin/python" "$tmp/probe.py" gevent "b'late'"
"$tmp/venv/bin/python" "$tmp/probe.py" eventlet "b'late'" 2>/dev/null
