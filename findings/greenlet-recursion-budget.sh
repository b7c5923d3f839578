#!/bin/sh
# A greenlet begins with the recursion depth of whoever starts it, and keeps that debt for life.
#
# Version: greenlet 3.5.6, on CPython 3.11 and 3.13.
#
# Behaviour: with a recursion limit of 1000, a greenlet first switched to from 600 calls deep can make about 395 nested
# calls before RecursionError; started from the top it can make about 995. What counts is the depth at its first switch:
# made deep but started at the top it has all of them; started deep and resumed from the top it still has only 395. A
# thread started from the same depth has all of them. Greenlets that start one another add up: in a chain where each
# starts the next 100 calls deep, the ninth has about 160 left.
#
# Why it surprises: a greenlet has a stack of its own (its first frame has no f_back),
# sys.setrecursionlimit is documented to bound the depth of the interpreter's stack, and a thread, which greenlets stand
# in for under gevent and eventlet, starts at nought. So code that works in a thread raises RecursionError in a greenlet
# only because of where the first switch to it happened to be.
#
# Seen (nested calls left, on 3.11; a few more or fewer on other versions):
#   started at the top 997; in a thread started 600 deep 995; started 600 deep 396;
#   made 600 deep, started at the top 997; started 600 deep, resumed at the top 394; the ninth of a chain 155
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check 'greenlet==3.5.6'

"$tmp/venv/bin/python" - <<'PY'
import sys
import threading

from greenlet import getcurrent, greenlet


def calls_left():
    """How many nested calls can be made here."""
    made = 0

    def call():
        nonlocal made
        made += 1
        call()

    try:
        call()
    except RecursionError:
        return made


def deep(depth, function):
    return function() if depth == 0 else deep(depth - 1, function)


def in_thread():
    left = []
    thread = threading.Thread(target=lambda: left.append(calls_left()))
    thread.start()
    thread.join()
    return left[0]


def resumed_at_the_top():
    def run():
        getcurrent().parent.switch()
        return calls_left()

    started = greenlet(run)
    deep(600, started.switch)
    return started.switch()


def chain(length):
    def run():
        return calls_left() if length == 0 else deep(100, lambda: chain(length - 1))

    return greenlet(run).switch()


sys.setrecursionlimit(1000)
seen = {
    "started at the top": (greenlet(calls_left).switch(), 1000),
    "in a thread started 600 deep": (deep(600, in_thread), 1000),
    "started 600 deep": (deep(600, greenlet(calls_left).switch), 400),
    "made 600 deep, started at the top": (deep(600, lambda: greenlet(calls_left)).switch(), 1000),
    "started 600 deep, resumed at the top": (resumed_at_the_top(), 400),
    "the ninth of a chain": (chain(8), 200),
}
print("; ".join("%s %d" % (how, left) for how, (left, _about) in seen.items()))
changed = [how for how, (left, about) in seen.items() if not about - 60 < left <= about]
if changed:
    sys.exit("changed: %s" % ", ".join(changed))
PY
