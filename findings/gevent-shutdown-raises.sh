#!/bin/sh
# Under gevent a socket's own shutdown() makes a recv() that waits on it raise EBADF where it returns b"".
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: one thread waits in recv(), another calls shutdown(SHUT_RD) or shutdown(SHUT_RDWR) on the same socket. The
# recv() raises OSError EBADF, "File descriptor was closed in another greenlet", although nothing was closed: the next
# recv() of that socket returns b"". After shutdown(SHUT_WR) the recv() goes on to wait, as without gevent.
#
# Why it surprises: for the system a shutdown for reading is the end of the input, and recv() returns 0, in the thread
# that waits too; so it is with CPython's threads. A server that ends its readers by shutdown(), as socketserver's users
# and connection pools do, sees errors of a closed descriptor in place of a clean end.
#
# Seen:
#   plain CPython   SHUT_RD: b''              SHUT_RDWR: b''              SHUT_WR, then a byte: b'x'   next: b''
#   gevent 26.9.0   SHUT_RD: OSError EBADF    SHUT_RDWR: OSError EBADF    SHUT_WR, then a byte: b'x'   next: b''
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
import errno
import socket
import threading
import time


def received(how, then=b""):
    here, there = socket.socketpair()

    def end():
        time.sleep(0.3)
        here.shutdown(how)
        if then:
            there.sendall(then)

    threading.Thread(target=end).start()
    found = []
    for _ in range(1 if then else 2):
        try:
            found.append(repr(here.recv(1)))
        except OSError as error:
            found.append("OSError " + errno.errorcode[error.errno])
    return found


found = [*received(socket.SHUT_RD), *received(socket.SHUT_RDWR), *received(socket.SHUT_WR, b"x")]
print("%-7s SHUT_RD: %s, then %s; SHUT_RDWR: %s, then %s; SHUT_WR: %s" % (sys.argv[1], *found))
if found != sys.argv[2:]:
    sys.exit("changed: expected %r" % sys.argv[2:])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain "b''" "b''" "b''" "b''" "b'x'"
"$tmp/venv/bin/python" "$tmp/probe.py" gevent 'OSError EBADF' "b''" 'OSError EBADF' "b''" "b'x'"
