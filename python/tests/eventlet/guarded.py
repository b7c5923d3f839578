"""What tests of green threads are made of."""

import unittest

import eventlet


class Guarded(unittest.TestCase):
    """A test that takes too long fails."""

    def setUp(self):
        self.timeout = eventlet.Timeout(20)
        self.addCleanup(self.timeout.cancel)
