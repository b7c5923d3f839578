"""The hub, green threads and timeouts: order, errors, other OS threads, and eventlet's bugs, which are not ours.

Over 500 lines: one class a subject, and they share their helpers and the hub under test.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
import unittest

import greenloom
import guarded
from greenlet import GreenletExit, getcurrent, greenlet
from support import run_script

import eventlet
from eventlet import event, greenthread, hubs
from eventlet.hubs import hub as hub_module
from eventlet.hubs import timer


class Guarded(guarded.Guarded):
    @contextlib.contextmanager
    def stderr(self):
        """What is printed as an error within the block."""
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            yield printed


def run_turns(count=3):
    for _ in range(count):
        eventlet.sleep(0)


class OrderOfEvents(Guarded):
    def test_spawns_and_calls_without_delay_run_in_call_order(self):
        log = []
        eventlet.spawn(log.append, 1)
        eventlet.spawn_n(log.append, 2)
        hubs.get_hub().schedule_call_global(0, log.append, 3)
        eventlet.spawn_after(0, log.append, 4)
        eventlet.spawn(log.append, 5)
        eventlet.sleep(0)
        self.assertEqual(log, [1, 2, 3, 4, 5])

    def test_negative_delays_run_first(self):
        log = []
        eventlet.spawn(log.append, "now")
        eventlet.spawn_after(-1, log.append, "before")
        eventlet.sleep(0)
        self.assertEqual(log, ["before", "now"])

    def test_work_made_ready_in_a_turn_runs_in_the_next_after_io(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        log = []

        def reader():
            hubs.trampoline(read, read=True)
            log.append("io")

        thread = eventlet.spawn(reader)
        eventlet.sleep(0)

        def first():
            os.write(write, b"x")
            eventlet.spawn_n(log.append, "next turn")

        eventlet.spawn_n(first)
        thread.wait()
        run_turns()
        self.assertEqual(log, ["io", "next turn"])

    def test_timers_due_at_the_same_time_fire_in_the_order_they_were_added(self):
        # Stock orders them by id().
        class Frozen(hubs.get_default_hub().Hub):
            def __init__(self):
                super().__init__(clock=lambda: 1000.0)

        hub, log = Frozen(), []
        for number in range(50):
            hub.schedule_call_global(-1, log.append, number)
        hub.fire_timers(1000.0)
        self.assertEqual(log, list(range(50)))

    def test_timers_fire_in_order_of_their_times(self):
        log = []
        for delay in (0.03, 0.01, 0.02):
            eventlet.spawn_after(delay, log.append, delay)
        eventlet.sleep(0.05)
        self.assertEqual(log, [0.01, 0.02, 0.03])

    def test_a_green_thread_that_always_yields_starves_neither_timers_nor_io(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        done = []
        eventlet.spawn_after(0.01, lambda: os.write(write, b"x"))
        eventlet.spawn(lambda: done.append(hubs.trampoline(read, read=True)))
        while not done:
            eventlet.sleep(0)


class Errors(Guarded):
    def test_an_error_of_a_timer_is_printed_and_the_loop_goes_on(self):
        with self.stderr() as printed:
            hubs.get_hub().schedule_call_global(0, lambda: 1 // 0)
            eventlet.sleep(0.001)
        self.assertIn("ZeroDivisionError", printed.getvalue())
        eventlet.sleep(0.001)

    def test_an_error_of_a_listener_drops_its_file_descriptor(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        hub = hubs.get_hub()
        before = len(hub.get_readers())
        hub.add(hub.READ, read, lambda fileno: 1 // 0, lambda *a: None, None)
        self.assertEqual(len(hub.get_readers()), before + 1)
        with self.stderr() as printed:
            os.write(write, b"x")
            eventlet.sleep(0.01)
        self.assertIn(f"Removing descriptor: {read}", printed.getvalue())
        self.assertEqual(len(hub.get_readers()), before)

    def test_keyboard_interrupt_ends_the_loop_surfaces_in_the_main_greenlet_and_timers_survive(self):
        code, printed = run_script(
            """
            import eventlet
            def interrupt():
                raise KeyboardInterrupt
            log = []
            eventlet.spawn_after(0.02, log.append, "survived")
            eventlet.spawn_n(interrupt)
            try:
                eventlet.sleep(1)
            except KeyboardInterrupt:
                log.append("interrupted")
            eventlet.sleep(0.05)
            print(log)
            """
        )
        self.assertEqual((code, printed), (0, "['interrupted', 'survived']\n"))

    def test_blocking_in_the_hub_is_refused_and_sleep_0_returns(self):
        caught = []

        def callback():
            eventlet.sleep(0)
            for blocking in (lambda: eventlet.sleep(1), event.Event().wait):
                try:
                    blocking()
                except RuntimeError as error:
                    caught.append(str(error))

        hubs.get_hub().schedule_call_global(0, callback)
        eventlet.sleep(0.01)
        self.assertEqual(len(caught), 2, caught)

    def test_a_hub_calls_switch_out_of_a_greenlet_that_leaves(self):
        log = []

        class Told(greenlet):
            def switch_out(self):
                log.append("out")

        hubs.get_hub().schedule_call_global(0, Told(lambda: eventlet.sleep(0.001)).switch)
        eventlet.sleep(0.01)
        self.assertEqual(log, ["out"])


class GreenThreads(Guarded):
    def test_wait_returns_the_result_or_raises_and_prints_what_ended_it(self):
        self.assertEqual(eventlet.spawn(lambda a, b=0: a + b, 1, b=2).wait(), 3)
        with self.stderr() as printed:
            thread = eventlet.spawn(lambda: 1 // 0)
            for _ in range(2):
                self.assertRaises(ZeroDivisionError, thread.wait)
        self.assertIn("ZeroDivisionError", printed.getvalue())

    def test_waiting_again_does_not_lengthen_the_traceback(self):
        with self.stderr():
            thread = eventlet.spawn(lambda: 1 // 0)
            lengths = []
            for _ in range(3):
                try:
                    thread.wait()
                except ZeroDivisionError as error:
                    lengths.append(len(traceback.extract_tb(error.__traceback__)))
        self.assertEqual(len(set(lengths)), 1, lengths)

    def test_kill_runs_the_target_at_once_and_the_killer_after_what_is_ready(self):
        log = []

        def target():
            try:
                eventlet.sleep(10)
            finally:
                log.append("target")

        thread = eventlet.spawn(target)
        eventlet.sleep(0)
        eventlet.spawn_n(log.append, "ready")
        thread.kill()
        log.append("killer")
        self.assertEqual(log, ["target", "ready", "killer"])
        self.assertRaises(GreenletExit, thread.wait)
        thread.kill()

    def test_one_killed_before_it_began_never_runs_and_tells_its_links(self):
        log = []
        thread = eventlet.spawn(log.append, "ran")
        self.assertFalse(thread)
        thread.link(lambda ended: log.append("link"))
        thread.kill()
        run_turns()
        self.assertEqual(log, ["link"])
        self.assertTrue(thread.dead)
        self.assertRaises(GreenletExit, thread.wait)

    def test_kill_before_it_began_with_an_exception_instance(self):
        # On stock wait() raises IndexError.
        thread = eventlet.spawn(lambda: None)
        with self.stderr():
            thread.kill(ValueError("stop"))
        self.assertRaisesRegex(ValueError, "stop", thread.wait)

    def test_a_link_that_raises_does_not_keep_others_from_being_told(self):
        log = []
        thread = eventlet.spawn(lambda: None)
        thread.link(lambda ended: log.append(1))
        thread.link(lambda ended: 1 // 0)
        thread.link(lambda ended, more: log.append(more), 3)
        with self.stderr() as printed:
            thread.wait()
            run_turns()
        self.assertEqual(log, [1, 3])
        self.assertIn("ZeroDivisionError", printed.getvalue())

    def test_links_run_in_the_thread_that_ends_or_at_once(self):
        where = []
        thread = eventlet.spawn(lambda: None)
        thread.link(lambda ended: where.append(getcurrent()))
        thread.wait()
        thread.link(lambda ended: where.append(getcurrent()))
        self.assertEqual(where, [thread, getcurrent()])

    def test_unlink(self):
        log = []
        thread = eventlet.spawn(lambda: None)
        link = log.append
        thread.link(link)
        self.assertTrue(thread.unlink(link))
        self.assertFalse(thread.unlink(link))
        thread.wait()
        self.assertEqual(log, [])

    def test_cancel_ends_only_what_has_not_begun(self):
        begun = eventlet.spawn(eventlet.sleep, 0.01)
        eventlet.sleep(0)
        begun.cancel()
        begun.wait()
        never = eventlet.spawn_after(0.01, self.fail)
        never.cancel()
        self.assertRaises(GreenletExit, never.wait)

    def test_spawn_after_local_goes_with_its_maker(self):
        log = []
        eventlet.spawn(greenthread.spawn_after_local, 0.01, log.append, 1).wait()
        eventlet.sleep(0.03)
        self.assertEqual(log, [])

    def test_a_subclass_is_begun_by_a_switch(self):
        class Own(greenthread.GreenThread):
            def main(self, function, args, kwargs):
                self.seen = args
                return super().main(function, args, kwargs)

        own = Own(hubs.get_hub().greenlet)
        hubs.get_hub().schedule_call_global(0, own.switch, lambda x: x * 2, (21,), {})
        self.assertEqual(own.wait(), 42)
        self.assertEqual(own.seen, (21,))

    def test_ten_thousand_sleep_and_wait_at_once(self):
        threads = [eventlet.spawn(eventlet.sleep, 0.01) for _ in range(10_000)]
        for thread in threads:
            thread.wait()


class Timeouts(Guarded):
    def test_it_fires_at_a_wait_and_only_there(self):
        with self.assertRaises(eventlet.Timeout) as caught:
            with eventlet.Timeout(0.01) as timeout:
                end = time.monotonic() + 0.03
                while time.monotonic() < end:
                    pass
                eventlet.sleep(1)
        self.assertIs(caught.exception, timeout)

    def test_a_quiet_one_is_quiet_only_as_a_context_manager(self):
        with eventlet.Timeout(0.01, False):
            eventlet.sleep(1)
        timeout = eventlet.Timeout(0.01, False)
        self.assertRaises(eventlet.Timeout, eventlet.sleep, 1)
        timeout.cancel()

    def test_another_exception(self):
        with self.assertRaises(KeyError):
            with eventlet.Timeout(0.01, KeyError("late")):
                eventlet.sleep(1)

    def test_none_never_fires(self):
        with eventlet.Timeout(None) as timeout:
            self.assertFalse(timeout.pending)
            eventlet.sleep(0.01)

    def test_a_cancelled_one_leaves_no_timer(self):
        before = len(hubs.get_hub().timers)
        for _ in range(100):
            with eventlet.Timeout(100):
                eventlet.sleep(0)
        self.assertLessEqual(len(hubs.get_hub().timers), before)

    def test_it_does_not_fire_after_the_wait_it_was_for(self):
        # A wake and a timeout in the same turn: one of them, never both.
        for _ in range(50):
            waited = event.Event()
            with eventlet.Timeout(0.001, False):
                eventlet.spawn_after(0.001, waited.send)
                waited.wait()
            eventlet.sleep(0.001)

    def test_with_timeout(self):
        self.assertEqual(eventlet.with_timeout(0.01, eventlet.sleep, 1, timeout_value="late"), "late")
        self.assertRaises(eventlet.Timeout, eventlet.with_timeout, 0.01, eventlet.sleep, 1)


class OtherThreads(Guarded):
    def in_thread(self, function):
        thread = threading.Thread(target=function)
        thread.start()
        self.addCleanup(thread.join)

    def test_an_event_sent_from_another_os_thread_wakes_at_once(self):
        # On stock the waiter never wakes.
        sent = event.Event()
        begin = time.monotonic()
        self.in_thread(lambda: (time.sleep(0.05), sent.send("there")))
        self.assertEqual(sent.wait(), "there")
        self.assertLess(time.monotonic() - begin, 5)

    def test_each_os_thread_has_a_hub_of_its_own_and_it_is_counted(self):
        found = []

        def other():
            eventlet.sleep(0.001)
            found.append((hubs.get_hub(), [each["thread"] for each in greenloom.hubs()], threading.get_ident()))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        (hub, threads, ident) = found[0]
        self.assertIsNot(hub, hubs.get_hub())
        self.assertIn(ident, threads)
        # The thread's record goes a moment after join() returns.
        while ident in [each["thread"] for each in greenloom.hubs()]:
            eventlet.sleep(0.001)

    def test_many_os_threads_wake_one_green_thread_each_and_none_is_lost(self):
        events = [event.Event() for _ in range(200)]
        waiters = [eventlet.spawn(each.wait) for each in events]
        eventlet.sleep(0)

        def send(part):
            for each in events[part::4]:
                each.send(part)

        for part in range(4):
            self.in_thread(lambda part=part: send(part))
        self.assertEqual([waiter.wait() for waiter in waiters], [number % 4 for number in range(200)])


class Signals(unittest.TestCase):
    def test_a_green_thread_spawned_by_a_signal_handler_runs_at_once(self):
        # On stock it waits until the poll returns.
        code, printed = run_script(
            """
            import eventlet, os, signal, threading, time
            ran = []
            signal.signal(signal.SIGUSR1, lambda *_: eventlet.spawn(lambda: ran.append(time.monotonic())))
            begin = time.monotonic()
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            eventlet.sleep(3)
            print(ran[0] - begin < 2)
            """
        )
        self.assertEqual((code, printed), (0, "True\n"))

    def test_an_interrupt_ends_a_program_that_sleeps(self):
        code, printed = run_script(
            """
            import eventlet, os, signal, threading
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                eventlet.sleep(10)
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
        self.assertEqual((code, printed), (0, "interrupted\n"))


