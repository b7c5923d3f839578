"""Queues: what they mean, the bugs of eventlet that ours must not have, kills at any moment, and other OS threads.

Over 500 lines: kills, tasks and OS threads are tested on every kind of queue, with the same helpers.
"""

import collections
import gc
import queue as standard
import random
import threading
import time
import unittest
import weakref

from greenlet import GreenletExit

import eventlet
from eventlet import hubs, queue
from guarded import Guarded


def started(function, *args, **kwargs):
    """A green thread that has begun."""
    thread = eventlet.spawn(function, *args, **kwargs)
    eventlet.sleep(0)
    return thread


def in_hub(function, *args):
    """What a function does when the hub's own greenlet calls it."""
    found = []

    def call():
        try:
            found.append(function(*args))
        except Exception as error:
            found.append(error)

    hubs.get_hub().schedule_call_global(0, call)
    eventlet.sleep(0)
    return found[0]


class Basics(Guarded):
    def test_the_exceptions_are_those_of_the_standard_library(self):
        self.assertIs(queue.Full, standard.Full)
        self.assertIs(queue.Empty, standard.Empty)

    def test_maxsize_is_a_limit_or_none(self):
        for maxsize, attribute in [(None, None), (-1, None), (0, 0), (2, 2), (1.5, 2), (float("inf"), None)]:
            self.assertEqual(queue.Queue(maxsize).maxsize, attribute)
        self.assertIsNone(queue.Queue().maxsize)
        limited = queue.LightQueue(1)
        self.assertEqual((limited.empty(), limited.full(), limited.qsize()), (True, False, 0))
        limited.put(1)
        self.assertEqual((limited.empty(), limited.full(), limited.qsize()), (False, True, 1))
        self.assertTrue(queue.Queue(0).full())
        self.assertFalse(queue.Queue().full())

    def test_the_container_is_an_ordinary_one(self):
        self.assertIs(type(queue.Queue().queue), collections.deque)
        self.assertIs(type(queue.PriorityQueue().queue), list)
        self.assertIs(type(queue.LifoQueue().queue), list)
        items = queue.Queue()
        items.put(1)
        items.put(2)
        items.queue.appendleft(0)
        self.assertEqual([items.get() for _ in range(3)], [0, 1, 2])

    def test_another_container_is_used_by_its_methods(self):
        class Own(collections.deque):
            def append(self, item):
                super().append(item * 2)

        items = queue.LightQueue()
        items.queue = Own()
        items.put(4)
        self.assertEqual(items.get(), 8)

    def test_orders(self):
        for kind, out in [(queue.Queue, [3, 1, 2]), (queue.LifoQueue, [2, 1, 3]), (queue.PriorityQueue, [1, 2, 3])]:
            items = kind()
            for item in (3, 1, 2):
                items.put(item)
            self.assertEqual([items.get() for _ in range(3)], out)

    def test_get_waits_for_put_and_put_for_room(self):
        items, log = queue.Queue(1), []

        def produce():
            for number in range(5):
                items.put(number)
                log.append(number)

        thread = started(produce)
        self.assertEqual((log, items.putting()), ([0], 1))
        self.assertEqual([items.get() for _ in range(5)], [0, 1, 2, 3, 4])
        thread.wait()
        getter = started(items.get)
        self.assertEqual(items.getting(), 1)
        items.put("late")
        self.assertEqual(getter.wait(), "late")
        self.assertEqual((items.getting(), items.putting()), (0, 0))

    def test_time_is_limited(self):
        items = queue.Queue(1)
        began = time.monotonic()
        self.assertRaises(queue.Empty, items.get, timeout=0.02)
        items.put(1)
        self.assertRaises(queue.Full, items.put, 2, timeout=0.02)
        self.assertGreaterEqual(time.monotonic() - began, 0.04)
        self.assertRaises(queue.Full, items.put, 2, True, 0)
        self.assertEqual((items.getting(), items.putting(), list(items.queue)), (0, 0, [1]))

    def test_a_timeout_that_no_lock_of_c_takes_is_refused(self):
        for timeout, error in (float("nan"), ValueError), (1e100, OverflowError), ("1", TypeError):
            with self.subTest(timeout=timeout), self.assertRaises(error):
                queue.LightQueue().get(timeout=timeout)
            full = queue.LightQueue(1)
            full.put(1)
            with self.subTest(timeout=timeout), self.assertRaises(error):
                full.put(2, timeout=timeout)

    def test_not_blocking_raises_at_once(self):
        items = queue.Queue(1)
        self.assertRaises(queue.Empty, items.get_nowait)
        self.assertRaises(queue.Empty, items.get, False)
        items.put_nowait(1)
        self.assertRaises(queue.Full, items.put_nowait, 2)
        self.assertRaises(queue.Full, items.put, 2, block=False, timeout=5)
        self.assertEqual(items.get_nowait(), 1)

    def test_resize_lets_putters_go_on(self):
        items = queue.Queue(0)
        threads = [started(items.put, number) for number in range(3)]
        items.resize(1)
        eventlet.sleep(0)
        self.assertEqual([thread.dead for thread in threads], [True, False, False])
        items.maxsize = None
        [thread.wait() for thread in threads]
        self.assertEqual(list(items.queue), [0, 1, 2])
        items.resize(1)
        self.assertTrue(items.full())

    def test_repr_tells_the_state(self):
        items = queue.Queue(1)
        items.put("a")
        putter = started(items.put, "b")
        state = r"maxsize=1 queue=deque\(\['a'\]\) putters\[1\] tasks\[1\]"
        self.assertRegex(repr(items), rf"<.*Queue at 0x[0-9a-f]+ {state}>")
        putter.kill()

    def test_a_type_may_have_a_parameter(self):
        self.assertEqual(queue.LightQueue[int].__args__, (int,))

    def test_values_are_collected_in_cycles(self):
        items = queue.Queue()
        items.put(items)
        reference = weakref.ref(items)
        del items
        gc.collect()
        self.assertIsNone(reference())


