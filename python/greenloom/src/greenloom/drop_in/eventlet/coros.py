"""A counter to wait for, kept for programs that use it; `GreenPool.waitall` is the usual way."""

from eventlet import event as _event

__all__ = ["metaphore"]


class metaphore:
    """A semaphore turned round: `wait` parks while the counter is above zero, to wait for all of several things.

        pending = metaphore()
        for job in jobs:
            pending.inc()
            spawn_n(run_and_dec, job, pending)
        pending.wait()
    """

    def __init__(self):
        self.counter = 0
        self.event = _event.Event()
        self.event.send()

    def inc(self, by=1):
        """Adds *by*, which is above zero, to the counter."""
        assert by > 0
        if self.counter == 0:
            self.event = _event.Event()
        self.counter += by

    def dec(self, by=1):
        """Takes *by*, which is above zero, from the counter, at most down to zero; there all waiters wake."""
        assert by > 0
        was_up = self.counter > 0
        self.counter = max(0, self.counter - by)
        if was_up and self.counter == 0:
            self.event.send()

    def wait(self):
        """Parks until the counter is zero; returns at once if it is."""
        self.event.wait()
