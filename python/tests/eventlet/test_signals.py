"""Waiting for signals while other green threads run."""

import unittest

from scenario import Scenario


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


if __name__ == "__main__":
    unittest.main()