class Order(Guarded):
    def test_putters_go_on_in_the_order_of_coming(self):
        items = queue.Queue(0)
        [started(items.put, number) for number in range(20)]
        self.assertEqual([items.get() for _ in range(20)], list(range(20)))

    def test_getters_go_on_in_the_order_of_coming(self):
        items, log = queue.Queue(), []

        def take(number):
            log.append((number, items.get()))

        threads = [started(take, number) for number in range(20)]
        for number in range(20):
            items.put(number)
        [thread.wait() for thread in threads]
        self.assertEqual(log, [(number, number) for number in range(20)])

    def test_who_finds_nothing_keeps_its_place(self):
        items, log = queue.Queue(), []

        def take(number):
            log.append((number, items.get()))

        threads = [started(take, number) for number in range(3)]
        items.put("taken")
        self.assertEqual(items.get_nowait(), "taken")
        eventlet.sleep(0)
        self.assertEqual(items.getting(), 3)
        for item in "abc":
            items.put(item)
        [thread.wait() for thread in threads]
        self.assertEqual(log, [(0, "a"), (1, "b"), (2, "c")])


class Channel(Guarded):
    def test_put_waits_until_the_item_is_taken(self):
        channel, log = queue.Queue(0), []

        def send():
            for word in ("hello", "world"):
                channel.put(word)
                log.append(f"sent {word}")

        thread = started(send)
        self.assertEqual((log, channel.qsize()), ([], 0))
        self.assertEqual(channel.get(), "hello")
        self.assertEqual(channel.get(), "world")
        thread.wait()
        self.assertEqual(log, ["sent hello", "sent world"])

    def test_get_nowait_in_a_green_thread_finds_no_putter(self):
        channel = queue.Queue(0)
        putter = started(channel.put, 1)
        self.assertRaises(queue.Empty, channel.get_nowait)
        self.assertEqual(channel.get(), 1)
        putter.wait()

    def test_get_nowait_in_the_hub_takes_from_a_putter_which_runs_at_once(self):
        channel = queue.Queue(0)
        self.assertIsInstance(in_hub(channel.get_nowait), queue.Empty)
        putter = started(channel.put, 1)
        self.assertEqual(in_hub(channel.get_nowait), 1)
        self.assertTrue(putter.dead)

    def test_put_nowait_succeeds_if_a_getter_waits(self):
        channel = queue.Queue(0)
        self.assertRaises(queue.Full, channel.put_nowait, 1)
        getter = started(channel.get)
        channel.put_nowait(2)
        self.assertEqual(getter.wait(), 2)
        getter = started(channel.get)
        self.assertIsNone(in_hub(channel.put_nowait, 3))
        self.assertTrue(getter.dead)
        self.assertEqual(getter.wait(), 3)
        self.assertIsInstance(in_hub(channel.put_nowait, 4), queue.Full)

    def test_put_nowait_fails_if_the_only_getter_is_killed_meanwhile(self):
        channel = queue.Queue(0)
        getter = started(channel.get)
        hubs.get_hub().schedule_call_global(0, getter.throw, GreenletExit)
        self.assertRaises(queue.Full, channel.put_nowait, 1)
        self.assertEqual((channel.putting(), channel.getting()), (0, 0))

    def test_a_getter_that_raises_in_the_hub_is_reported_there(self):
        channel, reports = queue.Queue(0), []

        def fail():
            channel.get()
            raise ValueError

        started(fail)
        hub = hubs.get_hub()
        hub.squelch_generic_exception = reports.append
        self.addCleanup(delattr, hub, "squelch_generic_exception")
        self.assertIsNone(in_hub(channel.put_nowait, 1))
        self.assertEqual([report[0] for report in reports], [ValueError])

    def test_a_putter_whose_time_is_up_leaves_nothing(self):
        channel = queue.Queue(0)
        self.assertRaises(queue.Full, channel.put, "hi", timeout=0.001)
        self.assertRaises(queue.Empty, channel.get, timeout=0.001)


