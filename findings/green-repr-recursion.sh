#!/bin/sh
# In a program patched by gevent or eventlet, the repr of a list is `[...]` while another thread shows the same list.
#
# Versions: gevent 26.9.0, eventlet 0.41.3; CPython without them for comparison.
#
# Behaviour: two threads call repr() of one list, whose element has a __repr__ that sleeps, as that of a lazy database
# query may wait. CPython shows the whole list in both. In a patched program one of them gets `[...]`, as for a list
# that holds itself; a dict, a deque, an OrderedDict, a dataclass likewise.
#
# Why it surprises: a line of a log loses its content, and nothing is recursive. CPython keeps the containers that are
# being shown for each thread state, reprlib for each identifier that it got before the patch; green threads of one OS
# thread share both.
#
# Seen:
#   plain     ['[slow]', '[slow]', 'deque([slow])', 'deque([slow])']
#   gevent    ['[slow]', '[...]', 'deque([slow])', '[...]']
#   eventlet  ['[slow]', '[...]', 'deque([slow])', '[...]']
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' \
    'zope.interface==8.7' 'eventlet==0.41.3' 'dnspython==2.9.2'

cat > "$tmp/probe.py" <<'PY'
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
import collections
import threading
import time


class Slow:
    def __repr__(self):
        time.sleep(0.1)
        return "slow"


def shown_twice(container):
    shown = []
    threads = [threading.Thread(target=lambda: shown.append(repr(container))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return shown


seen = []
for container in [Slow()], collections.deque([Slow()]):
    seen += sorted(shown_twice(container), key=len, reverse=True)
print("%-9s %s" % (sys.argv[1], seen))
cut = sys.argv[1] != "plain"
if seen != ["[slow]", "[...]" if cut else "[slow]", "deque([slow])", "[...]" if cut else "deque([slow])"]:
    sys.exit("this has changed")
PY
for library in plain gevent eventlet; do
    "$tmp/venv/bin/python" -W ignore "$tmp/probe.py" "$library"
done
