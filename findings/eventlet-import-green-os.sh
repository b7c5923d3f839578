#!/bin/sh
# `import eventlet` alone, without a patch, leaves eventlet's green `os` in modules of the standard library.
#
# Versions: eventlet 0.41.3, dnspython 2.9.2.
#
# Behaviour: modules that eventlet is the first to import, tempfile, shutil, random and others, keep
# `eventlet.green.os` in place of `os` for the life of the process, in all its threads. Those that were imported before
# eventlet have the real one. So what a program puts in the place of `os.mkdir` reaches tempfile.mkdtemp() in one order
# of two imports and not in the other.
#
# Why it surprises: nothing was patched, and the order of two imports of unrelated modules decides. eventlet imports
# dnspython while its green modules stand in sys.modules, and dnspython imports the others by the way.
#
# Seen:
#   tempfile, eventlet: tempfile has os, a replaced os.mkdir is called
#   eventlet, tempfile: tempfile has eventlet.green.os, a replaced os.mkdir is not called
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'eventlet==0.41.3' 'greenlet==3.5.6' 'dnspython==2.9.2'

cat > "$tmp/probe.py" <<'PY'
import importlib
import os
import sys

for name in sys.argv[1:]:
    importlib.import_module(name)
tempfile = sys.modules["tempfile"]
mkdir, called = os.mkdir, []


def replaced(*args):
    called.append(args)
    return mkdir(*args)


os.mkdir = replaced
os.rmdir(tempfile.mkdtemp())
has, reached = tempfile._os.__name__, bool(called)
print(f"{', '.join(sys.argv[1:])}: tempfile has {has}, a replaced os.mkdir is {'' if reached else 'not '}called")
first = sys.argv[1] == "tempfile"
if (has, reached) != (("os", True) if first else ("eventlet.green.os", False)):
    sys.exit("this has changed")
PY
"$tmp/venv/bin/python" -W ignore "$tmp/probe.py" tempfile eventlet
"$tmp/venv/bin/python" -W ignore "$tmp/probe.py" eventlet tempfile
