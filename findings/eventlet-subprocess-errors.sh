#!/bin/sh
# After eventlet's monkey_patch() some errors of subprocess are not caught by their own names.
#
# Versions: eventlet 0.41.3, greenlet 3.5.6; CPython without eventlet for comparison.
#
# Behaviour: communicate(timeout=...) and check_output(timeout=...) raise a TimeoutExpired, and check_output() a
# CalledProcessError, that are not the classes subprocess.TimeoutExpired and subprocess.CalledProcessError: they are
# those of eventlet's copy of the module. Popen.wait(), run(), call() and check_call() raise the ones of the module.
#
# Why it surprises: the name in the traceback is subprocess.TimeoutExpired, and `except subprocess.TimeoutExpired` does
# not catch it. The manual's own example of communicate() with a timeout, which kills the child in the except clause,
# leaves the child running and the error unhandled.
#
# Seen (caught by the name in subprocess?):
#                                    plain CPython   eventlet 0.41.3
#   Popen.wait(timeout=...)          yes             yes
#   Popen.communicate(timeout=...)   yes             no
#   run(timeout=...)                 yes             yes
#   run(check=True)                  yes             yes
#   check_output(timeout=...)        yes             no
#   check_output(), exit 1           yes             no
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'eventlet==0.41.3' 'greenlet==3.5.6' 'dnspython==2.8.0'

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
import subprocess

BY_NAME = (subprocess.TimeoutExpired, subprocess.CalledProcessError)
child = subprocess.Popen(["sleep", "5"], stdout=subprocess.PIPE)
calls = {
    "wait": lambda: child.wait(timeout=0.2),
    "communicate": lambda: child.communicate(timeout=0.2),
    "run": lambda: subprocess.run(["sleep", "1"], timeout=0.2),
    "run-check": lambda: subprocess.run(["false"], check=True),
    "check_output": lambda: subprocess.check_output(["sleep", "1"], timeout=0.2),
    "check_output-exit": lambda: subprocess.check_output(["false"]),
}
missed = []
for name, call in calls.items():
    try:
        call()
    except Exception as error:
        caught = isinstance(error, BY_NAME)
        print("%-8s %s: %s, %s" % (sys.argv[1], name, type(error).__name__, "caught" if caught else "NOT caught"))
        if not caught:
            missed.append(name)
    else:
        sys.exit("changed: %s raised nothing" % name)
child.kill()
if missed != sys.argv[2:]:
    sys.exit("changed: not caught were %r, expected %r" % (missed, sys.argv[2:]))
PY
"$tmp/venv/bin/python" -W ignore "$tmp/probe.py" plain
"$tmp/venv/bin/python" -W ignore "$tmp/probe.py" eventlet communicate check_output check_output-exit
