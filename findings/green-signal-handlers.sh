#!/bin/sh
# With eventlet's and gevent's threads, a signal handler cannot log, and Ctrl-C can end a thread in the place of the
# program.
#
# Version: eventlet 0.41.3 and gevent 26.8.0, both with greenlet 3.5.6, after their monkey_patch() and patch_all().
#
# Behaviour: a handler that is called while all threads wait runs in the hub, which may not wait. If another thread is
# writing a log record then, so that it holds the lock of the log's handler, logging.info() in the signal handler
# raises: AssertionError with eventlet, BlockingSwitchOutError with gevent. And a KeyboardInterrupt that comes while a
# threading.Thread computes is raised in that thread, where threading takes it for an error of the thread: it calls
# threading.excepthook, and the program goes on.
#
# Why it surprises: on OS threads the handler waits for the lock, both records are written, and Ctrl-C is raised in the
# main thread whichever thread computes. A log record in the handler of SIGTERM is common, and fails only now and then.
#
# Seen: eventlet: handler: AssertionError; in a thread: KeyboardInterrupt; the program goes on
#   gevent: handler: BlockingSwitchOutError; in a thread: KeyboardInterrupt; the program goes on
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check eventlet==0.41.3 gevent==26.8.0 greenlet==3.5.6

cat >"$tmp/program.py" <<'PY'
import sys

if sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
elif sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
import logging
import signal
import threading
import time


class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(0.4)


log = logging.getLogger("program")
log.addHandler(Slow())
log.setLevel(logging.INFO)
said = []


def handle(number, frame):
    try:
        log.info("a signal")
        said.append("handler: logs")
    except BaseException as error:
        said.append(f"handler: {type(error).__name__}")


signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.1)
thread = threading.Thread(target=log.info, args=("a record",))
thread.start()
thread.join()
time.sleep(0.1)


def compute():
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        pass


threading.excepthook = lambda args: said.append(f"in a thread: {args.exc_type.__name__}")
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
thread = threading.Thread(target=compute)
try:
    thread.start()
    thread.join()
    said.append("the program goes on")
except KeyboardInterrupt:
    said.append("in the main thread: KeyboardInterrupt")
print(f"{sys.argv[1]}: {'; '.join(said)}")
PY
for threads in os eventlet gevent; do
    "$tmp/venv/bin/python" -W ignore "$tmp/program.py" "$threads"
done >"$tmp/said"
cat "$tmp/said"
diff "$tmp/said" - <<'SEEN' || { echo "changed" >&2; exit 1; }
os: handler: logs; in the main thread: KeyboardInterrupt
eventlet: handler: AssertionError; in a thread: KeyboardInterrupt; the program goes on
gevent: handler: BlockingSwitchOutError; in a thread: KeyboardInterrupt; the program goes on
SEEN
