"""What holds of every database's client with hooks: tests for a class that says how to connect, and what to ask."""

import eventlet
import greenlet

from libraries import WAIT, Hooked, ask, give_up, under_load, wait_at_once


class ClientTests(Hooked):
    """To be mixed into a TestCase. The defaults are those of PostgreSQL."""

    #: The base of the client's errors.
    error = Exception
    #: What the server refuses, and with which error.
    wrong, refused = "select 1 / 0", Exception
    #: Which error a connection has that was lost.
    lost = Exception

    def new_connection(self, **options):
        """A connection that commits by itself."""
        raise NotImplementedError

    def after(self, value, seconds):
        """The query for a value, written as SQL, that the server keeps for so long."""
        return f"select {value} from pg_sleep({seconds})"

    def number(self, connection):
        """The server's number of a connection."""
        return ask(connection, "select pg_backend_pid()")

    def end(self, number, control):
        """Ends the connection with that number on the server's side, by another."""
        ask(control, f"select pg_terminate_backend({number})")

    def lose_one(self, control):
        """Ends one of all connections but this, if there is one."""
        ask(
            control,
            "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where"
            " pid <> pg_backend_pid() and backend_type = 'client backend' order by random() limit 1) as one",
        )

    def connect(self, **options):
        connection = self.new_connection(**options)
        self.addCleanup(self.close, connection)
        return connection

    def close(self, connection):
        connection.close()

    def test_queries_wait_at_once(self):
        connections = [self.connect() for _ in range(50)]
        wait_at_once(self, lambda number: ask(connections[number], self.after(number, WAIT)))

    def test_large_answers_come_whole(self):
        connections = [self.connect() for _ in range(4)]
        answers = [eventlet.spawn(ask, one, "select repeat('x', 3000000)") for one in connections]
        for answer in answers:
            self.assertEqual(answer.wait(), "x" * 3000000)

    def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(self):
        connection = self.connect()
        with self.assertRaises(self.refused):
            eventlet.spawn(ask, connection, self.wrong).wait()
        self.assertEqual(eventlet.spawn(ask, connection, "select 42").wait(), 42)

    def test_after_a_wait_that_was_given_up_the_next_query_fails_and_gets_no_former_answer(self):
        for how in (eventlet.Timeout, greenlet.GreenletExit):
            connection = self.connect()
            give_up(self, how, lambda: ask(connection, self.after(41, 0.2)))
            with self.assertRaises(self.error):
                ask(connection, "select 42")

    def test_a_server_that_ends_the_connection_in_a_query_is_an_error(self):
        connection, other = self.connect(), self.connect()
        number = self.number(connection)
        waiting = eventlet.spawn(ask, connection, self.after(1, 30))
        eventlet.sleep(0.05)
        self.end(number, other)
        with self.assertRaises(self.lost):
            waiting.wait()

    def test_under_kills_timeouts_and_lost_connections_no_answer_is_anothers(self):
        control = self.connect()

        def answer(connection, word, seconds):
            return ask(connection, self.after(f"'{word}'", seconds))

        under_load(self, self.new_connection, answer, self.close, self.error, lambda: self.lose_one(control))
