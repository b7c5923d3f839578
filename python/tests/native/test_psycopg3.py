"""psycopg 3 with its C part, which waits in poll. Needs the PostgreSQL of servers.sh."""

import os
import unittest

import eventlet

from databases import ClientTests
from libraries import ask

try:
    import psycopg
except ImportError:
    psycopg = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


@unittest.skipUnless(psycopg and SERVERS, "needs psycopg, and servers.sh")
class Psycopg3(ClientTests, unittest.TestCase):
    hooked = ["psycopg_binary", "psycopg_c"]
    error = psycopg and psycopg.Error
    refused = psycopg and psycopg.errors.DivisionByZero
    lost = psycopg and psycopg.OperationalError

    def setUp(self):
        super().setUp()
        self.assertIn(psycopg.pq.__impl__, ("binary", "c"))

    def new_connection(self, **options):
        place = {"host": f"{SERVERS}/postgres", "user": "postgres", "dbname": "postgres"}
        return psycopg.connect(**place, autocommit=True, **options)

    def number(self, connection):
        return connection.info.backend_pid

    def test_limits_of_the_server_hold_and_the_connection_goes_on(self):
        connection = self.connect(options="-c statement_timeout=50")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            eventlet.spawn(ask, connection, "select pg_sleep(30)").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)


if __name__ == "__main__":
    unittest.main()
