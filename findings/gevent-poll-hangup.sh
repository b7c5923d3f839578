#!/bin/sh
# gevent's select.poll() never reports POLLHUP or POLLERR, and does not wake for them.
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: when the peer of a socket is gone, CPython's poll() says POLLHUP whatever events were asked for. gevent's
# says POLLIN alone if POLLIN was asked for; a descriptor registered with an empty mask or with POLLPRI only is not
# reported at all, and poll() sleeps through its whole timeout. The same holds for POLLERR on a pipe without a reader.
# modify() of a descriptor that was never registered registers it, where CPython raises FileNotFoundError.
#
# Why it surprises: POSIX (poll) says that POLLHUP, POLLERR and POLLNVAL are always reported and that asking for
# them has no effect, so that an empty mask is the usual way to watch for a peer's leaving alone. gevent's documentation
# names one exception (POLLPRI) from "the same as the standard library interface".
#
# Seen (events reported for a socket whose peer closed; for a pipe whose reader closed; for modify):
#                   mask POLLIN        mask 0     pipe, mask POLLOUT   modify of an unknown one
#   plain CPython   POLLIN POLLHUP     POLLHUP    POLLOUT POLLERR      FileNotFoundError
#   gevent 26.9.0   POLLIN             nothing    POLLOUT              registered
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' \
    'zope.interface==8.7'

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "gevent":
    # Only select: gevent's own os.close() would put off the closes that this is about.
    from gevent import monkey

    monkey.patch_select()
import os
import select
import socket

NAMES = {getattr(select, name): name for name in ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL")}


def reported(descriptor, mask):
    poll = select.poll()
    poll.register(descriptor, mask)
    events = [events for _descriptor, events in poll.poll(200)]
    return " ".join(name for bit, name in NAMES.items() if events and events[0] & bit) or "nothing"


def peer_closed(mask):
    ours, theirs = socket.socketpair()
    theirs.close()
    return reported(ours, mask)


def reader_closed(mask):
    reader, writer = os.pipe()
    os.close(reader)
    return reported(writer, mask)


def modify_unknown():
    try:
        select.poll().modify(0, select.POLLIN)
    except FileNotFoundError as error:
        return type(error).__name__
    return "registered"


seen = [peer_closed(select.POLLIN), peer_closed(0), reader_closed(select.POLLOUT), modify_unknown()]
print("%-7s" % sys.argv[1], "; ".join(seen))
if seen != sys.argv[2:]:
    sys.exit("changed: expected %r" % sys.argv[2:])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain 'POLLIN POLLHUP' POLLHUP 'POLLOUT POLLERR' FileNotFoundError
"$tmp/venv/bin/python" "$tmp/probe.py" gevent POLLIN nothing POLLOUT registered
