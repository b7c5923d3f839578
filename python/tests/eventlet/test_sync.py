"""Events, semaphores and locks: what they mean, other OS threads, and eventlet's bugs, which are not ours.

Over 500 lines: one class a primitive, and they share their helpers.
"""

import gc
import os
import random
import threading
import time
import unittest
import weakref

from greenlet import GreenletExit

import eventlet
from eventlet import event, hubs
from eventlet.lock import Lock
from eventlet.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore
from guarded import Guarded


class Boom(Exception):
    pass


# What no lock of C takes, and what it raises then.
REFUSED_TIMEOUTS = [
    (float("nan"), ValueError),
    (float("inf"), OverflowError),
    (1e100, OverflowError),
    (threading.TIMEOUT_MAX + 1, OverflowError),
    ("1", TypeError),
]


def waiting(count, function, *args):
    """That many green threads that call the function, all of which have begun."""
    threads = [eventlet.spawn(function, *args) for _ in range(count)]
    eventlet.sleep(0)
    return threads


class Events(Guarded):
    def test_wait_returns_what_is_sent_and_send_does_not_switch(self):
        sent, log = event.Event(), []
        thread = eventlet.spawn(lambda: log.append(sent.wait()))
        eventlet.sleep(0)
        sent.send(1)
        self.assertEqual(log, [])
        thread.wait()
        self.assertEqual(log, [1])
        self.assertEqual(sent.wait(), 1)

    def test_send_can_be_called_once_until_reset(self):
        sent = event.Event()
        self.assertRaises(AssertionError, sent.reset)
        sent.send(1)
        self.assertRaises(AssertionError, sent.send, 2)
        sent.reset()
        self.assertFalse(sent.ready())
        sent.send(2)
        self.assertEqual(sent.wait(), 2)

    def test_a_reset_takes_nothing_from_who_waited(self):
        sent = event.Event()
        (thread,) = waiting(1, sent.wait)
        sent.send("first")
        sent.reset()
        sent.send("second")
        self.assertEqual(thread.wait(), "first")

    def test_what_was_sent_can_be_polled(self):
        value, failure = event.Event(), event.Event()
        self.assertEqual((value.poll("no"), value.poll_result(), value.poll_exception(0)), ("no", None, 0))
        self.assertEqual((value.ready(), value.has_result(), value.has_exception()), (False, False, False))
        value.send(7)
        self.assertEqual((value.poll(), value.poll_result(), value.poll_exception()), (7, 7, None))
        self.assertEqual((value.ready(), value.has_result(), value.has_exception()), (True, True, False))
        failure.send_exception(Boom)
        self.assertEqual((failure.ready(), failure.has_result(), failure.has_exception()), (True, False, True))
        self.assertEqual(failure.poll_result("no"), "no")
        self.assertRaises(Boom, failure.poll)
        self.assertRaises(Boom, failure.poll_exception)

    def test_exceptions_come_in_all_forms_of_throw(self):
        instance = Boom()
        for arguments in [(Boom,), (instance,), (Boom, "text"), (Boom, instance, None)]:
            for when in ("before", "after"):
                sent = event.Event()
                (thread,) = waiting(1, self.outcome, sent)
                if when == "before":
                    sent.send_exception(*arguments)
                    raised = thread.wait()
                else:
                    thread.kill()
                    sent.send(exc=arguments)
                    raised = self.outcome(sent)
                self.assertIsInstance(raised, Boom)

    @staticmethod
    def outcome(sent):
        try:
            return sent.wait()
        except BaseException as error:
            return error

    def test_an_exception_class_is_made_anew_for_each_waiter(self):
        sent = event.Event()
        threads = waiting(2, self.outcome, sent)
        sent.send_exception(Boom)
        one, other = [thread.wait() for thread in threads]
        self.assertIsNot(one, other)

    def test_a_traceback_is_kept(self):
        sent = event.Event()
        (thread,) = waiting(1, self.outcome, sent)
        try:
            raise Boom
        except Boom as error:
            line = error.__traceback__.tb_lineno
            sent.send_exception(type(error), error, error.__traceback__)
        found, lines = thread.wait().__traceback__, []
        while found is not None:
            lines.append(found.tb_lineno)
            found = found.tb_next
        self.assertIn(line, lines)

    def test_who_waits_is_told_of_a_wrong_exception(self):
        sent = event.Event()
        (thread,) = waiting(1, self.outcome, sent)
        sent.send(exc=5)
        self.assertIsInstance(thread.wait(), TypeError)

    def test_a_wait_with_a_timeout_returns_none(self):
        began = time.monotonic()
        self.assertIsNone(event.Event().wait(timeout=0.02))
        self.assertGreaterEqual(time.monotonic() - began, 0.02)

    def test_a_timeout_that_no_lock_of_c_takes_is_refused(self):
        for timeout, error in REFUSED_TIMEOUTS:
            with self.subTest(timeout=timeout), self.assertRaises(error):
                event.Event().wait(timeout)
        thread = eventlet.spawn(event.Event().wait, threading.TIMEOUT_MAX)
        eventlet.sleep(0)
        self.assertFalse(thread.dead)
        thread.kill()

    def test_an_interrupted_wait_leaves_no_timer_behind(self):
        sent = event.Event()
        with eventlet.Timeout(0.01, False):
            sent.wait(timeout=0.05)
        began = time.monotonic()
        sent.wait(timeout=0.3)
        self.assertGreaterEqual(time.monotonic() - began, 0.3)

    def test_waiters_go_on_in_the_order_of_coming(self):
        sent, log = event.Event(), []

        def wait(number):
            sent.wait()
            log.append(number)

        threads = [eventlet.spawn(wait, number) for number in range(20)]
        eventlet.sleep(0)
        sent.send()
        [thread.wait() for thread in threads]
        self.assertEqual(log, list(range(20)))

    def test_a_waiter_that_is_killed_after_the_send_does_not_go_on(self):
        sent, log = event.Event(), []

        def wait():
            sent.wait()
            log.append("went on")

        (thread,) = waiting(1, wait)
        sent.send()
        thread.kill()
        eventlet.sleep(0)
        self.assertEqual(log, [])

    def test_killed_waiters_are_forgotten(self):
        sent = event.Event()
        threads = waiting(10, sent.wait)
        references = [weakref.ref(thread) for thread in threads]
        while threads:
            threads.pop().kill()
        eventlet.sleep(0)
        gc.collect()
        self.assertEqual([reference() for reference in references], [None] * 10)
        self.assertIn("waiters[0]", repr(sent))

    def test_it_takes_no_arguments(self):
        self.assertRaises(TypeError, event.Event, 1)

    def test_a_subclass_needs_no_init(self):
        class Own(event.Event):
            def __init__(self):
                self.colour = "red"

        own = Own()
        own.send(own.colour)
        self.assertEqual(own.wait(), "red")

    def test_waiting_in_the_hub_is_an_error(self):
        errors = []

        def call():
            try:
                event.Event().wait()
            except RuntimeError as error:
                errors.append(error)

        hubs.get_hub().schedule_call_global(0, call)
        eventlet.sleep(0)
        self.assertEqual(len(errors), 1)

    def test_a_send_from_another_os_thread_wakes_at_once(self):
        sent, times = event.Event(), []

        def send():
            time.sleep(0.05)
            times.append(time.monotonic())
            sent.send("from afar")

        thread = threading.Thread(target=send)
        thread.start()
        self.assertEqual(sent.wait(), "from afar")
        self.assertLess(time.monotonic() - times[0], 1)
        thread.join()

    def test_each_os_thread_waits_with_a_hub_of_its_own(self):
        sent, got = event.Event(), []
        threads = [threading.Thread(target=lambda: got.append(sent.wait())) for _ in range(3)]
        for thread in threads:
            thread.start()
        while repr(sent).count("waiters[3]") == 0:
            time.sleep(0.001)
        sent.send(5)
        for thread in threads:
            thread.join(10)
        self.assertEqual(got, [5, 5, 5])


