"""psycopg2 as it is, without a wait callback: libpq waits in poll. Needs the PostgreSQL of servers.sh."""

import os
import time
import unittest

import eventlet

from databases import ClientTests
from libraries import ask

try:
    import psycopg2
    import psycopg2.extensions
except ImportError:
    psycopg2 = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


@unittest.skipUnless(psycopg2 and SERVERS, "needs psycopg2, and servers.sh")
class Psycopg2(ClientTests, unittest.TestCase):
    hooked = ["psycopg2"]
    error = psycopg2 and psycopg2.Error
    refused = psycopg2 and psycopg2.errors.DivisionByZero
    lost = psycopg2 and psycopg2.OperationalError

    def setUp(self):
        super().setUp()
        self.assertIsNone(psycopg2.extensions.get_wait_callback())

    def new_connection(self, **options):
        connection = psycopg2.connect(host=f"{SERVERS}/postgres", user="postgres", dbname="postgres", **options)
        connection.autocommit = True
        return connection

    def number(self, connection):
        return connection.get_backend_pid()

    def test_limits_of_the_library_and_of_the_server_hold(self):
        connection = self.connect(options="-c statement_timeout=50")
        with self.assertRaises(psycopg2.errors.QueryCanceled):
            eventlet.spawn(ask, connection, "select pg_sleep(30)").wait()
        listener = eventlet.listen(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        began = time.monotonic()
        with self.assertRaises(psycopg2.OperationalError):
            port = listener.getsockname()[1]
            eventlet.spawn(psycopg2.connect, host="127.0.0.1", port=port, connect_timeout=2).wait()
        self.assertLess(time.monotonic() - began, 10)

    def test_green_threads_that_share_a_connection_wait_for_each_other(self):
        connection = self.connect()
        waiting = [eventlet.spawn(ask, connection, "select %s from pg_sleep(0.05)", number) for number in range(5)]
        self.assertEqual([one.wait() for one in waiting], list(range(5)))


if __name__ == "__main__":
    unittest.main()
