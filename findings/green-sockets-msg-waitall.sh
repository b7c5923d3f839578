#!/bin/sh
# The green sockets of gevent and eventlet return early from recv() with MSG_WAITALL, and say nothing.
#
# Versions: gevent 25.9.1, eventlet 0.41.3.
#
# Behaviour: a blocking socket of the standard library that reads 6 bytes with MSG_WAITALL from a stream waits until 6
# have come. The sockets that take its place in gevent and in eventlet, also without a timeout, return what has come
# first. recv_into() does the same.
#
# Why it surprises: the flag is accepted, and these sockets behave as blocking ones in all else. POSIX (recv) has it
# block until the full amount can be returned. Beneath, the descriptor is non-blocking, and the system ignores the flag
# on those; the wait is the library's, which does not ask for the rest. A protocol that reads a header of a fixed length
# in one call works unpatched, and reads half a header now and then when it is patched.
#
# Seen: plain socket b'abcdef', gevent b'abc', eventlet b'abc'
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check gevent==25.9.1 eventlet==0.41.3

cat > "$tmp/probe.py" <<'PY'
import sys

kind = sys.argv[1]
if kind == "gevent":
    import gevent as lib
    from gevent import socket

    spawn, sleep = lib.spawn, lib.sleep
elif kind == "eventlet":
    import eventlet
    from eventlet.green import socket

    spawn, sleep = eventlet.spawn, eventlet.sleep
else:
    import socket
    import threading
    import time

    sleep = time.sleep

    def spawn(function):
        threading.Thread(target=function).start()


one, other = socket.socketpair()


def send():
    other.sendall(b"abc")
    sleep(0.1)
    other.sendall(b"def")


spawn(send)
print(one.recv(6, socket.MSG_WAITALL))
PY

status=0
for kind in plain gevent eventlet; do
    seen=$("$tmp/venv/bin/python" -W ignore "$tmp/probe.py" "$kind" 2>/dev/null)
    case $kind in plain) expected="b'abcdef'" ;; *) expected="b'abc'" ;; esac
    echo "$kind $seen"
    [ "$seen" = "$expected" ] || { echo "expected $expected" >&2; status=1; }
done
exit "$status"
