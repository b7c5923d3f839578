"""Green pools and piles: what they mean, the bugs of eventlet that ours must not have, and kills at any moment."""

import contextlib
import gc
import io
import random
import threading
import unittest
import weakref
from unittest import mock

from greenlet import GreenletExit

import eventlet
from eventlet import greenpool, hubs
from guarded import Guarded


class Boom(Exception):
    pass


def fail(error=Boom):
    raise error


def started(function, *args):
    """A green thread that has begun."""
    thread = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    return thread


@contextlib.contextmanager
def errors():
    """What is printed to stderr."""
    with mock.patch("sys.stderr", io.StringIO()) as text:
        yield text


class Pools(Guarded):
    def test_arguments_are_checked(self):
        self.assertEqual(greenpool.GreenPool().size, 1000)
        self.assertEqual(greenpool.GreenPool(1e1).size, 10)
        self.assertRaises(TypeError, greenpool.GreenPool, "foo")
        self.assertRaises(ValueError, greenpool.GreenPool, -1)
        self.assertRaises(TypeError, greenpool.GreenPool(1).spawn)

    def test_spawn_returns_a_green_thread_with_the_result(self):
        pool = greenpool.GreenPool(2)
        thread = pool.spawn(lambda *args, **kwargs: (args, kwargs), 1, a=2)
        self.assertIsInstance(thread, eventlet.greenthread.GreenThread)
        self.assertEqual((pool.running(), pool.free()), (1, 1))
        self.assertEqual(pool.coroutines_running, {thread})
        self.assertEqual(thread.wait(), ((1,), {"a": 2}))
        self.assertEqual((pool.running(), pool.free(), pool.coroutines_running), (0, 2, set()))

    def test_spawn_n_returns_nothing(self):
        pool, seen = greenpool.GreenPool(2), []
        self.assertIsNone(pool.spawn_n(lambda *args, **kwargs: seen.append((args, kwargs)), 1, a=2))
        self.assertEqual((pool.running(), pool.free()), (1, 1))
        pool.waitall()
        self.assertEqual(seen, [((1,), {"a": 2})])
        self.assertEqual((pool.running(), pool.free()), (0, 2))

    def test_a_full_pool_makes_spawners_wait_in_order(self):
        pool, log = greenpool.GreenPool(2), []

        def work(number):
            log.append(number)
            eventlet.sleep(0.01)

        spawners = [started(pool.spawn_n, work, number) for number in range(4)]
        self.assertEqual((pool.free(), pool.running(), pool.waiting()), (0, 2, 2))
        [spawner.wait() for spawner in spawners]
        pool.waitall()
        self.assertEqual(log, [0, 1, 2, 3])
        self.assertEqual((pool.free(), pool.waiting()), (2, 0))

    def test_a_spawn_inside_a_full_pool_runs_in_place(self):
        pool = greenpool.GreenPool(1)

        def outer():
            me = eventlet.getcurrent()
            thread = pool.spawn(lambda: eventlet.getcurrent())
            self.assertIs(thread.wait(), me)
            seen = []
            pool.spawn_n(lambda: seen.append(eventlet.getcurrent()))
            self.assertEqual(seen, [me])
            self.assertRaises(Boom, pool.spawn, fail)
            return "done"

        self.assertEqual(pool.spawn(outer).wait(), "done")
        self.assertEqual(pool.free(), 1)

    def test_spawn_n_in_place_prints_errors(self):
        pool = greenpool.GreenPool(1)
        with errors() as text:
            pool.spawn(lambda: pool.spawn_n(fail)).wait()
        self.assertIn("Boom", text.getvalue())
        self.assertRaises(KeyboardInterrupt, pool.spawn(lambda: pool.spawn_n(fail, KeyboardInterrupt)).wait)

    def test_errors_give_the_place_back(self):
        pool = greenpool.GreenPool(2)
        with errors() as text:
            thread = pool.spawn(fail)
            self.assertRaises(Boom, thread.wait)
            pool.spawn_n(fail)
            pool.waitall()
        self.assertEqual(text.getvalue().count("Boom"), 2)
        with mock.patch.object(greenpool, "DEBUG", False), errors() as text:
            pool.spawn_n(fail)
            pool.waitall()
        self.assertEqual(text.getvalue(), "")
        self.assertEqual((pool.free(), pool.running()), (2, 0))

    def test_what_ends_programs_passes(self):
        pool = greenpool.GreenPool(2)
        pool.spawn_n(fail, KeyboardInterrupt)
        self.assertRaises(KeyboardInterrupt, eventlet.sleep, 0.01)
        self.assertEqual(pool.free(), 2)

    def test_waitall_waits_for_all(self):
        pool, log = greenpool.GreenPool(3), []
        pool.waitall()
        for number in range(3):
            pool.spawn(lambda number: (eventlet.sleep(0.002 * number), log.append(number)), number)
        waiters = [started(pool.waitall), started(pool.waitall)]
        self.assertFalse(waiters[0].dead)
        [waiter.wait() for waiter in waiters]
        self.assertEqual(log, [0, 1, 2])

    def test_waitall_inside_is_an_error(self):
        pool = greenpool.GreenPool(3)
        with errors():
            self.assertRaises(AssertionError, pool.spawn(pool.waitall).wait)

    def test_waitall_does_not_end_before_a_waiting_spawner_had_its_turn(self):
        pool, log = greenpool.GreenPool(1), []
        pool.spawn_n(eventlet.sleep, 0)
        spawner = started(pool.spawn_n, log.append, 1)
        pool.waitall()
        self.assertEqual(log, [1])
        spawner.wait()

    def test_waitall_ends_if_the_waiting_spawner_is_killed(self):
        pool = greenpool.GreenPool(1)
        worker = pool.spawn(eventlet.sleep, 0)
        spawner = eventlet.spawn(pool.spawn_n, eventlet.sleep, 1)
        waiter = started(pool.waitall)
        worker.link(lambda _: spawner.kill())
        waiter.wait()
        self.assertEqual((pool.free(), pool.waiting(), pool.running()), (1, 0, 0))

    def test_resize_upward_lets_spawners_go_on(self):
        pool, log = greenpool.GreenPool(1), []
        block = pool.spawn(eventlet.sleep, 10)
        spawners = [started(pool.spawn_n, log.append, number) for number in range(2)]
        pool.resize(2)
        [spawner.wait() for spawner in spawners]
        eventlet.sleep(0)
        self.assertEqual((log, pool.size, pool.free()), ([0, 1], 2, 1))
        block.kill()

    def test_resize_downward_waits_for_those_that_run(self):
        pool = greenpool.GreenPool(3)
        threads = [pool.spawn(eventlet.sleep, 0) for _ in range(3)]
        pool.resize(1)
        self.assertEqual((pool.free(), pool.running()), (-2, 3))
        [thread.wait() for thread in threads]
        self.assertEqual((pool.free(), pool.size), (1, 1))

    def test_celery_changes_size_and_semaphore_itself(self):
        pool, log = greenpool.GreenPool(1), []
        block = pool.spawn(eventlet.sleep, 10)
        spawner = started(pool.spawn_n, log.append, 1)
        pool.size = 2
        pool.sem.release()
        spawner.wait()
        eventlet.sleep(0)
        self.assertEqual((log, pool.free()), ([1], 1))
        pool.size = 1
        pool.sem.counter -= 1
        self.assertEqual(pool.free(), 0)
        block.kill()
        pool.waitall()
        self.assertEqual(pool.free(), 1)

    def test_swift_kills_what_runs(self):
        class ContextPool(greenpool.GreenPool):
            def __enter__(self):
                return self

            def __exit__(self, *_):
                for thread in list(self.coroutines_running):
                    thread.kill()

        with ContextPool(5) as pool:
            begun = [pool.spawn(eventlet.sleep, 10) for _ in range(2)]
            eventlet.sleep(0)
            unbegun = [pool.spawn(eventlet.sleep, 10) for _ in range(2)]
        self.assertEqual((pool.running(), pool.free()), (0, 5))
        for thread in begun + unbegun:
            self.assertRaises(GreenletExit, thread.wait)

    def test_one_that_is_killed_before_it_began_gives_its_place_back(self):
        pool, log = greenpool.GreenPool(2), []
        pool.spawn_n(log.append, 1)
        (greenlet,) = pool.coroutines_running
        eventlet.kill(greenlet)
        thread = pool.spawn(log.append, 2)
        thread.kill()
        self.assertEqual((pool.free(), pool.running()), (2, 0))
        eventlet.sleep(0)
        self.assertEqual(log, [])
        pool.waitall()

    def test_a_place_is_free_when_links_are_called(self):
        pool, seen = greenpool.GreenPool(1), []
        thread = pool.spawn(eventlet.sleep, 0)
        thread.link(lambda _: seen.append((pool.free(), pool.running())))
        thread.wait()
        self.assertEqual(seen, [(1, 0)])

    def test_a_spawner_whose_timeout_fires_takes_no_place(self):
        pool = greenpool.GreenPool(1)
        block = pool.spawn(eventlet.sleep, 10)
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.001):
            pool.spawn(eventlet.sleep, 0)
        self.assertEqual((pool.waiting(), pool.running()), (0, 1))
        block.kill()
        self.assertEqual(pool.free(), 1)

    def test_a_pool_and_its_threads_are_forgotten(self):
        pool = greenpool.GreenPool(2)
        references = [weakref.ref(pool), weakref.ref(pool.spawn(eventlet.sleep, 0))]
        pool.spawn_n(eventlet.sleep, 0)
        pool.waitall()
        eventlet.sleep(0)
        del pool
        gc.collect()
        self.assertEqual([reference() for reference in references], [None, None])

    def test_it_works_on_a_hub_written_in_python(self):
        def run():
            class Own(hubs.get_default_hub().Hub):
                def schedule_call_global(self, *args, **kwargs):
                    calls.append(args)
                    return super().schedule_call_global(*args, **kwargs)

            hubs.use_hub(Own)
            pool = greenpool.GreenPool(2)
            for number in range(5):
                pool.spawn_n(log.append, number)
            log.append(pool.spawn(lambda: 5).wait())
            pool.waitall()
            log.append(list(pool.imap(str, range(3))))

        calls, log = [], []
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(10)
        self.assertEqual(log, [0, 1, 2, 3, 4, 5, ["0", "1", "2"]])
        self.assertGreater(len(calls), 5)

    def test_random_kills_leave_all_places_free(self):
        chance = random.Random(3)
        pool, spawners = greenpool.GreenPool(4), []

        def work():
            eventlet.sleep(chance.choice([0, 0, 0.0002]))
            if chance.random() < 0.2:
                pool.spawn_n(eventlet.sleep, 0)

        def spawn():
            chance.choice([pool.spawn, pool.spawn_n])(work)

        for _ in range(2000):
            spawners.append(eventlet.spawn(spawn))
            if chance.random() < 0.1:
                eventlet.sleep(0)
            if chance.random() < 0.2:
                chance.choice(spawners[-10:]).kill()
            if chance.random() < 0.2 and pool.coroutines_running:
                eventlet.kill(chance.choice(sorted(pool.coroutines_running, key=id)))
            self.assertLessEqual(pool.running(), 4)
            if chance.random() < 0.01:
                pool.waitall()
        for spawner in spawners:
            with contextlib.suppress(GreenletExit):
                spawner.wait()
        pool.waitall()
        self.assertEqual((pool.free(), pool.running(), pool.waiting()), (4, 0, 0))


