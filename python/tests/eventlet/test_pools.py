"""Pools, pools of database connections, graphs of green threads: who gets what when something goes wrong."""

import contextlib
import io
import pickle
import unittest

import eventlet
from eventlet import coros, dagpool, db_pool, debug, patcher, pools


class Case(unittest.TestCase):
    def setUp(self):
        timeout = eventlet.Timeout(20)
        self.addCleanup(timeout.cancel)
        # What is raised here is meant to be.
        debug.hub_exceptions(False)
        self.addCleanup(debug.hub_exceptions, True)


class Boom(Exception):
    pass


class Pool(Case):
    def make(self, **kwargs):
        self.made = 0

        def create():
            self.made += 1
            return self.made

        return pools.Pool(create=create, **kwargs)

    def park(self, pool, count):
        got = []
        threads = [eventlet.spawn(lambda n=n: got.append((n, pool.get()))) for n in range(count)]
        eventlet.sleep(0)
        return threads, got

    def test_waiters_are_served_in_order(self):
        pool = self.make(max_size=1)
        item = pool.get()
        threads, got = self.park(pool, 4)
        for _ in threads:
            pool.put(item)
            eventlet.sleep(0)
            self.assertEqual(got[-1][1], item)
        self.assertEqual([n for n, _ in got], [0, 1, 2, 3])

    def test_whoever_returns_an_item_does_not_overtake_those_who_wait(self):
        pool = self.make(max_size=1)
        item = pool.get()
        threads, got = self.park(pool, 1)
        pool.put(item)
        last = eventlet.spawn(pool.get)
        eventlet.sleep(0)
        self.assertEqual(got, [(0, item)])
        last.kill()

    def test_a_failed_create_lets_the_next_waiter_try(self):
        # Stock's waits until somebody calls get again (113).
        failures = [Boom, None]

        def create():
            eventlet.sleep(0.01)
            if failures.pop(0):
                raise Boom
            return "item"

        pool = pools.Pool(max_size=1, create=create)
        first = eventlet.spawn(pool.get)
        second = eventlet.spawn(pool.get)
        with self.assertRaises(Boom):
            first.wait()
        with eventlet.Timeout(1):
            self.assertEqual(second.wait(), "item")

    def test_resize_upward_wakes_waiters(self):
        # Stock's wait until something is returned.
        pool = self.make(max_size=1)
        pool.get()
        threads, got = self.park(pool, 3)
        pool.resize(3)
        eventlet.sleep(0)
        self.assertEqual(got, [(0, 2), (1, 3)])
        self.assertEqual(pool.waiting(), 1)
        threads[2].kill()

    def test_a_waiter_killed_after_it_was_woken_passes_its_turn_on(self):
        pool = self.make(max_size=1)
        item = pool.get()
        threads, got = self.park(pool, 3)
        pool.put(item)
        threads[0].kill()
        threads[1].kill()
        eventlet.sleep(0)
        self.assertEqual(got, [(2, item)])
        self.assertEqual((pool.free(), pool.waiting()), (0, 0))

    def test_a_waiter_that_times_out_leaves_nothing_behind(self):
        pool = self.make(max_size=1)
        item = pool.get()
        with eventlet.Timeout(0.01, False):
            pool.get()
        self.assertEqual(pool.waiting(), 0)
        pool.put(item)
        self.assertEqual((pool.free(), pool.get()), (1, item))

    def test_a_smaller_size_holds_even_if_items_are_free(self):
        pool = self.make(min_size=3, max_size=3)
        pool.resize(1)
        pool.get()
        with eventlet.Timeout(0.01, False):
            self.fail(f"two items of a pool of one: {pool.get()}")

    def test_a_min_size_above_max_size_is_lent_whole(self):
        pool = self.make(min_size=6)
        with eventlet.Timeout(1):
            items = [pool.get() for _ in range(6)]
        getter = eventlet.spawn(pool.get)
        eventlet.sleep(0)
        # As the others are, the first two that come back are one too many.
        for item in items[:2]:
            pool.put(item)
        self.assertFalse(getter.dead)
        pool.put(items[2])
        self.assertEqual(getter.wait(), items[2])

    def test_order_as_stack_lends_the_last_one(self):
        pool = self.make(max_size=2, order_as_stack=True)
        one, two = pool.get(), pool.get()
        pool.put(one)
        pool.put(two)
        self.assertEqual(pool.get(), two)


