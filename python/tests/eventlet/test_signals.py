"""Waiting for signals while other green threads run."""

import unittest

from scenario import Scenario

HUBS = ("epolls", "poll", "selects", "asyncio")

A_HANDLER_WAITS = """
import eventlet
eventlet.monkey_patch()
import queue, signal, threading, time
lock, letters, told = threading.Lock(), queue.Queue(), []
lock.acquire()

def handle(number, frame):
    told.append(threading.current_thread() is threading.main_thread())
    time.sleep(0.001)
    with lock:
        told.append(letters.get())

signal.signal(signal.SIGALRM, handle)
# The hub is there.
time.sleep(0.001)
signal.setitimer(signal.ITIMER_REAL, 0.05)
# It comes while the hub waits.
time.sleep(0.2)
assert told == [True]
lock.release()
time.sleep(0.01)
letters.put("a letter")
while len(told) < 2:
    time.sleep(0.01)
assert told == [True, "a letter"], told
"""

A_HANDLER_IN_THE_LOOP = """
import eventlet
eventlet.monkey_patch()
import signal, threading, time
lock, told = threading.Lock(), []
lock.acquire()

class Boom(Exception):
    pass

def handle(number, frame):
    time.sleep(0.001)
    told.append((threading.current_thread() is threading.main_thread(), frame is not None))
    with lock:
        told.append(number)

def boom(number, frame):
    time.sleep(0.001)
    raise Boom

def come():
    signal.raise_signal(signal.SIGALRM)
    told.append("the loop goes on")

assert signal.signal(signal.SIGALRM, handle) == signal.SIG_DFL
assert signal.getsignal(signal.SIGALRM) is handle
# Its function is called in the greenlet of the hub's loop.
hub = eventlet.hubs.get_hub()
hub.schedule_call_global(0, come)
while len(told) < 2:
    time.sleep(0.01)
lock.release()
time.sleep(0.01)
assert told == ["the loop goes on", (True, True), signal.SIGALRM], told

assert signal.signal(signal.SIGALRM, boom) is handle
assert signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGALRM)) is boom
hub.schedule_call_global(0, come)
try:
    threading.Event().wait(10)
except Boom:
    print("came up")
for handler in signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler:
    signal.signal(signal.SIGALRM, handler)
    assert signal.getsignal(signal.SIGALRM) is handler
for handler in "no handler", None:
    try:
        signal.signal(signal.SIGALRM, handler)
    except TypeError:
        pass
    else:
        raise AssertionError(handler)
"""


