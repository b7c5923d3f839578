"""tpool: blocking functions in OS threads, and what becomes of their results."""

import builtins
import copy
import os
import sys
import time
import unittest

import eventlet
from eventlet import hubs, patcher, tpool
from greenlet import GreenletExit

native_time = patcher.original("time")
native_threading = patcher.original("threading")


class Case(unittest.TestCase):
    def setUp(self):
        timeout = eventlet.Timeout(20)
        self.addCleanup(timeout.cancel)
        self.addCleanup(tpool.killall)


class Execute(Case):
    def test_others_run_meanwhile(self):
        ticks = []

        def tick():
            while True:
                ticks.append(1)
                eventlet.sleep(0.005)

        ticker = eventlet.spawn(tick)
        self.assertEqual(tpool.execute(lambda: native_time.sleep(0.1) or "done"), "done")
        ticker.kill()
        self.assertGreater(len(ticks), 5)

    def test_it_runs_in_another_thread_with_its_arguments(self):
        here = native_threading.get_ident()
        there = tpool.execute(lambda *args, **kwargs: (native_threading.get_ident(), args, kwargs), 1, two=2)
        self.assertNotEqual(there[0], here)
        self.assertEqual(there[1:], ((1,), {"two": 2}))

    def test_a_result_that_looks_like_exc_info_is_a_result(self):
        # Stock raises it.
        error = ValueError("a value")
        self.assertEqual(tpool.execute(lambda: (ValueError, error, None)), (ValueError, error, None))

    def test_every_error_reaches_the_caller(self):
        # Stock's thread ends with all but Exception and Timeout, and its caller waits for ever.
        for kind in (RuntimeError, eventlet.Timeout, SystemExit, KeyboardInterrupt, GreenletExit):

            def fail():
                raise kind

            with self.subTest(kind), self.assertRaises(kind):
                tpool.execute(fail)

    def test_an_error_keeps_no_arguments_alive(self):
        class Big:
            pass

        big = Big()

        def fail(_):
            raise RuntimeError("boom")

        try:
            tpool.execute(fail, big)
        except RuntimeError as error:
            caught = error
        eventlet.sleep(0.05)
        count = sys.getrefcount(big)
        del caught
        self.assertEqual(count, sys.getrefcount(big))

    def test_it_may_be_nested(self):
        self.assertEqual(tpool.execute(tpool.execute, lambda: 5), 5)

    def test_a_timeout_ends_the_wait_and_leaves_the_pool_usable(self):
        with self.assertRaises(eventlet.Timeout), eventlet.Timeout(0.02):
            tpool.execute(native_time.sleep, 0.1)
        self.assertEqual(tpool.execute(int, "7"), 7)

    def test_threads_are_started_as_they_are_needed(self):
        for _ in range(10):
            tpool.execute(int)
            eventlet.sleep(0.01)
        self.assertLess(len(tpool._workers.threads), 3)
        pool = eventlet.GreenPool()
        for _ in range(30):
            pool.spawn_n(tpool.execute, native_time.sleep, 0.05)
        pool.waitall()
        self.assertEqual(len(tpool._workers.threads), tpool._nthreads)

    def test_every_hub_gets_its_own_results(self):
        # Stock sends all of them to the hub that was first.
        results = []

        def other_thread():
            results.append([tpool.execute(pow, 2, n) for n in range(20)])

        threads = [native_threading.Thread(target=other_thread) for _ in range(3)]
        tpool.execute(int)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            tpool.execute(native_time.sleep, 0.001)
        self.assertEqual(results, [[2**n for n in range(20)]] * 3)

    def test_the_hub_itself_may_not_wait(self):
        caught = eventlet.Event()

        def in_hub():
            try:
                tpool.execute(int)
            except RuntimeError as error:
                caught.send(str(error))

        hubs.get_hub().schedule_call_global(0, in_hub)
        self.assertIn("mainloop", caught.wait())