class Kills(Guarded):
    def test_a_called_getter_that_is_killed_hands_on(self):
        items = queue.Queue()
        first, second = started(items.get), started(items.get)
        items.put(1)
        first.kill()
        self.assertEqual(second.wait(), 1)

    def test_a_called_getter_that_is_killed_alone_leaves_the_item(self):
        items = queue.Queue()
        getter = started(items.get)
        items.put(1)
        getter.kill()
        self.assertEqual(items.get_nowait(), 1)

    def test_a_called_putter_that_is_killed_hands_on(self):
        items = queue.Queue(1)
        items.put(0)
        first, second = started(items.put, 1), started(items.put, 2)
        items.get()
        first.kill()
        second.wait()
        self.assertEqual(list(items.queue), [2])

    def test_a_putter_whose_item_was_taken_has_put_it(self):
        channel = queue.Queue(0)
        putter = started(channel.put, 1)
        self.assertEqual(channel.get(), 1)
        putter.kill()
        self.assertEqual((channel.qsize(), channel.putting()), (0, 0))

    def test_a_switch_from_outside_brings_no_item(self):
        items = queue.Queue()
        getter = started(items.get)
        hubs.get_hub().schedule_call_global(0, getter.switch, "spurious")
        eventlet.sleep(0)
        eventlet.sleep(0)
        self.assertFalse(getter.dead)
        items.put("real")
        self.assertEqual(getter.wait(), "real")

    def test_killed_waiters_and_their_items_are_forgotten(self):
        class Item:
            pass

        items = queue.Queue(0)
        item = Item()
        threads = [started(items.put, item), started(queue.Queue().get)]
        references = [weakref.ref(item)] + [weakref.ref(thread) for thread in threads]
        [thread.kill() for thread in threads]
        del item, threads
        eventlet.sleep(0)
        gc.collect()
        self.assertEqual([reference() for reference in references if reference() is not None], [])

    def test_nothing_is_lost_or_doubled_whoever_is_killed_when(self):
        for maxsize in (0, 1, 3, None):
            with self.subTest(maxsize=maxsize):
                self.storm(maxsize, random.Random(maxsize or 7))

    def storm(self, maxsize, chance):
        items, put, got = queue.Queue(maxsize), [], []

        def produce(number):
            items.put(number, timeout=chance.choice([None, None, 0.0005, 0]))
            put.append(number)

        def consume():
            got.append(items.get(timeout=chance.choice([None, None, 0.0005, 0])))

        def survive(function, *args):
            try:
                function(*args)
            except (queue.Empty, queue.Full):
                pass

        threads = []
        for number in range(2000):
            threads.append(eventlet.spawn(survive, produce, number))
            threads.append(eventlet.spawn(survive, consume))
            if chance.random() < 0.2:
                chance.choice(threads[-20:]).kill()
            if chance.random() < 0.2:
                eventlet.sleep(0)
            if maxsize and chance.random() < 0.01:
                items.resize(chance.randint(1, 4))
        eventlet.sleep(0.002)
        # Whoever still waits is on one side only, and what is there is for nobody who waits.
        self.assertFalse(items.getting() and (items.putting() or items.qsize()), items)
        drain = eventlet.spawn(lambda: [got.append(items.get()) for _ in iter(int, 1)])
        eventlet.sleep(0.002)
        drain.kill()
        [thread.kill() for thread in threads]
        self.assertEqual((items.getting(), items.putting(), items.qsize()), (0, 0, 0))
        self.assertEqual(len(got), len(set(got)), "an item came twice")
        # One that was killed in put() after its item was taken does not know that it was.
        self.assertEqual(set(put) - set(got), set(), "an item was lost")


