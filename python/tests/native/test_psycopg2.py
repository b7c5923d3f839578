"""psycopg2 as it is, without a wait callback: libpq waits in poll. Needs the PostgreSQL of servers.sh."""

import os
import time
import unittest

import eventlet
import eventlet.debug
import greenlet
from greenloom import hooks

from libraries import WAIT, ask, give_up, under_load, wait_at_once

try:
    import psycopg2
    import psycopg2.extensions
except ImportError:
    psycopg2 = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


def connect(**options):
    return psycopg2.connect(host=f"{SERVERS}/postgres", user="postgres", dbname="postgres", **options)


@unittest.skipUnless(psycopg2 and SERVERS, "needs psycopg2, and servers.sh")
class Psycopg2(unittest.TestCase):
    def setUp(self):
        hooks.install(["psycopg2"])
        self.addCleanup(hooks.uninstall)
        eventlet.debug.hub_exceptions(False)
        self.assertIsNone(psycopg2.extensions.get_wait_callback())

    def connect(self, **options):
        connection = connect(**options)
        self.addCleanup(connection.close)
        connection.autocommit = True
        return connection

    def test_queries_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: ask(connections[number], f"select %s from pg_sleep({WAIT})", number))

    def test_large_answers_come_whole(self):
        connections = [self.connect() for _ in range(4)]
        answers = [eventlet.spawn(ask, one, "select repeat(%s, 3000000)", "x") for one in connections]
        for answer in answers:
            self.assertEqual(answer.wait(), "x" * 3000000)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(psycopg2.errors.DivisionByZero):
            eventlet.spawn(ask, connection, "select 1 / 0").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_after_a_wait_that_was_given_up_the_next_query_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "select 41 from pg_sleep(0.2)"))
            with self.assertRaises(psycopg2.Error):
                ask(connection, "select 42")

    def test_a_server_that_ends_the_connection_in_a_query_is_an_error(self):
        connection, other = self.connect(), self.connect()
        waiting = eventlet.spawn(ask, connection, "select pg_sleep(30)")
        eventlet.sleep(0.05)
        ask(other, "select pg_terminate_backend(%s)", connection.get_backend_pid())
        with self.assertRaises(psycopg2.OperationalError):
            waiting.wait()

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

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def lose_one():
            control.cursor().execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                " and backend_type = 'client backend' order by random() limit 1"
            )

        def answer(connection, word, seconds):
            return ask(connection, "select %s from pg_sleep(%s)", word, seconds)

        under_load(self, connect, answer, lambda connection: connection.close(), psycopg2.Error, lose_one)


if __name__ == "__main__":
    unittest.main()
