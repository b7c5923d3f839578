#!/bin/sh
# Under gevent 26.9 a patched os.close() returns with the descriptor still open, and may later close another one.
#
# Versions: gevent 25.5.1 and 26.9.0 (the change is marked as new in 25.8.1); CPython without gevent for comparison.
#
# Behaviour: once a hub exists, the patched os.close() of anything but a regular file only notes the descriptor; the
# real close happens when the event loop next runs. Until then
#   - the other end of a pipe sees no end of file: a non-blocking read says "would block";
#   - the number is not free: os.dup() does not return it;
#   - a descriptor that os.dup2() puts at that number is what the loop then closes.
#
# Why it surprises: POSIX (close, dup, "File Descriptor Allocation") has the number free when close() returns, and the
# lowest free number is what dup() returns; CPython's os.close() promises the same. "close, then dup or open" is the old
# way to redirect a standard stream, and "close the write end, then read what is left" is how pipes are drained. Nothing
# fails at the place of the fault: a later write to a healthy-looking descriptor raises EBADF.
#
# Seen:
#                            plain CPython   gevent 25.5.1   gevent 26.9.0
#   read after close          end of file     end of file     would block
#   dup returns that number   yes             yes             no
#   write after dup2          works           works           EBADF
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
for version in 25.5.1 26.9.0; do
    "$tmp/venv/bin/pip" install -q --disable-pip-version-check --target "$tmp/$version" "gevent==$version" \
        'greenlet==3.5.6' 'zope.event==6.2' 'zope.interface==8.7'
done

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] != "plain":
    sys.path.insert(0, sys.argv[1])
    from gevent import monkey

    monkey.patch_all()
import errno
import os
import time

time.sleep(0)  # under gevent this makes the hub


def read_after_close():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.close(writer)
    try:
        return "end of file" if os.read(reader, 1) == b"" else "data"
    except BlockingIOError:
        return "would block"


def dup_returns_that_number():
    source = os.open(os.devnull, os.O_RDWR)
    freed = os.dup(source)
    os.close(freed)
    return "yes" if os.dup(source) == freed else "no"


def write_after_dup2():
    _reader, writer = os.pipe()
    number = os.dup(writer)
    os.close(number)
    os.dup2(writer, number)
    time.sleep(0.05)  # the loop runs
    try:
        os.write(number, b"x")
        return "works"
    except OSError as error:
        return errno.errorcode[error.errno]


seen = [read_after_close(), dup_returns_that_number(), write_after_dup2()]
print(os.path.basename(sys.argv[1]), "", "; ".join(seen))
if seen != sys.argv[2:]:
    sys.exit("changed: expected %r" % sys.argv[2:])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain 'end of file' yes works
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/25.5.1" 'end of file' yes works
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/26.9.0" 'would block' no EBADF
