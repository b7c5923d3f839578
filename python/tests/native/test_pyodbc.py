"""pyodbc as it is: unixODBC's manager opens the driver of PostgreSQL, whose libpq waits in poll.

Needs the PostgreSQL of servers.sh.
"""

import os
import unittest

import eventlet
import eventlet.debug
import greenlet
from greenloom import hooks

from libraries import WAIT, give_up, under_load, wait_at_once

try:
    import pyodbc
except ImportError:
    pyodbc = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")

LOSE = """
    select count(pg_terminate_backend(pid)) from (
        select pid from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'
        order by random() limit 1
    ) as one
"""


def connect(**options):
    place = {"Driver": "PostgreSQL Unicode", "Servername": f"{SERVERS}/postgres", "UserName": "postgres"}
    place = {**place, "Database": "postgres", **options}
    return pyodbc.connect(";".join(f"{key}={value}" for key, value in place.items()), autocommit=True)


def ask(connection, query, *arguments):
    cursor = connection.cursor()
    cursor.execute(query, arguments)
    return cursor.fetchone()[0]


@unittest.skipUnless(pyodbc and SERVERS, "needs pyodbc, and servers.sh")
class Pyodbc(unittest.TestCase):
    def setUp(self):
        hooks.install(["pyodbc"])
        self.addCleanup(hooks.uninstall)
        eventlet.debug.hub_exceptions(False)

    def connect(self, **options):
        connection = connect(**options)
        self.addCleanup(connection.close)
        return connection

    def test_queries_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: ask(connections[number], f"select {number} from pg_sleep({WAIT})"))

    def test_the_driver_that_the_manager_opens_is_hooked(self):
        self.connect()
        hooked = [library.path for library in hooks.report() if library.refused is None]
        for name in ("pyodbc", "libodbc.so", "psqlodbc", "libpq.so"):
            self.assertTrue([path for path in hooked if f"/{name}" in path], (name, hooked))

    def test_large_answers_come_whole(self):
        connections = [self.connect() for _ in range(4)]
        answers = [eventlet.spawn(ask, one, "select repeat('x', 3000000)") for one in connections]
        for answer in answers:
            self.assertEqual(answer.wait(), "x" * 3000000)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(pyodbc.Error):
            eventlet.spawn(ask, connection, "select 1 / 0").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_green_threads_that_share_a_connection_wait_for_each_other(self):
        connection = self.connect()
        waiting = [eventlet.spawn(ask, connection, f"select {number} from pg_sleep(0.05)") for number in range(5)]
        self.assertEqual([one.wait() for one in waiting], list(range(5)))

    def test_after_a_wait_that_was_given_up_the_next_query_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "select 41 from pg_sleep(0.2)"))
            with self.assertRaises(pyodbc.Error):
                ask(connection, "select 42")

    def test_a_server_that_ends_the_connection_in_a_query_is_an_error(self):
        connection, other = self.connect(), self.connect()
        number = ask(connection, "select pg_backend_pid()")
        waiting = eventlet.spawn(ask, connection, "select pg_sleep(30)")
        eventlet.sleep(0.05)
        ask(other, f"select pg_terminate_backend({number})")
        with self.assertRaises(pyodbc.Error):
            waiting.wait()

    def test_limits_of_the_server_hold_and_the_connection_goes_on(self):
        connection = self.connect()
        connection.execute("set statement_timeout = 50")
        with self.assertRaises(pyodbc.Error):
            eventlet.spawn(ask, connection, "select pg_sleep(30)").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def lose_one():
            ask(control, LOSE)

        def answer(connection, word, seconds):
            return ask(connection, f"select '{word}' from pg_sleep({seconds})")

        under_load(self, connect, answer, lambda connection: connection.close(), pyodbc.Error, lose_one)



if __name__ == "__main__":
    unittest.main()