class Signals(Scenario):
    def test_waits_for_a_blocked_signal_let_others_run(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, signal
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            count = ticks()
            for wait, number in (
                (lambda: signal.sigwait([signal.SIGUSR1]), lambda found: found),
                (lambda: signal.sigwaitinfo([signal.SIGUSR1]), lambda found: found.si_signo),
                (lambda: signal.sigtimedwait([signal.SIGUSR1], 5), lambda found: found.si_signo),
            ):
                waiter = eventlet.spawn(wait)
                go_round(count)
                assert not waiter.dead
                os.kill(os.getpid(), signal.SIGUSR1)
                assert number(waiter.wait()) == signal.SIGUSR1
            began = monotonic()
            assert signal.sigtimedwait([signal.SIGUSR1], 0.05) is None
            assert 0.05 <= monotonic() - began < 2
            assert signal.sigtimedwait([signal.SIGUSR1], 0) is None
            try:
                signal.sigtimedwait([signal.SIGUSR1], -1)
            except ValueError:
                pass
            else:
                raise AssertionError("a negative timeout is refused")
            """
        )

    def test_what_a_thread_blocks_reaches_the_others(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, signal, threading
            SET, BLOCK, UNBLOCK = signal.SIG_SETMASK, signal.SIG_BLOCK, signal.SIG_UNBLOCK
            handled, masks = [], []
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, lambda number, frame: handled.append(number))
            signal.pthread_sigmask(BLOCK, [signal.SIGUSR1])
            begun, go_on = threading.Event(), threading.Event()

            def serve():
                masks.append(signal.pthread_sigmask(BLOCK, signal.valid_signals()))
                masks.append(signal.pthread_sigmask(BLOCK, ()))
                begun.set()
                go_on.wait()
                for how, mask in (7, ()), (BLOCK, [10**6]), (BLOCK, 1):
                    try:
                        signal.pthread_sigmask(how, mask)
                    except (OSError, ValueError, TypeError) as error:
                        masks.append(type(error))
                masks.append(signal.pthread_sigmask(SET, [signal.SIGUSR2]))
                masks.append(signal.pthread_sigmask(UNBLOCK, [signal.SIGUSR2]))

            thread = threading.Thread(target=serve)
            thread.start()
            begun.wait()
            assert masks[0] == {signal.SIGUSR1} and signal.SIGTERM in masks[1], masks
            assert all(isinstance(each, signal.Signals) for each in masks[0])
            assert signal.pthread_sigmask(BLOCK, ()) == {signal.SIGUSR1}
            os.kill(os.getpid(), signal.SIGTERM)
            eventlet.sleep(0)
            assert handled == [signal.SIGTERM], handled
            os.kill(os.getpid(), signal.SIGUSR1)
            eventlet.sleep(0)
            assert handled == [signal.SIGTERM], handled
            go_on.set()
            thread.join()
            # It has unblocked it.
            assert handled == [signal.SIGTERM, signal.SIGUSR1], handled
            assert masks[2:] == [OSError, ValueError, TypeError, masks[1], {signal.SIGUSR2}], masks[2:]
            """
        )

    def test_what_is_for_a_thread_is_for_its_os_thread_and_one_that_has_ended_is_told(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import signal, threading, time
            handled = []
            signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))

            def each(ident):
                count = len(handled)
                signal.pthread_kill(ident, signal.SIGUSR1)
                signal.pthread_kill(ident, 0)
                assert len(handled) == count + 1
                assert time.clock_gettime(time.pthread_getcpuclockid(ident)) > 0

            each(threading.main_thread().ident)
            may_end = threading.Event()
            thread = threading.Thread(target=lambda: (each(threading.get_ident()), may_end.wait()))
            thread.start()
            each(thread.ident)
            eventlet.spawn(lambda: each(threading.get_ident())).wait()
            native = eventlet.patcher.original("threading")
            goes_on = native.Lock()
            goes_on.acquire()
            of_the_system = native.Thread(target=goes_on.acquire)
            of_the_system.start()
            signal.pthread_kill(of_the_system.ident, 0)
            goes_on.release()
            may_end.set()
            thread.join()
            of_the_system.join()
            for call in (lambda: signal.pthread_kill(thread.ident, signal.SIGUSR1),
                         lambda: time.pthread_getcpuclockid(thread.ident),
                         lambda: signal.pthread_kill(of_the_system.ident, 0)):
                try:
                    call()
                except ProcessLookupError:
                    pass
                else:
                    raise AssertionError("it has ended")
            """
        )

    def test_pause_lets_others_run_until_a_signal_was_handled(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, signal
            handled = []
            signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
            count = ticks()
            def later():
                go_round(count)
                os.kill(os.getpid(), signal.SIGUSR1)
            eventlet.spawn(later)
            assert signal.pause() is None
            assert handled == [signal.SIGUSR1]
            assert signal.set_wakeup_fd(-1) == -1
            """
        )

    def test_pause_hands_on_to_a_descriptor_that_was_to_be_told(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, signal
            signal.signal(signal.SIGUSR1, lambda number, frame: None)
            read, write = os.pipe()
            os.set_blocking(write, False)
            signal.set_wakeup_fd(write)
            eventlet.spawn_after(0.01, os.kill, os.getpid(), signal.SIGUSR1)
            signal.pause()
            assert os.read(read, 10) == bytes([signal.SIGUSR1])
            assert signal.set_wakeup_fd(-1) == write
            """
        )

    def test_a_handler_may_wait_for_others_while_the_main_greenlet_waits(self):
        for hub in HUBS:
            with self.subTest(hub):
                self.check(A_HANDLER_WAITS, EVENTLET_HUB=hub)

    def test_a_handler_may_wait_that_comes_while_the_loop_runs(self):
        for hub in HUBS:
            with self.subTest(hub):
                self.assertEqual(self.run_program(A_HANDLER_IN_THE_LOOP, EVENTLET_HUB=hub), "came up\n")

    def test_a_handler_may_wait_for_what_a_coroutine_does(self):
        self.check(
            """
            import asyncio, signal
            import eventlet
            from eventlet.asyncio import spawn_for_awaitable
            from eventlet.event import Event
            told, event = [], Event()

            def handle(number, frame):
                told.append(event.wait())

            async def tell():
                while not signal.getitimer(signal.ITIMER_REAL) == (0, 0):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                event.send("by a coroutine")
                while not told:
                    await asyncio.sleep(0.01)
                return "done"

            signal.signal(signal.SIGALRM, handle)
            coroutine = spawn_for_awaitable(tell())
            eventlet.sleep(0)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            # It comes while the event loop waits.
            assert coroutine.wait() == "done" and told == ["by a coroutine"], told
            """,
            EVENTLET_HUB="asyncio",
        )

    def test_a_handler_may_wait_that_comes_in_the_middle_of_a_coroutine(self):
        self.check(
            """
            import asyncio
            import eventlet
            eventlet.monkey_patch()
            import signal, time
            from eventlet.asyncio import spawn_for_awaitable
            told = []

            def handle(number, frame):
                time.sleep(0.01)
                told.append("handled")

            async def come():
                signal.raise_signal(signal.SIGALRM)
                told.append("goes on")
                await asyncio.sleep(0.1)
                return told

            signal.signal(signal.SIGALRM, handle)
            assert spawn_for_awaitable(come()).wait() == ["goes on", "handled"], told
            """,
            EVENTLET_HUB="asyncio",
        )

    def test_what_a_handler_raises_comes_up_in_the_main_greenlet(self):
        self.check(
            """
            import eventlet
            eventlet.monkey_patch()
            import signal, threading, time
            class Boom(Exception):
                pass

            def at_once(number, frame):
                raise Boom
            def after_a_wait(number, frame):
                time.sleep(0.01)
                raise Boom
            def leave(number, frame):
                raise SystemExit(3)
            for handler, error in (at_once, Boom), (after_a_wait, Boom), (leave, SystemExit):
                signal.signal(signal.SIGALRM, handler)
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                try:
                    threading.Event().wait(10)
                except BaseException as raised:
                    assert type(raised) is error, raised
                else:
                    raise AssertionError("nothing came up")
            """
        )

    def test_an_interrupt_of_a_thread_that_computes_ends_the_program(self):
        output = self.run_program(
            """
            import eventlet
            eventlet.monkey_patch()
            import os, signal, threading, time
            begun = threading.Event()
            def compute():
                begun.wait()
                signal.raise_signal(signal.SIGINT)
            thread = threading.Thread(target=compute)
            thread.start()
            try:
                begun.set()
                time.sleep(10)
            except KeyboardInterrupt:
                print("interrupted")
            thread.join()
            """
        )
        self.assertEqual(output.strip(), "interrupted")


if __name__ == "__main__":
    unittest.main()
