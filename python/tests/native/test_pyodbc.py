"""pyodbc as it is: unixODBC's manager opens the driver of PostgreSQL, whose libpq waits in poll.

Needs the PostgreSQL of servers.sh.
"""

import os
import unittest

import eventlet
from greenloom import hooks

from databases import ClientTests
from libraries import ask

try:
    import pyodbc
except ImportError:
    pyodbc = None
else:
    # Where unixODBC is set up to pool, a connection would come as a test before has left it, its limits on.
    pyodbc.pooling = False

SERVERS = os.environ.get("GREENLOOM_SERVERS")


@unittest.skipUnless(pyodbc and SERVERS, "needs pyodbc, and servers.sh")
class Pyodbc(ClientTests, unittest.TestCase):
    hooked = ["pyodbc"]
    error = refused = lost = pyodbc and pyodbc.Error

    def new_connection(self, **options):
        place = {"Driver": "PostgreSQL Unicode", "Servername": f"{SERVERS}/postgres", "UserName": "postgres"}
        place = {**place, "Database": "postgres", **options}
        return pyodbc.connect(";".join(f"{key}={value}" for key, value in place.items()), autocommit=True)

    def test_the_driver_that_the_manager_opens_is_hooked(self):
        self.connect()
        hooked = [library.path for library in hooks.report() if library.refused is None]
        for name in ("pyodbc", "libodbc.so", "psqlodbc", "libpq.so"):
            self.assertTrue([path for path in hooked if f"/{name}" in path], (name, hooked))

    def test_green_threads_that_share_a_connection_wait_for_each_other(self):
        connection = self.connect()
        waiting = [eventlet.spawn(ask, connection, f"select {number} from pg_sleep(0.05)") for number in range(5)]
        self.assertEqual([one.wait() for one in waiting], list(range(5)))

    def test_limits_of_the_server_hold_and_the_connection_goes_on(self):
        connection = self.connect()
        connection.execute("set statement_timeout = 50")
        with self.assertRaises(pyodbc.Error):
            eventlet.spawn(ask, connection, "select pg_sleep(30)").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)


if __name__ == "__main__":
    unittest.main()
