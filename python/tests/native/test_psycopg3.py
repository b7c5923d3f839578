"""psycopg 3 with its C part, which waits in poll. Needs the PostgreSQL of servers.sh."""

import os
import random
import unittest

import eventlet
import eventlet.debug
import greenlet
from greenloom import hooks

from libraries import WAIT, give_up, under_load, wait_at_once

try:
    import psycopg
except ImportError:
    psycopg = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


def connect(**options):
    place = {"host": f"{SERVERS}/postgres", "user": "postgres", "dbname": "postgres"}
    return psycopg.connect(**place, autocommit=True, **options)


def ask(connection, query, *arguments):
    return connection.execute(query, arguments).fetchone()[0]


@unittest.skipUnless(psycopg and SERVERS, "needs psycopg, and servers.sh")
class Psycopg3(unittest.TestCase):
    def setUp(self):
        hooks.install(["psycopg_binary", "psycopg_c"])
        self.addCleanup(hooks.uninstall)
        eventlet.debug.hub_exceptions(False)
        self.assertIn(psycopg.pq.__impl__, ("binary", "c"))

    def connect(self, **options):
        connection = connect(**options)
        self.addCleanup(connection.close)
        return connection

    def test_queries_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: int(ask(connections[number], f"select %s from pg_sleep({WAIT})", number)))

    def test_large_answers_come_whole(self):
        connections = [self.connect() for _ in range(4)]
        answers = [eventlet.spawn(ask, one, "select repeat(%s, 3000000)", "x") for one in connections]
        for answer in answers:
            self.assertEqual(answer.wait(), "x" * 3000000)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(psycopg.errors.DivisionByZero):
            eventlet.spawn(ask, connection, "select 1 / 0").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_after_a_wait_that_was_given_up_the_next_query_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "select 41 from pg_sleep(0.2)"))
            with self.assertRaises(psycopg.Error):
                ask(connection, "select 42")

    def test_a_server_that_ends_the_connection_in_a_query_is_an_error(self):
        connection, other = self.connect(), self.connect()
        waiting = eventlet.spawn(ask, connection, "select pg_sleep(30)")
        eventlet.sleep(0.05)
        ask(other, "select pg_terminate_backend(%s)", connection.info.backend_pid)
        with self.assertRaises(psycopg.OperationalError):
            waiting.wait()

    def test_limits_of_the_server_hold_and_the_connection_goes_on(self):
        connection = self.connect(options="-c statement_timeout=50")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            eventlet.spawn(ask, connection, "select pg_sleep(30)").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def lose_one():
            pids = control.execute(
                "select pid from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
            ).fetchall()
            if pids:
                control.execute("select pg_terminate_backend(%s)", random.choice(pids))

        def answer(connection, word, seconds):
            return ask(connection, "select %s from pg_sleep(%s)", word, seconds)

        under_load(self, connect, answer, lambda connection: connection.close(), psycopg.Error, lose_one)


if __name__ == "__main__":
    unittest.main()
