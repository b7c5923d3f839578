#!/bin/sh
# From CPython 3.13 on, Thread.join(timeout) of a thread that still runs raises under eventlet, and not even an
# Exception.
#
# Versions: eventlet 0.41.3, greenlet 3.5.6, on CPython 3.12 and 3.13; CPython 3.13 without eventlet for comparison.
# Needs both, as python3.12 and python3.13.
#
# Behaviour: after monkey_patch(), thread.join(0.1) of a thread that goes on raises eventlet.timeout.Timeout, which
# derives from BaseException. On CPython 3.12, and on 3.13 without eventlet, it returns, and is_alive() is True.
#
# Why it surprises: the manual says that join() with a timeout returns None in any case, and that is_alive() tells. No
# `except Exception` catches the Timeout, so a program that asks its workers to end and waits a while for each ends
# itself at the first one that is late.
#
# Seen:
#   CPython 3.13                    returned, is_alive() True
#   CPython 3.12, eventlet 0.41.3   returned, is_alive() True
#   CPython 3.13, eventlet 0.41.3   Timeout, no Exception
set -eu
for version in 3.12 3.13; do
    command -v "python$version" >/dev/null || { echo "needs python$version" >&2; exit 2; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
import threading
import time

thread = threading.Thread(target=time.sleep, args=(1,), daemon=True)
thread.start()
try:
    thread.join(0.1)
except BaseException as error:
    found = "%s, %s" % (type(error).__name__, "an Exception" if isinstance(error, Exception) else "no Exception")
else:
    found = "returned, is_alive() %s" % thread.is_alive()
print("%d.%d %-8s %s" % (*sys.version_info[:2], sys.argv[1], found))
if found != sys.argv[2]:
    sys.exit("changed: expected " + sys.argv[2])
PY
for version in 3.12 3.13; do
    "python$version" -m venv "$tmp/$version"
    "$tmp/$version/bin/pip" install -q --disable-pip-version-check 'eventlet==0.41.3' 'greenlet==3.5.6' \
        'dnspython==2.8.0'
done
"$tmp/3.13/bin/python" "$tmp/probe.py" plain 'returned, is_alive() True'
"$tmp/3.12/bin/python" -W ignore "$tmp/probe.py" eventlet 'returned, is_alive() True'
"$tmp/3.13/bin/python" -W ignore "$tmp/probe.py" eventlet 'Timeout, no Exception'
