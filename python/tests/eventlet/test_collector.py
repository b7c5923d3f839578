"""The garbage collector's work: how many objects it has to look at, for one of each thing a program has many of."""

import json
import os
import subprocess
import sys
import unittest

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "bench", "python", "tracked.py")

MOST = {
    "greenlet, not begun": 1,
    # With the function that it runs.
    "greenlet, suspended": 2,
    "spawn, parked": 1,
    "spawn_n, parked": 1,
    "spawn_after, pending": 1,
    "GreenPool.spawn, parked": 1,
    "GreenPool.spawn_n, parked": 1,
    "spawn, sleeping": 1,
    "spawn, ended, kept": 1,
    "Event": 1,
    "Semaphore": 1,
    "LightQueue": 2,
    "Queue": 2,
    "GreenPool": 3,
    "timer of the hub": 1,
    "Timeout, pending": 5,
    "green socket": 2,
    # With the client's socket, the bound method that the green thread runs, and the tuple that keeps them.
    "connection, parked in recv": 6,
    "WSGI request, application waits": 24,
}


@unittest.skipIf(os.environ.get("EVENTLET_HUB") == "asyncio", "it keeps listeners in Python")
class Collector(unittest.TestCase):
    def test_what_a_program_has_many_of_is_few_objects(self):
        done = subprocess.run([sys.executable, PROGRAM, "--json"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        # One of the program's own among 100 does not count.
        rows = {name: count - 0.1 for name, count in json.loads(done.stdout).items()}
        self.assertEqual(rows.keys(), MOST.keys())
        self.assertEqual({name: count for name, count in rows.items() if count > MOST[name]}, {})


if __name__ == "__main__":
    unittest.main()
