"""Tests of I/O that run on each hub."""

import errno
import threading
import time
import unittest

import eventlet
from eventlet import hubs
from eventlet.green import socket

LOCALHOST = ("127.0.0.1", 0)


class OnHub(unittest.TestCase):
    """Runs each test in its own OS thread, on a hub of the class that ``hub`` names. A test fails after 10 seconds."""

    hub = "epolls"

    def run(self, result=None):
        def run():
            hubs.use_hub(self.hub)
            super(OnHub, self).run(result)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return result

    def setUp(self):
        limit = eventlet.Timeout(10)
        self.addCleanup(limit.cancel)
        # Green threads here end with errors that their wait() tells.
        hubs.get_hub().set_timer_exceptions(False)

    def pair(self):
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        return one, other

    def tcp_pair(self):
        listener = eventlet.listen(LOCALHOST)
        client = eventlet.connect(listener.getsockname())
        server, _ = listener.accept()
        listener.close()
        self.addCleanup(client.close)
        self.addCleanup(server.close)
        return client, server

    def blocked(self, function, *args):
        """A green thread that waits in a function."""
        thread = eventlet.spawn(function, *args)
        eventlet.sleep(0.01)
        self.assertFalse(thread.dead)
        return thread

    def assert_time(self, seconds, function, *args):
        begin = time.monotonic()
        with self.assertRaises(socket.timeout) as caught:
            function(*args)
        self.assertEqual(caught.exception.args, ("timed out",))
        self.assertGreaterEqual(time.monotonic() - begin, seconds * 0.9)

    def assert_errno(self, code, function, *args):
        with self.assertRaises(OSError) as caught:
            function(*args)
        self.assertEqual(caught.exception.errno, code)