class Semaphores(Guarded):
    def test_it_counts(self):
        semaphore = Semaphore(2)
        state = (semaphore.counter, semaphore.balance, semaphore.locked(), semaphore.bounded())
        self.assertEqual(state, (2, 2, False, False))
        self.assertIs(semaphore.acquire(), True)
        self.assertIs(semaphore.acquire(), True)
        self.assertTrue(semaphore.locked())
        self.assertIs(semaphore.acquire(False), False)
        self.assertIs(semaphore.release(), True)
        self.assertEqual(semaphore.counter, 1)

    def test_arguments_are_checked(self):
        self.assertRaises(TypeError, Semaphore, "many")
        self.assertRaises(ValueError, Semaphore, -1)
        self.assertEqual(Semaphore(2.0).counter, 2)
        self.assertEqual(Semaphore("2").counter, 2)
        self.assertRaises(ValueError, Semaphore().acquire, timeout=-2)
        self.assertRaises(ValueError, Semaphore().acquire, False, 1)
        self.assertIs(Semaphore().acquire(False, -1), True)
        self.assertIs(Semaphore().acquire(timeout=-1), True)

    def test_entering_a_lock_returns_true_as_threadings(self):
        class Own(Lock):
            def acquire(self, *args, **kwargs):
                return super().acquire(*args, **kwargs)

        for lock in (Lock(), Own()):
            with lock as entered:
                self.assertIs(entered, True)

    def test_enter_returns_none(self):
        for semaphore in (Semaphore(), BoundedSemaphore(), CappedSemaphore(1, 1)):
            with semaphore as entered:
                self.assertIsNone(entered)
                self.assertTrue(semaphore.locked())
            self.assertFalse(semaphore.locked())

    def test_enter_and_exit_call_what_a_subclass_overrides(self):
        log = []

        class Own(Semaphore):
            def acquire(self, *args, **kwargs):
                log.append("acquire")
                return super().acquire(*args, **kwargs)

            def release(self, *args):
                log.append("release")
                return super().release(*args)

        with Own():
            pass
        self.assertEqual(log, ["acquire", "release"])

    def test_waiters_go_on_in_the_order_of_coming(self):
        semaphore, log = Semaphore(0), []

        def wait(number):
            semaphore.acquire()
            log.append(number)

        threads = [eventlet.spawn(wait, number) for number in range(20)]
        eventlet.sleep(0)
        self.assertEqual((semaphore.balance, len(semaphore._waiters)), (-20, 20))
        for _ in threads:
            semaphore.release()
        [thread.wait() for thread in threads]
        self.assertEqual(log, list(range(20)))
        self.assertEqual((semaphore.counter, semaphore.balance), (0, 0))

    def test_who_releases_and_acquires_again_stands_behind_who_waits(self):
        semaphore, log = Semaphore(1), []

        def work(name):
            for _ in range(3):
                with semaphore:
                    log.append(name)
                    eventlet.sleep(0)

        [thread.wait() for thread in [eventlet.spawn(work, "a"), eventlet.spawn(work, "b")]]
        self.assertEqual("".join(log), "ababab")

    def test_acquires_that_do_not_block_or_have_a_timeout_take_what_is_there(self):
        for arguments in [{"blocking": False}, {"timeout": 5}]:
            semaphore = Semaphore(0)
            (thread,) = waiting(1, semaphore.acquire)
            semaphore.release()
            self.assertTrue(semaphore.acquire(**arguments))
            eventlet.sleep(0)
            self.assertFalse(thread.dead)
            semaphore.release()
            self.assertTrue(thread.wait())

    def test_an_acquire_gives_up_when_its_time_is_up(self):
        semaphore = Semaphore(0)
        began = time.monotonic()
        self.assertIs(semaphore.acquire(timeout=0.02), False)
        self.assertGreaterEqual(time.monotonic() - began, 0.02)
        self.assertEqual(semaphore.balance, 0)

    def test_a_timeout_is_checked_as_by_the_locks_of_c(self):
        native = eventlet.patcher.original("threading").Lock
        for timeout, error in [*REFUSED_TIMEOUTS, (-5, ValueError), (-0.5, ValueError)]:
            for kind in Semaphore, Lock, native:
                with self.subTest(timeout=timeout, kind=kind), self.assertRaises(error):
                    kind().acquire(timeout=timeout)
        for kind in Semaphore, Lock, native:
            with self.assertRaisesRegex(ValueError, "non-blocking"):
                kind().acquire(False, 1)
            self.assertTrue(kind().acquire(timeout=threading.TIMEOUT_MAX))
            self.assertTrue(kind().acquire(True, -1))

    def test_setting_the_counter_lets_waiters_go_on(self):
        semaphore = Semaphore(0)
        threads = waiting(3, semaphore.acquire)
        semaphore.counter += 2
        eventlet.sleep(0)
        self.assertEqual([thread.dead for thread in threads], [True, True, False])
        semaphore.counter -= 1
        semaphore.release()
        eventlet.sleep(0)
        self.assertFalse(threads[2].dead)
        semaphore.release()
        self.assertTrue(threads[2].wait())

    def test_a_called_waiter_that_is_killed_hands_on(self):
        semaphore = Semaphore(0)
        first, second = waiting(2, semaphore.acquire)
        semaphore.release()
        first.kill()
        self.assertTrue(second.wait())
        self.assertEqual((semaphore.counter, semaphore.balance), (0, 0))

    def test_a_called_waiter_whose_timeout_fires_hands_on(self):
        semaphore = Semaphore(0)

        def give_up():
            with eventlet.Timeout(0.01, False):
                semaphore.acquire()

        (first,) = waiting(1, give_up)
        (second,) = waiting(1, semaphore.acquire)
        time.sleep(0.02)
        # The timer comes first in the next turn, the waiter that was called behind it.
        semaphore.release()
        first.wait()
        self.assertTrue(second.wait())

    def test_a_switch_from_outside_does_not_acquire(self):
        semaphore = Semaphore(0)
        (thread,) = waiting(1, semaphore.acquire)
        hubs.get_hub().schedule_call_global(0, thread.switch, "spurious")
        eventlet.sleep(0)
        eventlet.sleep(0)
        self.assertFalse(thread.dead)
        semaphore.release()
        self.assertIs(thread.wait(), True)

    def test_a_bounded_one_is_not_released_too_often(self):
        semaphore = BoundedSemaphore(2)
        self.assertRaises(ValueError, semaphore.release)
        with semaphore:
            self.assertEqual(semaphore.counter, 1)
        self.assertRaises(ValueError, semaphore.__exit__, None, None, None)
        self.assertEqual((semaphore.counter, semaphore.original_counter), (2, 2))
        self.assertIsInstance(semaphore, Semaphore)

    def test_a_capped_one_waits_at_both_ends(self):
        semaphore = CappedSemaphore(1, 2)
        self.assertTrue(semaphore.release())
        self.assertTrue(semaphore.bounded())
        self.assertFalse(semaphore.release(blocking=False))
        (releasing,) = waiting(1, semaphore.release)
        self.assertTrue(semaphore.acquire())
        releasing.wait()
        self.assertEqual(semaphore.balance, 2)
        (releasing,) = waiting(1, semaphore.release)
        releasing.kill()
        self.assertEqual(semaphore.balance, 2)
        self.assertRaises(ValueError, CappedSemaphore, -1, 2)
        self.assertRaises(ValueError, CappedSemaphore, 3, 2)

    def test_other_os_threads_take_part(self):
        semaphore, count, most = Semaphore(2), [0], [0]

        def work():
            for _ in range(100):
                with semaphore:
                    count[0] += 1
                    most[0] = max(most[0], count[0])
                    eventlet.sleep(0)
                    count[0] -= 1

        def several():
            [thread.wait() for thread in [eventlet.spawn(work) for _ in range(3)]]

        threads = [threading.Thread(target=several) for _ in range(3)]
        for thread in threads:
            thread.start()
        several()
        for thread in threads:
            thread.join(20)
            self.assertFalse(thread.is_alive())
        self.assertEqual((semaphore.counter, semaphore.balance, count[0]), (2, 2, 0))
        self.assertLessEqual(most[0], 2)

    def test_random_kills_lose_no_unit(self):
        chance = random.Random(5)
        semaphore = Semaphore(3)

        def work():
            with semaphore:
                eventlet.sleep(chance.choice([0, 0, 0.0002]))

        threads = []
        for _ in range(3000):
            threads.append(eventlet.spawn(work))
            if chance.random() < 0.3:
                chance.choice(threads[-20:]).kill()
            if chance.random() < 0.1:
                eventlet.sleep(0)
        for thread in threads:
            try:
                thread.wait()
            except GreenletExit:
                pass
        self.assertEqual((semaphore.counter, semaphore.balance), (3, 3))