class Tasks(Guarded):
    def test_join_waits_for_task_done(self):
        items = queue.Queue()
        items.join()
        for number in range(3):
            items.put(number)
        self.assertEqual(items.unfinished_tasks, 3)
        joining = [started(items.join), started(items.join)]
        for _ in range(3):
            self.assertFalse(joining[0].dead)
            items.get()
            items.task_done()
            eventlet.sleep(0)
        [thread.wait() for thread in joining]
        self.assertRaises(ValueError, items.task_done)

    def test_an_item_that_passes_a_channel_is_a_task(self):
        channel = queue.Queue(0)
        started(channel.put, 1)
        channel.get()
        self.assertEqual(channel.unfinished_tasks, 1)

    def test_a_light_queue_has_none(self):
        self.assertFalse(hasattr(queue.LightQueue, "join"))
        self.assertFalse(hasattr(queue.LightQueue, "task_done"))
        self.assertTrue(issubclass(queue.Queue, queue.LightQueue))
        self.assertTrue(issubclass(queue.PriorityQueue, queue.Queue))
        self.assertTrue(issubclass(queue.LifoQueue, queue.Queue))


class Distinct(queue.Queue):
    """Holds each item once."""

    def _init(self, maxsize):
        self.queue = []
        self.given = maxsize

    def _put(self, item):
        if item not in self.queue:
            self.queue.append(item)
            self._put_bookkeeping()

    def _get(self):
        return self.queue.pop(0)


class Subclasses(Guarded):
    def test_the_container_s_methods_can_be_overridden(self):
        items = Distinct(3)
        self.assertEqual(items.given, 3)
        for item in "aba":
            items.put(item)
        self.assertEqual((items.qsize(), items.unfinished_tasks), (2, 2))
        self.assertEqual([items.get(), items.get()], ["a", "b"])
        getter = started(items.get)
        items.put("c")
        self.assertEqual(getter.wait(), "c")

    def test_an_offer_passes_through_the_overridden_methods(self):
        class Doubling(queue.Queue):
            def _put(self, item):
                super()._put(item * 2)

        channel = Doubling(0)
        started(channel.put, 4)
        self.assertEqual(channel.get(), 8)
        self.assertEqual(channel.unfinished_tasks, 1)

    def test_another_measure_of_size(self):
        class Weighed(queue.Queue):
            def qsize(self):
                return sum(self.queue)

        items = Weighed(5)
        items.put(5)
        self.assertTrue(items.full())
        putter = started(items.put, 1)
        self.assertFalse(putter.dead)
        items.get()
        putter.wait()
        self.assertEqual(items.qsize(), 1)

    def test_what_an_overridden_get_raises_goes_to_who_gets(self):
        class Failing(queue.Queue):
            def _get(self):
                raise KeyError(super()._get())

        items = Failing()

        def take():
            try:
                items.get()
            except KeyError as error:
                return error.args

        getter = started(take)
        items.put(1)
        self.assertEqual(getter.wait(), (1,))

    def test_a_priority_queue_with_a_put_of_its_own(self):
        class Reversed(queue.PriorityQueue):
            def _put(self, item):
                super()._put(-item)

            def _get(self):
                return -super()._get()

        items = Reversed()
        for item in (1, 3, 2):
            items.put(item)
        self.assertEqual([items.get() for _ in range(3)], [3, 2, 1])


class Threads(Guarded):
    def test_a_put_from_another_os_thread_wakes_at_once(self):
        items, times = queue.Queue(), []

        def put():
            time.sleep(0.05)
            times.append(time.monotonic())
            items.put("from afar")

        thread = threading.Thread(target=put)
        thread.start()
        self.assertEqual(items.get(), "from afar")
        self.assertLess(time.monotonic() - times[0], 1)
        thread.join()

    def test_many_os_threads_share_a_queue(self):
        for maxsize in (0, 1, None):
            items, got, total = queue.Queue(maxsize), [], 300

            def produce(base):
                [thread.wait() for thread in [eventlet.spawn(put_all, base + k * total) for k in range(2)]]

            def put_all(base):
                for number in range(total):
                    items.put(base + number)

            threads = [threading.Thread(target=produce, args=(k * 2 * total,)) for k in range(3)]
            for thread in threads:
                thread.start()
            while len(got) < 6 * total:
                got.append(items.get(timeout=10))
            for thread in threads:
                thread.join(10)
            self.assertEqual(sorted(got), list(range(6 * total)))

    def test_a_thread_that_ended_while_its_green_thread_waited_is_passed_by(self):
        for called in (False, True):
            items = queue.Queue()

            def leave_one_waiting():
                eventlet.spawn(items.get)
                eventlet.sleep(0)
                if called:
                    items.put(0)

            thread = threading.Thread(target=leave_one_waiting)
            thread.start()
            thread.join()
            time.sleep(0.05)  # A thread is joined a little before its end.
            getter = started(items.get)
            items.put(1)
            self.assertEqual(getter.wait(), 0 if called else 1)


if __name__ == "__main__":
    unittest.main()
