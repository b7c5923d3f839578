#!/bin/sh
# use-wheel.sh PYTHON: what test-wheels.sh does in a clean root, whose own PYTHON this is.
set -eu
python=$1
fails() {
    if "$@" 2>"$work/errors"; then
        echo "this worked, and must not: $*" >&2
        exit 1
    fi
    tail -n 1 "$work/errors"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for compiler in cc gcc clang rustc; do fails command -v "$compiler"; done
export HOME="$work/home" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_WARN_SCRIPT_LOCATION=0
index=file:///src/dist/simple
program='
import sys, greenlet, eventlet
assert greenlet.__greenloom__ and eventlet.__greenloom__
from eventlet.green import socket
def serve(listener):
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100).upper())
listener = eventlet.listen(("127.0.0.1", 0))
server = eventlet.spawn(serve, listener)
client = socket.create_connection(listener.getsockname())
client.sendall(b"hello")
assert client.recv(100) == b"HELLO"
server.wait()
print("CPython", sys.version.split()[0], "on", __import__("os").uname().machine, "uses", greenlet.__file__)
'

echo "a virtual environment:"
"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --index-url "$index" greenloom
"$work/env/bin/pip" install --quiet dnspython
"$work/env/bin/greenloom" enable
"$work/env/bin/python" -I -c "$program"
"$work/env/bin/greenloom" disable
fails "$work/env/bin/python" -c 'import greenlet'

echo "the system's Python:"
system="$work/env/bin/pip --python $(command -v "$python")"
# A run that was cut off may have left one.
$system install --quiet --index-url "$index" --break-system-packages --force-reinstall greenloom
$system install --quiet --break-system-packages dnspython
fails "$python" -m greenloom enable
"$python" -m greenloom enable --user
"$python" -c "$program"
"$python" -m greenloom disable --user
fails "$python" -c 'import greenlet'
$system uninstall --quiet --yes --break-system-packages greenloom dnspython
