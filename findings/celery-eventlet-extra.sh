#!/bin/sh
# The extra celery[eventlet] can never install eventlet.
#
# Version: celery 5.7.0.
#
# Behaviour: `pip install "celery[eventlet]"` succeeds, on every CPython that celery supports, and installs nothing
# beyond celery. `celery worker -P eventlet` then fails with ModuleNotFoundError.
#
# Why it surprises: the extra's one requirement has the marker python_version < "3.10", and celery itself has
# Requires-Python >= 3.10, so the marker is false wherever celery can be installed. An extra that is gone makes pip
# warn; this one is listed, described in the documentation as "for using the eventlet pool", and silently empty. A
# lock file that named it loses its eventlet at the next update, and the workers fail when they start.
#
# Seen: requires-python >=3.10; eventlet>=0.32.0; python_version < "3.10" and extra == "eventlet"; eventlet is absent;
#   ModuleNotFoundError: No module named 'eventlet'.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'celery[eventlet]==5.7.0' >"$tmp/said" 2>&1
if grep -i 'warning.*extra' "$tmp/said"; then
    echo "changed: pip warns of the extra" >&2
    exit 1
fi

cd "$tmp"
"$tmp/venv/bin/python" - <<'PY'
import importlib.metadata
import subprocess
import sys

about = importlib.metadata.metadata("celery")
print("requires-python", about["Requires-Python"])
required = [each for each in importlib.metadata.requires("celery") if "eventlet" in each]
print(*required)
installed = {each.name.lower() for each in importlib.metadata.distributions()}
worker = [sys.executable, "-m", "celery", "-b", "memory://", "worker", "-P", "eventlet"]
said = subprocess.run(worker, capture_output=True, text=True, timeout=60).stderr
print("eventlet is", "installed" if "eventlet" in installed else "absent")
print(said.strip().splitlines()[-1])
if "eventlet" not in about.get_all("Provides-Extra"):
    sys.exit("changed: there is no such extra")
if "eventlet" in installed or "No module named 'eventlet'" not in said:
    sys.exit("changed: eventlet is installed")
PY
