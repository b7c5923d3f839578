"""What `queue` is after monkey_patch(): the standard library's, for green threads."""

import collections
import queue as standard
import sys
import unittest

import eventlet
from eventlet.green import Queue as patched
from guarded import Guarded
from scenario import Scenario


def started(function, *args, **kwargs):
    """A green thread that has begun."""
    thread = eventlet.spawn(function, *args, **kwargs)
    eventlet.sleep(0)
    return thread


class Patched(Guarded, Scenario):
    def test_attributes_and_errors_are_the_standard_librarys(self):
        items = patched.Queue()
        self.assertEqual((items.maxsize, items.unfinished_tasks, items.full()), (0, 0, False))
        self.assertRaises(ValueError, items.get, timeout=-1)
        self.assertRaises(ValueError, items.task_done)
        limited = patched.Queue(1)
        limited.put(1)
        self.assertRaises(ValueError, limited.put, 2, timeout=-1)
        self.assertRaises(standard.Full, limited.put, 2, timeout=0.001)
        self.assertRaises(standard.Full, limited.put_nowait, 2)
        self.assertRaises(standard.Empty, items.get_nowait)
        self.assertIs(patched.Empty, standard.Empty)
        self.assertIs(patched.Full, standard.Full)

    def test_orders(self):
        for kind, out in [
            (patched.Queue, [3, 1, 2]), (patched.SimpleQueue, [3, 1, 2]), (patched.LifoQueue, [2, 1, 3]),
            (patched.PriorityQueue, [1, 2, 3]),
        ]:  # fmt: skip
            items = kind()
            for item in (3, 1, 2):
                items.put(item)
            self.assertEqual([items.get() for _ in range(3)], out)

    def test_the_mutex_and_the_conditions_may_be_used(self):
        items = patched.Queue(1)
        items.put(1)
        putter = started(items.put, 2)
        with items.mutex:
            items.queue.clear()
            items.not_full.notify()
        putter.wait()
        self.assertEqual(items.get(), 2)
        getter = started(items.get)
        with items.not_empty:
            items.queue.append(3)
            items.not_empty.notify()
        self.assertEqual(getter.wait(), 3)

        def join_in_time():
            with items.all_tasks_done:
                while items.unfinished_tasks:
                    items.all_tasks_done.wait(5)

        joiner = started(join_in_time)
        for _ in range(2):
            items.task_done()
        joiner.wait()

    @unittest.skipUnless(hasattr(standard, "ShutDown"), "CPython 3.13 has it")
    def test_shutdown_ends_those_who_wait(self):
        for kind in (patched.Queue, patched.LifoQueue, patched.PriorityQueue):
            items = kind(1)
            getters = [started(items.get) for _ in range(2)]
            items.shutdown()
            for getter in getters:
                self.assertRaises(standard.ShutDown, getter.wait)
            self.assertRaises(standard.ShutDown, items.put, 1)
            full = kind(1)
            full.put(1)
            putter, joiner = started(full.put, 2), started(full.join)
            full.shutdown(immediate=True)
            self.assertRaises(standard.ShutDown, putter.wait)
            joiner.wait()
            self.assertRaises(standard.ShutDown, full.get_nowait)

    def test_a_getter_killed_after_it_was_told_of_an_item_leaves_it_to_the_next(self):
        items = patched.Queue()
        first, second = started(items.get), started(items.get)
        items.put(1)
        first.kill()
        self.assertEqual(second.wait(), 1)
        limited = patched.Queue(1)
        limited.put(0)
        first, second = started(limited.put, 1), started(limited.put, 2)
        limited.get()
        first.kill()
        second.wait()
        self.assertEqual(limited.get(), 2)

    def test_the_hub_may_put_while_os_threads_use_the_queue(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import queue
            sys.setswitchinterval(1e-5)
            native = eventlet.patcher.original("threading")
            items, over = queue.Queue(), native.Event()
            def use():
                while not over.is_set():
                    items.put(1)
                    items.get()
            threads = [native.Thread(target=use) for _ in range(2)]
            for thread in threads:
                thread.start()
            hub, put = eventlet.hubs.get_hub(), []
            def put_next():
                items.put_nowait(2)
                put.append(2)
                if len(put) < 300:
                    hub.schedule_call_global(0, put_next)
                else:
                    over.set()
            hub.schedule_call_global(0, put_next)
            while len(put) < 300:
                eventlet.sleep(0.01)
            for thread in threads:
                thread.join()
            """
        )

    def test_without_a_look_inside_it_costs_one_python_call_each(self):
        for kind in (patched.Queue, patched.LifoQueue):
            items, calls = kind(), []
            items.put(0)
            sys.setprofile(lambda frame, event, arg: calls.append(event))
            try:
                items.put(1)
                items.get()
            finally:
                sys.setprofile(None)
            self.assertEqual(calls.count("call"), 2)

    def test_those_who_wait_go_on_once_somebody_looks_inside(self):
        for kind in (patched.Queue, patched.LifoQueue, patched.PriorityQueue):
            items = kind()
            getters = [started(items.get) for _ in range(2)] + [started(items.get, timeout=20)]
            hasty = started(items.get, timeout=0.01)
            with items.mutex:
                items.queue.append(1)
                items.not_empty.notify()
            self.assertRaises(standard.Empty, hasty.wait)
            items.put(2)
            items.put(3)
            self.assertEqual(sorted(getter.wait() for getter in getters), [1, 2, 3])
            self.assertEqual((items.qsize(), items.unfinished_tasks), (0, 2))

            limited = kind(1)
            limited.put(4)
            putters = [started(limited.put, number) for number in (1, 2)] + [started(limited.put, 3, timeout=20)]
            joiner = started(limited.join)
            with limited.not_full:
                self.assertEqual(list(limited.queue), [4])
            self.assertEqual((limited.full(), limited.qsize(), limited.unfinished_tasks), (True, 1, 1))
            self.assertRaises(standard.Full, limited.put, 5, timeout=0.01)
            self.assertEqual([limited.get() for _ in range(4)][0], 4)
            for putter in putters:
                putter.wait()
            for _ in range(4):
                self.assertFalse(joiner.dead)
                limited.task_done()
                eventlet.sleep(0)
            joiner.wait()
            self.assertRaises(ValueError, limited.task_done)

    def test_what_is_set_counts(self):
        items = patched.Queue(1)
        items.put(1)
        putter = started(items.put, 2)
        items.maxsize = 2
        self.assertRaises(standard.Full, lambda: (items.put_nowait(3), items.put_nowait(3)))
        items.queue = collections.deque([7])
        items.unfinished_tasks = 1
        items.task_done()
        items.join()
        self.assertEqual((items.get(), items.maxsize), (7, 2))
        putter.kill()

    def test_a_subclass_may_override_anything(self):
        class Unique(patched.Queue):
            def _init(self, maxsize):
                self.queue = set()

            def _put(self, item):
                self.queue.add(item)

            def _get(self):
                return self.queue.pop()

        items = Unique()
        getter = started(items.get)
        items.put(1)
        self.assertEqual(getter.wait(), 1)
        items.put(2)
        items.put(2)
        self.assertEqual((items.qsize(), items.get()), (1, 2))

    def test_os_threads_that_use_it_while_somebody_looks_inside_lose_nothing(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import queue
            sys.setswitchinterval(1e-6)
            native = eventlet.patcher.original("threading")
            for _ in range(30):
                items, got = queue.Queue(8), []
                def produce():
                    for number in range(100):
                        items.put(number)
                def consume():
                    for _ in range(100):
                        got.append(items.get())
                        items.task_done()
                threads = [native.Thread(target=work) for work in (produce, consume) * 2]
                for thread in threads:
                    thread.start()
                while len(got) < 50:
                    real_sleep(0)
                with items.mutex:
                    pass
                for thread in threads:
                    thread.join()
                items.join()
                assert sorted(got) == sorted([*range(100)] * 2) and not items.unfinished_tasks
            """
        )

    def test_os_threads_that_look_inside_at_once_see_one_mutex(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import queue
            sys.setswitchinterval(1e-6)
            native = eventlet.patcher.original("threading")
            for _ in range(200):
                items, seen = queue.Queue(), []
                def look():
                    seen.append(items.mutex)
                threads = [native.Thread(target=look) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert seen == [items.not_empty._lock] * 4, seen
            """
        )

    def test_tries_in_a_loop_let_others_run(self):
        full = patched.Queue(1)
        full.put(0)
        for attempt in (patched.Queue().get_nowait, patched.SimpleQueue().get_nowait, lambda: full.put_nowait(1)):
            ran = []
            eventlet.spawn(ran.append, True)
            while not ran:
                self.assertRaises((standard.Empty, standard.Full), attempt)


if __name__ == "__main__":
    unittest.main()