class Connection:
    def __init__(self):
        self.closed = False
        self.rollbacks = 0

    def cursor(self):
        return "cursor"

    def rollback(self):
        self.rollbacks += 1

    def close(self):
        self.closed = True


class Module:
    """A database module."""

    def __init__(self):
        self.connections = []
        self.delay = 0

    def connect(self, **kwargs):
        eventlet.sleep(self.delay)
        self.connections.append(Connection())
        return self.connections[-1]


class Database(Case):
    def setUp(self):
        super().setUp()
        self.module = Module()

    def make(self, **kwargs):
        return db_pool.RawConnectionPool(self.module, **kwargs)

    def test_a_connect_that_times_out_frees_its_slot_for_the_next(self):
        # A pull request of 2018 (527): the connection was gone for good.
        pool = self.make(max_size=1, max_age=0.001)
        conn = pool.get()
        self.module.delay = 0.5

        def wait_shortly():
            with eventlet.Timeout(0.1):
                pool.get()

        hasty = eventlet.spawn(wait_shortly)
        eventlet.sleep(0.02)
        pool.put(conn)
        with self.assertRaises(eventlet.Timeout):
            hasty.wait()
        self.module.delay = 0
        with eventlet.Timeout(1):
            self.assertTrue(pool.get())
        self.assertEqual(pool.free(), 0)

    def test_a_connection_whose_cleanup_is_interrupted_is_closed(self):
        pool = self.make(max_size=1, cleanup=lambda conn: eventlet.sleep(5))
        conn = pool.get()
        with eventlet.Timeout(0.01, False):
            pool.put(conn)
        self.assertEqual([each.closed for each in self.module.connections], [True])
        self.assertEqual(pool.free(), 1)

    def test_connect_timeout_is_raised(self):
        self.module.delay = 1
        pool = self.make(connect_timeout=0.01)
        with self.assertRaises(db_pool.ConnectTimeout):
            pool.get()
        self.assertEqual(pool.free(), 4)

    def test_what_an_os_thread_connects_after_the_timeout_is_closed(self):
        go_on = patcher.original("threading").Event()
        connect = self.module.connect

        def wait_and_connect():
            go_on.wait()
            return connect()

        self.module.connect = wait_and_connect
        pool = db_pool.TpooledConnectionPool(self.module, connect_timeout=0.01)
        with self.assertRaises(db_pool.ConnectTimeout):
            pool.get()
        go_on.set()
        while not self.module.connections or not self.module.connections[0].closed:
            eventlet.sleep(0.001)
        self.assertEqual(pool.free(), 4)

    def test_a_connection_returned_twice_counts_once(self):
        # Stock counts it twice, and then makes more connections than it may.
        pool = self.make(max_size=2)
        conn = pool.get()
        conn.close()
        pool.put(conn)
        self.assertEqual((pool.current_size, pool.free()), (1, 2))

    def test_a_kill_during_cleanup_frees_the_slot(self):
        # Stock loses it.
        pool = self.make(max_size=1, cleanup=lambda conn: eventlet.sleep(5))
        conn = pool.get()
        thread = eventlet.spawn(pool.put, conn)
        eventlet.sleep(0)
        thread.kill()
        self.assertEqual(pool.free(), 1)

    def test_a_connection_whose_cleanup_fails_is_closed(self):
        def fail(conn):
            raise Boom

        pool = self.make(cleanup=fail)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            pool.put(pool.get())
        self.assertIn("WARNING: cleanup", printed.getvalue())
        self.assertTrue(self.module.connections[0].closed)
        self.assertEqual(pool.current_size, 0)

    def test_idle_connections_are_closed_in_time(self):
        pool = self.make(max_idle=0.02)
        pool.put(pool.get())
        self.assertFalse(self.module.connections[0].closed)
        while not self.module.connections[0].closed:
            eventlet.sleep(0.01)
        self.assertEqual((pool.current_size, len(pool.free_items)), (0, 0))

    def test_a_closed_wrapper_is_of_no_use(self):
        pool = self.make()
        conn = pool.get()
        self.assertEqual((bool(conn), conn.cursor(), conn.closed), (True, "cursor", False))
        conn.close()
        self.assertFalse(conn)
        with self.assertRaises(AttributeError):
            conn.cursor()

    def test_attributes_are_the_connections(self):
        pool = self.make()
        conn = pool.get()
        real = self.module.connections[0]
        conn.autocommit = True
        self.assertIs(real.autocommit, True)
        self.assertIs(conn.autocommit, True)
        del conn.autocommit
        self.assertFalse(hasattr(conn, "autocommit"))
        real.Error = ValueError
        self.assertIs(conn.Error, ValueError)
        real._private = 3
        self.assertEqual(conn._private, 3)

    def test_a_wrapper_keeps_what_a_connection_does_not_take(self):
        class Slotted:
            __slots__ = ("closed",)

            @property
            def fixed(self):
                return 1

            def rollback(self):
                pass

        self.module.connect = Slotted
        conn = self.make().get()
        conn.mark = 5
        self.assertEqual(conn.mark, 5)
        with self.assertRaises(AttributeError):
            conn.fixed = 2

    def test_a_wrapper_that_was_given_back_has_a_repr(self):
        conn = self.make().get()
        self.assertEqual(repr(conn), repr(self.module.connections[0]))
        conn.close()
        self.assertIn("given back", repr(conn))

    def test_a_connector_has_a_pool_for_each_database(self):
        connector = db_pool.DatabaseConnector(self.module, {"default": {"user": "me"}}, db_pool.RawConnectionPool)
        pool = connector.get("host", "one")
        self.assertIs(connector.get("host", "one"), pool)
        self.assertIsNot(connector.get("host", "two"), pool)
        self.assertEqual(pool._kwargs, {"db": "one", "host": "host", "user": "me"})


