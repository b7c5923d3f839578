"""Runs a piece of a program in an interpreter of its own: to patch the world is for good."""

import os
import signal
import subprocess
import sys
import textwrap
import unittest

_PROLOGUE = """
import sys, time
sys.setswitchinterval(0.001)
monotonic, real_sleep = time.monotonic, time.sleep

def ticks():
    # Counts how often the hub gets round; what blocks it shows as a small number.
    import eventlet
    count = [0]
    def tick():
        while True:
            count[0] += 1
            eventlet.sleep(0.001)
    eventlet.spawn(tick)
    return count

def go_round(count):
    # Returns when the hub got round some times more; never, if something blocks it.
    import eventlet
    until = count[0] + 5
    while count[0] < until:
        eventlet.sleep(0.001)

def exclusion(get):
    # Two green threads, of which the first holds the lock over a switch.
    import eventlet
    order = []
    def hold(name):
        with get():
            order.append(name + " in")
            eventlet.sleep(0.02)
            order.append(name + " out")
    eventlet.spawn(hold, "a"), eventlet.spawn(hold, "b")
    eventlet.sleep(0.1)
    assert order == ["a in", "a out", "b in", "b out"], order
"""


# CPython 3.12 and later warn of every fork in a process with OS threads.
_QUIET = ["-W", "ignore:This process:DeprecationWarning"]


def interruptible():
    """For `preexec_fn`: whoever is started in the background ignores SIGINT, and so would a child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Scenario(unittest.TestCase):
    def run_program(self, program, *options, seconds=40, **env):
        """Runs a program, which must end by itself and without an error. Returns what it printed, errors included."""
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", *options, *_QUIET, "-c", _PROLOGUE + textwrap.dedent(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            preexec_fn=interruptible,
            env={**os.environ, **env},
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def check(self, program, *options, prints="", **settings):
        """Runs a program that must print exactly this."""
        self.assertEqual(self.run_program(program, *options, **settings), prints)
