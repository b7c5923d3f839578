"""sqlite3 as it is: a database that is locked is waited for in usleep, which stops the holder of the lock, too, if that
is a green thread of the same OS thread."""

import pathlib
import random
import sqlite3
import tempfile
import time
import unittest

import eventlet
import greenlet

from libraries import THREADS, WAIT, Hooked, give_up, wait_at_once


class Sqlite(Hooked, unittest.TestCase):
    hooked = ["sqlite3"]

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(pathlib.Path(folder.name, "database"))
        with self.connect() as connection:
            connection.execute("create table words (word)")

    def connect(self, seconds=10):
        connection = sqlite3.connect(self.path, timeout=seconds)
        self.addCleanup(connection.close)
        return connection

    def lock(self, seconds):
        connection = self.connect()
        connection.execute("begin exclusive")
        self.is_locked = True
        eventlet.sleep(seconds)
        connection.execute("insert into words values ('locked')")
        self.is_locked = False
        connection.commit()

    def test_readers_wait_at_once_for_a_green_thread_that_has_the_database_locked(self):
        connections = [self.connect() for _ in range(THREADS)]
        self.is_locked = False

        def read(number):
            if number == 0:
                eventlet.spawn(self.lock, WAIT)
                eventlet.sleep(0)
            connections[number].execute("select count(*) from words").fetchone()
            self.assertFalse(self.is_locked)
            return number

        wait_at_once(self, read)

    def test_writers_take_turns_and_nothing_is_lost(self):
        def write(number):
            with self.connect() as connection:
                for _ in range(10):
                    with connection:
                        connection.execute("begin immediate")
                        [count] = connection.execute("select count(*) from words").fetchone()
                        eventlet.sleep(random.random() / 1000)
                        connection.execute("insert into words values (?)", [f"{number}:{count}"])

        writers = [eventlet.spawn(write, number) for number in range(10)]
        for writer in writers:
            writer.wait()
        [count] = self.connect().execute("select count(*) from words").fetchone()
        self.assertEqual(count, 100)

    def test_limits_of_the_library_hold(self):
        holder = eventlet.spawn(self.lock, 1)
        eventlet.sleep(0)
        began = time.monotonic()
        with self.assertRaises(sqlite3.OperationalError):
            eventlet.spawn(self.connect(0.1).execute, "select count(*) from words").wait()
        self.assertTrue(0.05 < time.monotonic() - began < 0.5)
        holder.wait()

    def test_what_is_given_up_is_raised_and_the_connection_goes_on(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            holder = eventlet.spawn(self.lock, 0.2)
            eventlet.sleep(0)
            connection = self.connect()
            give_up(self, how, lambda: connection.execute("select count(*) from words").fetchone())
            holder.wait()
            self.assertGreater(connection.execute("select count(*) from words").fetchone()[0], 0)


if __name__ == "__main__":
    unittest.main()
