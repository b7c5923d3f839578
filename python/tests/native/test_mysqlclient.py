"""mysqlclient as it is: libmariadb waits in poll. Needs the MariaDB of servers.sh."""

import contextlib
import os
import random
import socket
import unittest

import eventlet

from databases import ClientTests
from libraries import ask

try:
    import MySQLdb
except ImportError:
    MySQLdb = None

SERVERS = os.environ.get("GREENLOOM_SERVERS")


@unittest.skipUnless(MySQLdb and SERVERS, "needs mysqlclient, and servers.sh")
class MysqlClient(ClientTests, unittest.TestCase):
    hooked = ["MySQLdb"]
    error = MySQLdb and MySQLdb.Error
    wrong, refused = "select * from nowhere.nothing", MySQLdb and MySQLdb.ProgrammingError
    lost = MySQLdb and MySQLdb.OperationalError

    def new_connection(self, **options):
        return MySQLdb.connect(unix_socket=f"{SERVERS}/mariadb/socket", user="root", **options)

    def close(self, connection):
        if connection.open:
            connection.close()

    def after(self, value, seconds):
        return f"select if(sleep({seconds}), null, {value})"

    def number(self, connection):
        return connection.thread_id()

    def end(self, number, control):
        with contextlib.suppress(MySQLdb.OperationalError):  # it has ended by itself
            control.query(f"kill {number}")

    def lose_one(self, control):
        control.query("select id from information_schema.processlist where id <> connection_id()")
        ids = [row[0] for row in control.store_result().fetch_row(0)]
        if ids:
            self.end(random.choice(ids), control)

    def test_connections_are_made_at_once_and_queries_are_small_and_many(self):
        def client(number):
            connection = self.connect()
            return [ask(connection, "select %s", number * 100 + turn) for turn in range(100)]

        clients = [eventlet.spawn(client, number) for number in range(20)]
        for number, one in enumerate(clients):
            self.assertEqual(one.wait(), list(range(number * 100, number * 100 + 100)))

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


if __name__ == "__main__":
    unittest.main()