class Graph(Case):
    def test_values_come_as_they_are_ready(self):
        pool = dagpool.DAGPool({"a": 1})
        pool.spawn("sum", ("a", "b"), lambda key, results: list(results))
        eventlet.sleep(0)
        pool.post("b", 2)
        self.assertEqual(pool["sum"], [("a", 1), ("b", 2)])

    def test_an_error_goes_down_the_graph(self):
        def fail(key, results):
            raise Boom("here")

        pool = dagpool.DAGPool()
        pool.spawn("a", (), fail)
        pool.spawn("b", ("a",), lambda key, results: dict(results))
        with self.assertRaises(dagpool.PropagateError) as caught:
            pool.wait()
        self.assertIsInstance(dict(pool.wait_each_exception())["b"].exc.exc, Boom)
        self.assertEqual(str(pickle.loads(pickle.dumps(caught.exception))), str(caught.exception))

    def test_kill_of_one_that_has_begun(self):
        # Stock raises KeyError.
        pool = dagpool.DAGPool()
        pool.spawn("a", ("never",), lambda key, results: list(results))
        eventlet.sleep(0)
        self.assertEqual(pool.waiting_for("a"), {"never"})
        pool.kill("a")
        pool.post("a", 5)
        self.assertEqual((pool["a"], pool.running()), (5, 0))

    def test_keys_can_be_used_once(self):
        pool = dagpool.DAGPool({"a": 1})
        pool.spawn("b", ("never",), lambda key, results: list(results))
        for use in (lambda: pool.spawn("a", (), None), lambda: pool.post("a", 2), lambda: pool.post("b", 2)):
            with self.assertRaises(dagpool.Collision):
                use()
        pool.post("a", 2, replace=True)
        self.assertEqual(pool["a"], 2)
        pool.kill("b")


class Counter(Case):
    def test_wait_ends_at_zero_as_often_as_it_gets_there(self):
        counter = coros.metaphore()
        counter.wait()
        for _ in range(2):
            counter.inc(2)
            waiter = eventlet.spawn(counter.wait)
            counter.dec()
            eventlet.sleep(0)
            self.assertFalse(waiter.dead)
            counter.dec()
            waiter.wait()
        counter.dec()
        self.assertEqual(counter.counter, 0)


if __name__ == "__main__":
    unittest.main()
