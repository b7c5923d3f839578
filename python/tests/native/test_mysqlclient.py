"""mysqlclient as it is: libmariadb waits in poll. Needs the MariaDB of servers.sh."""

import os
import random
import socket
import unittest

import eventlet
import eventlet.debug
import greenlet
from greenloom import hooks

from libraries import WAIT, ask, give_up, under_load, wait_at_once

try:
    import MySQLdb
except ImportError:
    MySQLdb = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


def connect(**options):
    return MySQLdb.connect(**{"unix_socket": f"{SERVERS}/mariadb/socket", "user": "root", **options})


@unittest.skipUnless(MySQLdb and SERVERS, "needs mysqlclient, and servers.sh")
class MysqlClient(unittest.TestCase):
    def setUp(self):
        hooks.install(["MySQLdb"])
        self.addCleanup(hooks.uninstall)
        eventlet.debug.hub_exceptions(False)

    def connect(self, **options):
        connection = connect(**options)
        self.addCleanup(lambda: connection.open and connection.close())
        return connection

    def test_queries_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: ask(connections[number], f"select %s + sleep({WAIT})", number))

    def test_connections_are_made_at_once_and_queries_are_small_and_many(self):
        def client(number):
            connection = self.connect()
            return [ask(connection, "select %s", number * 100 + turn) for turn in range(100)]

        clients = [eventlet.spawn(client, number) for number in range(20)]
        for number, one in enumerate(clients):
            self.assertEqual(one.wait(), list(range(number * 100, number * 100 + 100)))

    def test_large_answers_come_whole(self):
        connections = [self.connect() for _ in range(4)]
        answers = [eventlet.spawn(ask, one, "select repeat(%s, 3000000)", "x") for one in connections]
        for answer in answers:
            self.assertEqual(answer.wait(), "x" * 3000000)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(MySQLdb.ProgrammingError):
            eventlet.spawn(ask, connection, "select * from nowhere.nothing").wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_after_a_wait_that_was_given_up_the_next_query_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, "select 41 + sleep(0.2)"))
            with self.assertRaises(MySQLdb.OperationalError):
                ask(connection, "select 42")

    def test_a_server_that_ends_the_connection_in_a_query_is_an_error(self):
        connection, other = self.connect(), self.connect()
        number = connection.thread_id()
        waiting = eventlet.spawn(ask, connection, "select sleep(30)")
        eventlet.sleep(0.05)
        other.query(f"kill {number}")
        with self.assertRaises(MySQLdb.OperationalError):
            waiting.wait()

    def test_limits_of_the_library_hold(self):
        connection = self.connect(read_timeout=1)
        with self.assertRaises(MySQLdb.OperationalError):
            eventlet.spawn(ask, connection, "select sleep(30)").wait()
        # Nobody answers here.
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        nowhere = {"host": "127.0.0.1", "port": listener.getsockname()[1], "connect_timeout": 1}
        with self.assertRaises(MySQLdb.OperationalError):
            eventlet.spawn(MySQLdb.connect, **nowhere).wait()

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def lose_one():
            control.query("select id from information_schema.processlist where id <> connection_id()")
            ids = [row[0] for row in control.store_result().fetch_row(0)]
            if ids:
                try:
                    control.query(f"kill {random.choice(ids)}")
                except MySQLdb.OperationalError:
                    pass  # it has ended by itself

        def answer(connection, word, seconds):
            return ask(connection, "select concat(%s, if(sleep(%s), '', ''))", word, seconds)

        under_load(self, connect, answer, lambda connection: connection.close(), MySQLdb.Error, lose_one)


if __name__ == "__main__":
    unittest.main()