class Hubs(Guarded):
    def test_statistics_count(self):
        hub = hubs.get_hub()
        before = hub.statistics()
        eventlet.sleep(0.001)
        after = hub.statistics()
        self.assertGreater(after["switches"], before["switches"])
        self.assertGreater(after["timers"], before["timers"])
        self.assertGreaterEqual(after["longest_timer_lag"], after["timer_lag"])

    def test_what_io_wakes_counts_as_a_block_too(self):
        code, printed = run_script(
            """
            import eventlet, os, time
            from eventlet import hubs
            read, write = os.pipe()
            def reader():
                hubs.trampoline(read, read=True)
                time.sleep(0.2)
            thread = eventlet.spawn(reader)
            eventlet.sleep(0.01)
            before = hubs.get_hub().statistics()["longest_block"]
            os.write(write, b"x")
            thread.wait()
            eventlet.sleep(0.01)
            print(before < 0.15, hubs.get_hub().statistics()["longest_block"] >= 0.2)
            """
        )
        self.assertEqual((code, printed), (0, "True True\n"))

    def test_a_method_set_on_the_instance_is_called(self):
        code, printed = run_script(
            """
            import eventlet
            from eventlet import hubs
            hub, seen = hubs.get_hub(), []
            original = hub.schedule_call_global
            def schedule(seconds, function, *args, **kwargs):
                seen.append(seconds)
                return original(seconds, function, *args, **kwargs)
            hub.schedule_call_global = schedule
            eventlet.spawn(eventlet.sleep, 0.001).wait()
            print(seen)
            del hub.schedule_call_global
            eventlet.spawn(eventlet.sleep, 0.001).wait()
            print(len(seen))
            """
        )
        self.assertEqual(code, 0, printed)
        self.assertIn("0.001", printed)
        first, second = printed.splitlines()
        self.assertEqual(len(eval(first)), int(second))

    def test_how_long_an_idle_hub_sleeps_can_be_overridden_while_it_runs_and_by_a_subclass(self):
        code, printed = run_script(
            """
            import eventlet
            from eventlet import event, hubs
            from eventlet.patcher import original

            def idle(hub):
                # Until the hub, which has nothing to wait for but another OS thread, has asked three times.
                asked, done = [], event.Event()
                def default_sleep(*_):
                    asked.append(None)
                    if len(asked) == 3:
                        original("threading").Thread(target=done.send, args=("woken",)).start()
                    return 0.001
                hub.default_sleep = default_sleep
                return done.wait()

            eventlet.sleep(0)
            print(idle(hubs.get_hub()))
            class Own(type(hubs.get_hub())):
                pass
            hubs.use_hub(Own)
            print(idle(Own))
            """
        )
        self.assertEqual((code, printed), (0, "woken\nwoken\n"))

    def test_an_attribute_may_have_any_name_that_a_string_can_have(self):
        hub = hubs.get_hub()
        for name in ("note", "n\xf6te", "\u2603", "\udc80"):
            with self.subTest(name=ascii(name)):
                setattr(hub, name, 1)
                self.assertEqual(getattr(hub, name), 1)
                delattr(hub, name)
                self.assertFalse(hasattr(hub, name))

    def test_a_class_of_ones_own_that_overrides_wait_and_switch(self):
        code, printed = run_script(
            """
            import time, eventlet
            from eventlet import hubs
            from eventlet.hubs import hub
            class Own(hub.BaseHub):
                waits = switches = 0
                def wait(self, seconds=None):
                    Own.waits += 1
                    time.sleep(min(seconds, 0.01))
                def switch(self):
                    Own.switches += 1
                    return super().switch()
            hubs.use_hub(Own)
            assert type(hubs.get_hub()) is Own
            log = []
            eventlet.spawn(log.append, 1)
            eventlet.sleep(0.02)
            queue = eventlet.Queue(1)
            eventlet.spawn(queue.put, 2)
            log.append(queue.get())
            print(log, Own.waits > 0, Own.switches > 0)
            """
        )
        self.assertEqual((code, printed), (0, "[1, 2] True True\n"))

    def test_abort_ends_the_loop_and_the_next_wait_begins_a_new_one(self):
        code, printed = run_script(
            """
            import eventlet
            from eventlet import hubs
            eventlet.sleep(0.001)
            hubs.get_hub().abort(wait=True)
            assert not hubs.get_hub().running
            eventlet.sleep(0.001)
            print("goes on")
            """
        )
        self.assertEqual((code, printed), (0, "goes on\n"))

    def test_an_unknown_hub_is_refused(self):
        code, printed = run_script("from eventlet import hubs; hubs.use_hub(' ')")
        self.assertEqual(code, 1)
        self.assertIn("Need to specify a hub", printed)
        code, printed = run_script("from eventlet import hubs; hubs.use_hub('kqueue')")
        self.assertIn("HubError", printed)

    def test_negative_file_descriptors_are_refused(self):
        with self.assertRaises(ValueError):
            hubs.trampoline(-1, read=True)

    def test_a_second_reader_is_refused_by_name(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        first = eventlet.spawn(hubs.trampoline, read, read=True)
        eventlet.sleep(0)
        with self.assertRaisesRegex(RuntimeError, f"Second simultaneous read on fileno {read}"):
            hubs.trampoline(read, read=True)
        first.kill()
        self.assertEqual(len([each for each in hubs.get_hub().get_readers() if each.fileno == read]), 0)

    def test_a_closed_file_descriptor_wakes_who_waits(self):
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        with self.stderr():
            thread = eventlet.spawn(hubs.trampoline, read, read=True)
            eventlet.sleep(0)
            hubs.notify_close(read)
            os.close(read)
            self.assertRaises(hubs.IOClosed, thread.wait)

    def test_no_warning_is_given(self):
        code, printed = run_script("import eventlet; eventlet.monkey_patch(); eventlet.sleep(0.001)", "-W", "error")
        self.assertEqual((code, printed), (0, ""))


class Timers(Guarded):
    def test_copy_schedule_cancel(self):
        log = []
        first = timer.Timer(0, log.append, 1)
        second = first.copy()
        self.assertEqual((first.seconds, first.tpl), (second.seconds, second.tpl))
        first.schedule()
        second.schedule()
        second.cancel()
        self.assertFalse(second.pending)
        eventlet.sleep(0.001)
        self.assertEqual(log, [1])
        self.assertTrue(first.called)
        self.assertFalse(hasattr(first, "tpl"))

    def test_cancelled_timers_are_let_go_of(self):
        hub = hubs.get_hub()
        before = hub.get_timers_count()
        for _ in range(2000):
            hub.schedule_call_global(60, lambda: None).cancel()
        self.assertLessEqual(hub.get_timers_count(), before + 1000)
        self.assertLessEqual(len(hub.timers), before)

    def test_a_subclass_is_called(self):
        log = []

        class Own(timer.Timer):
            def __call__(self):
                log.append("own")
                super().__call__()

        Own(0.001, log.append, "function").schedule()
        eventlet.sleep(0.01)
        self.assertEqual(log, ["own", "function"])

    def test_listeners_in_debug_mode_know_where_they_were_made(self):
        listener = hub_module.DebugListener(hub_module.READ, 0, lambda f: None, lambda e: None, None)
        self.assertIn("test_hub.py", repr(listener))


class RegularFiles(unittest.TestCase):
    """What epoll refuses is always ready on the hubs that are called after poll and select."""

    def test_a_listener_is_told_in_each_turn_and_others_run(self):
        for hub in ("poll", "selects"):
            with self.subTest(hub):
                code, output = run_script(
                    """if True:
                    import os, tempfile
                    import eventlet
                    from eventlet import hubs
                    hub = hubs.get_hub()
                    with tempfile.TemporaryFile() as file:
                        fd, told = file.fileno(), []
                        hubs.trampoline(fd, read=True)
                        hubs.trampoline(fd, write=True)
                        reads = hub.add(hub.READ, fd, lambda fd: told.append("read"), None, None)
                        writes = hub.add(hub.WRITE, fd, lambda fd: told.append("write"), None, None)
                        for _ in range(6):
                            eventlet.sleep(0)
                        assert told.count("read") >= 3 and told.count("write") >= 3, told
                        hub.remove(reads)
                        eventlet.sleep(0)
                        del told[:]
                        for _ in range(6):
                            eventlet.sleep(0)
                        assert set(told) == {"write"}, told
                        hub.remove(writes)
                        eventlet.sleep(0)
                        del told[:]
                        for _ in range(6):
                            eventlet.sleep(0)
                        assert told == [], told
                    """,
                    env={"EVENTLET_HUB": hub},
                )
                self.assertEqual((code, output), (0, ""))


if __name__ == "__main__":
    unittest.main()