class Ending(Case):
    def test_killall_lets_the_hub_run_for_what_functions_still_need(self):
        # Stock joins the threads first (989): this would never end.
        event = native_threading.Event()

        def helper():
            eventlet.sleep(0.05)
            event.set()

        waiter = eventlet.spawn(tpool.execute, event.wait, 5)
        eventlet.sleep(0)
        eventlet.spawn_n(helper)
        started = time.monotonic()
        tpool.killall()
        self.assertLess(time.monotonic() - started, 3)
        self.assertTrue(waiter.wait())

    def test_the_pool_starts_again_after_killall(self):
        tpool.execute(int)
        tpool.killall()
        self.assertEqual(tpool.execute(int, "3"), 3)

    def test_the_child_of_a_fork_has_threads_of_its_own(self):
        # Stock's child waits for ever for those of its parent.
        tpool.execute(int)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with eventlet.Timeout(5):
                    status = tpool.execute(int, "0")
            finally:
                os._exit(status)
        for _ in range(1000):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            eventlet.sleep(0.01)
        self.assertEqual((done, status), (pid, 0))


class Lent:
    """Something whose methods block."""

    def __init__(self):
        self.threads = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.threads.append(native_threading.get_ident())

    def __getitem__(self, key):
        return [key]

    def __delitem__(self, key):
        self.deleted = key

    def __iter__(self):
        return iter([1, 2])

    def work(self):
        self.threads.append(native_threading.get_ident())
        return self


class Proxy(Case):
    def test_a_context_manager_stays_behind_its_proxy(self):
        # Stock hands out the object itself, and what is called inside blocks the hub.
        lent = Lent()
        with tpool.Proxy(lent) as inside:
            inside.work()
        self.assertIsInstance(inside, tpool.Proxy)
        self.assertNotIn(native_threading.get_ident(), lent.threads)

    def test_results_are_wrapped_by_type_and_by_name(self):
        lent = Lent()
        self.assertIsInstance(tpool.Proxy(lent, autowrap=(Lent,)).work(), tpool.Proxy)
        self.assertIsInstance(tpool.Proxy(lent, autowrap_names=("work",)).work(), tpool.Proxy)
        self.assertIs(tpool.Proxy(lent).work(), lent)

    def test_attributes_are_set_on_the_object_and_in_the_pool(self):
        class Setting(Lent):
            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                if name == "mode":
                    self.threads.append(native_threading.get_ident())

        lent = Setting()
        proxy = tpool.Proxy(lent)
        proxy.mode = 5
        self.assertEqual((lent.mode, proxy.mode), (5, 5))
        self.assertNotIn(native_threading.get_ident(), lent.threads)
        self.assertEqual(len(lent.threads), 1)
        del proxy.mode
        self.assertFalse(hasattr(lent, "mode"))
        self.assertEqual(repr(proxy), repr(lent))

    def test_errors_of_a_module_can_be_caught(self):
        with self.assertRaises(ZeroDivisionError):
            try:
                1 / 0
            except tpool.Proxy(builtins).ValueError:
                pass

    def test_nonblocking_calls_stay_here(self):
        lent = Lent()
        tpool.Proxy(lent).work(nonblocking=True)
        self.assertEqual(lent.threads, [native_threading.get_ident()])

    def test_what_has_no_methods_for_it_is_copied_too(self):
        inner = []
        self.assertEqual(copy.copy(tpool.Proxy([inner])), [inner])
        self.assertIs(copy.copy(tpool.Proxy([inner]))[0], inner)
        self.assertIsNot(copy.deepcopy(tpool.Proxy([inner]))[0], inner)

    def test_items_and_iteration(self):
        lent = Lent()
        proxy = tpool.Proxy(lent)
        self.assertEqual((proxy[3], list(proxy)), ([3], [1, 2]))
        del proxy[4]
        self.assertEqual(lent.deleted, 4)


if __name__ == "__main__":
    unittest.main()
