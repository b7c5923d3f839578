"""pycurl as it is: libcurl waits in poll. The HTTP server is a process of our own."""

import io
import socket
import subprocess
import sys
import unittest

import eventlet

from libraries import WAIT, Hooked, wait_at_once

try:
    import pycurl
except ImportError:
    pycurl = None

SERVER = f"""
import eventlet
from eventlet import wsgi

def answer(environment, start):
    seconds, size = environment["PATH_INFO"][1:].split("/")
    eventlet.sleep(float(seconds))
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * int(size)]

listener = eventlet.listen(("127.0.0.1", 0), backlog=200)
print(listener.getsockname()[1], flush=True)
wsgi.server(listener, answer, log_output=False)
"""


@unittest.skipUnless(pycurl, "needs pycurl")
class Pycurl(Hooked, unittest.TestCase):
    hooked = ["pycurl"]

    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        cls.port = int(cls.server.stdout.readline())

    @classmethod
    def tearDownClass(cls):
        cls.server.stdout.close()
        cls.server.kill()
        cls.server.wait()

    def curl(self):
        curl = pycurl.Curl()
        self.addCleanup(curl.close)
        return curl

    def get(self, curl, seconds, size, port=None, **options):
        body = io.BytesIO()
        curl.setopt(curl.URL, f"http://127.0.0.1:{port or self.port}/{seconds}/{size}")
        curl.setopt(curl.WRITEDATA, body)
        for name, value in options.items():
            curl.setopt(getattr(curl, name), value)
        curl.perform()
        return len(body.getvalue())

    def test_transfers_wait_at_once(self):
        curls = [self.curl() for _ in range(50)]
        wait_at_once(self, lambda number: self.get(curls[number], WAIT, number))

    def test_names_are_looked_up(self):
        curl = self.curl()
        curl.setopt(curl.RESOLVE, [])
        body = io.BytesIO()
        curl.setopt(curl.URL, f"http://localhost:{self.port}/0/5")
        curl.setopt(curl.WRITEDATA, body)
        eventlet.spawn(curl.perform).wait()
        self.assertEqual(len(body.getvalue()), 5)

    def test_large_bodies_come_whole(self):
        sizes = [3_000_000 + number for number in range(4)]
        bodies = [eventlet.spawn(self.get, self.curl(), 0, size) for size in sizes]
        self.assertEqual([body.wait() for body in bodies], sizes)

    def test_a_timeout_is_raised_and_the_handle_can_be_used_again(self):
        curl = self.curl()
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.05):
            self.get(curl, 5, 1)
        self.assertEqual(eventlet.spawn(self.get, curl, 0, 7).wait(), 7)

    def test_limits_of_the_library_hold(self):
        with self.assertRaises(pycurl.error) as raised:
            eventlet.spawn(self.get, self.curl(), 5, 1, TIMEOUT_MS=50).wait()
        self.assertEqual(raised.exception.args[0], pycurl.E_OPERATION_TIMEDOUT)

    def test_a_server_that_hangs_up_is_an_error(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        waiting = eventlet.spawn(self.get, self.curl(), 5, 1, port=listener.getsockname()[1])
        eventlet.sleep(0.05)
        listener.accept()[0].close()
        with self.assertRaises(pycurl.error):
            waiting.wait()


if __name__ == "__main__":
    unittest.main()