class Locks(Guarded):
    def test_an_unlocked_one_is_not_released(self):
        lock = Lock()
        self.assertRaises(RuntimeError, lock.release)
        lock.acquire()
        self.assertTrue(lock.locked())
        lock.release()
        self.assertRaises(RuntimeError, lock.__exit__, None, None, None)
        self.assertEqual(lock.counter, 1)

    def test_it_looks_as_the_locks_of_c_do(self):
        lock = Lock()
        self.assertRegex(repr(lock), r"^<unlocked eventlet\.lock\.Lock object at 0x[0-9a-f]+>$")
        lock.acquire()
        self.assertRegex(repr(lock), r"^<locked eventlet\.lock\.Lock object at 0x[0-9a-f]+>$")
        self.assertIsNone(lock.release())
        self.assertRegex(repr(Semaphore()), r"counter=1 waiters\[0\]>$")

    def test_it_takes_no_arguments(self):
        for args, kwargs in ((1,), {}), ((), {"value": 1}):
            with self.subTest(args=args, kwargs=kwargs), self.assertRaises(TypeError):
                Lock(*args, **kwargs)

        class Own(Lock):
            def __init__(self, name):
                super().__init__()
                self.name = name

        self.assertTrue(Own("mine").acquire())

    def test_after_a_fork_it_can_be_made_anew(self):
        lock = Lock()
        lock.acquire()
        (thread,) = waiting(1, lock.acquire)
        child = os.fork()
        if child == 0:
            lock._at_fork_reinit()
            free = lock.acquire(False)
            lock.release()
            with eventlet.Timeout(5, False):
                # Who waits lives on in the child, and gets it.
                os._exit(0 if free and thread.wait() else 1)
            os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        lock.release()
        self.assertTrue(thread.wait())

    def test_it_stands_under_a_condition_of_threading(self):
        condition, log = threading.Condition(Lock()), []

        def wait():
            with condition:
                log.append("waits")
                while "go" not in log:
                    condition._waiters_changed = condition.wait(0.01)
                log.append("went")

        thread = eventlet.spawn(wait)
        with condition:
            log.append("go")
        thread.wait()
        self.assertEqual(log, ["go", "waits", "went"])


if __name__ == "__main__":
    unittest.main()
