#!/bin/sh
# gunicorn's gevent worker hangs up on a client that sends its first request slowly, after the keep-alive time.
#
# Version: gunicorn 27.0.1, with gevent 26.9.0.
#
# Behaviour: with default settings, a client that connects and sends its request after 3 s, or sends the head's second
# line 3 s after the first, gets no response: the connection is closed after 2 s, without a 408 and without a line in
# the access or error log. The workers sync and gthread answer both.
#
# Why it surprises: the limit is that of `keepalive`, "the number of seconds to wait for requests on a Keep-Alive
# connection", and its documentation recommends 1 to 5 seconds. A first request is none on a connection that was kept,
# and nothing says that a head must arrive within it. Load balancers that open connections ahead of use, and clients
# behind bad links, see failed requests of which the server knows nothing.
#
# Seen: sync     late request: answered   slow head: answered
#       gthread  late request: answered   slow head: answered
#       gevent   late request: closed     slow head: closed
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'gunicorn==27.0.1' 'gevent==26.9.0' 'packaging==26.4'

cat >"$tmp/app.py" <<'PY'
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PY
cd "$tmp"
"$tmp/venv/bin/python" - <<'PY'
import socket
import subprocess
import sys
import time

STATED = {"sync": "answered", "gthread": "answered", "gevent": "closed"}


def answer(port, first):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(first)
        time.sleep(3)
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[len(first):])
            return "answered" if client.recv(100).startswith(b"HTTP/1.1 200") else "closed"
        except ConnectionError:
            return "closed"


changed = []
for worker, stated in STATED.items():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-k", worker, "-b", "127.0.0.1:%d" % port]
    with open("log", "w") as log:
        master = subprocess.Popen([*command, "app:application"], stdout=log, stderr=log)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(1)
        late, slow = answer(port, b""), answer(port, b"GET / HTTP/1.1\r\n")
    finally:
        master.terminate()
        master.wait()
    print("%-8s late request: %-10s slow head: %s" % (worker, late, slow))
    if (late, slow) != (stated, stated):
        changed.append(worker)
if changed:
    sys.exit("changed: %s" % ", ".join(changed))
PY