class Maps(Guarded):
    def test_results_come_in_order(self):
        pool = greenpool.GreenPool(3)

        def work(number, other):
            eventlet.sleep(0.001 * (5 - number % 5))
            return number + other

        self.assertEqual(list(pool.imap(work, range(10), range(0, 100, 10))), [11 * number for number in range(10)])
        self.assertEqual(list(pool.starmap(max, [(1, 2), (4, 3)])), [2, 4])
        self.assertEqual(list(pool.imap(None, "ab")), [("a",), ("b",)])
        self.assertEqual(list(pool.imap(str, [])), [])

    def test_exceptions_come_in_order_and_the_iterator_goes_on(self):
        def work(number):
            return fail() if number % 2 else number

        results, log = greenpool.GreenPool(3).imap(work, range(5)), []
        with errors():
            for _ in range(5):
                try:
                    log.append(results.next())
                except Boom:
                    log.append("boom")
        self.assertEqual(log, [0, "boom", 2, "boom", 4])
        self.assertRaises(StopIteration, results.next)

    def test_arguments_are_taken_as_results_are(self):
        taken = []

        def endless():
            while True:
                taken.append(len(taken))
                yield taken[-1]

        results = greenpool.GreenPool(2).imap(lambda number: number, endless())
        self.assertEqual([next(results) for _ in range(5)], [0, 1, 2, 3, 4])
        self.assertLess(len(taken), 15)

    def test_an_error_of_the_arguments_reaches_who_iterates(self):
        def arguments():
            yield 1
            raise Boom

        results = greenpool.GreenPool(2).imap(lambda number: number, arguments())
        self.assertEqual(next(results), 1)
        with errors():
            self.assertRaises(Boom, next, results)
        self.assertRaises(StopIteration, next, results)


class Piles(Guarded):
    def test_results_come_in_order(self):
        pile = greenpool.GreenPile(2)
        for number in range(6):
            pile.spawn(lambda number: (eventlet.sleep(0.001 * (6 - number)), number)[1], number)
        self.assertEqual(list(pile), list(range(6)))
        self.assertRaises(StopIteration, pile.next)

    def test_piles_share_a_pool(self):
        pool = greenpool.GreenPool(2)
        one, other = greenpool.GreenPile(pool), greenpool.GreenPile(pool)
        self.assertIs(one.pool, pool)
        one.spawn(str, 1)
        other.spawn(str, 2)
        self.assertEqual((list(other), list(one)), (["2"], ["1"]))

    def test_a_spawn_that_fails_is_not_waited_for(self):
        pile = greenpool.GreenPile(1)
        pile.spawn(eventlet.sleep, 0.01)
        with eventlet.Timeout(0.001, False):
            pile.spawn(str, 1)
        self.assertEqual(list(pile), [None])


if __name__ == "__main__":
    unittest.main()
