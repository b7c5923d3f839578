#!/bin/sh
# Under gevent os.waitpid(-1, WNOHANG) hands out a child whose exit status was already collected.
#
# Versions: gevent 26.9.0; CPython without gevent for comparison.
#
# Behaviour: subprocess.run() has waited for its child and given its exit status. A patched os.waitpid(-1, os.WNOHANG)
# after that returns the pid and the status of that same child, and so does os.waitpid(pid, os.WNOHANG); each child
# is handed out once more, and only then comes ChildProcessError.
#
# Why it surprises: POSIX (wait) and CPython have each status collected once; with no child left the call fails with
# ECHILD. gevent's own text on waitpid speaks of children that have terminated "but not been waited on". A
# supervisor that reaps with waitpid(-1) in a loop (gunicorn's arbiter is built so) hears of children it never started,
# or hears of the exit of one it has already replaced.
#
# Seen:
#   plain CPython   waitpid(-1): ChildProcessError       waitpid(pid): ChildProcessError
#   gevent 26.9.0   waitpid(-1): that child, exit 3      waitpid(pid): that child, exit 4
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
import os
import subprocess


def run_and_collect(exit_code):
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(%d)" % exit_code])
    if child.wait() != exit_code:
        sys.exit("the child did not end with %d" % exit_code)
    return child.pid


def wait_again(child, asked):
    try:
        pid, status = os.waitpid(asked, os.WNOHANG)
    except ChildProcessError as error:
        return type(error).__name__
    return "%s, exit %d" % ("that child" if pid == child else "pid %d" % pid, os.waitstatus_to_exitcode(status))


any_child = wait_again(run_and_collect(3), -1)
pid = run_and_collect(4)
this_child = wait_again(pid, pid)
third_time = wait_again(pid, -1)
print("%-7s waitpid(-1): %s; waitpid(pid): %s; then: %s" % (sys.argv[1], any_child, this_child, third_time))
if [any_child, this_child, third_time] != sys.argv[2:]:
    sys.exit("changed: expected %r" % sys.argv[2:])
PY
"$tmp/venv/bin/python" "$tmp/probe.py" plain ChildProcessError ChildProcessError ChildProcessError
"$tmp/venv/bin/python" "$tmp/probe.py" gevent 'that child, exit 3' 'that child, exit 4' ChildProcessError
