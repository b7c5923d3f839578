"""Semaphores: how many green threads may do something at a time.

Waiters go on in the order in which they came. All of it may be used from any OS thread.
"""

from greenloom._native import BoundedSemaphore, Semaphore

__all__ = ["Semaphore", "BoundedSemaphore", "CappedSemaphore"]


class CappedSemaphore:
    """A semaphore whose counter stays between 0 and *limit*: :meth:`release` waits at the limit as :meth:`acquire` does
    at zero.

    :param count: what the counter begins with
    :param limit: the most it can be
    """

    def __init__(self, count, limit):
        if count < 0:
            raise ValueError(f"CappedSemaphore needs a count of zero or more, not {count}")
        if count > limit:
            raise ValueError(f"CappedSemaphore needs a count within the limit, not {count} of {limit}")
        self.lower_bound = Semaphore(count)
        self.upper_bound = Semaphore(limit - count)

    def __repr__(self):
        bounds = f"l={self.lower_bound!r} u={self.upper_bound!r}"
        return f"<{type(self).__name__} at {id(self):#x} b={self.balance} {bounds}>"

    def __str__(self):
        return f"<{type(self).__name__} b={self.balance} l={self.lower_bound} u={self.upper_bound}>"

    def locked(self):
        """Whether :meth:`acquire` would wait."""
        return self.lower_bound.locked()

    def bounded(self):
        """Whether :meth:`release` would wait."""
        return self.upper_bound.locked()

    def acquire(self, blocking=True):
        """Takes one. Waits until there is one; without *blocking* it returns False instead."""
        return self._move(self.upper_bound, self.lower_bound, blocking)

    def release(self, blocking=True):
        """Gives one back. Waits while the counter is at the limit; without *blocking* it returns False instead."""
        return self._move(self.lower_bound, self.upper_bound, blocking)

    @staticmethod
    def _move(given, taken, blocking):
        if not blocking and taken.locked():
            return False
        # Given first: the waiter at the other end shall see that we wait here.
        given.release()
        try:
            return taken.acquire()
        except BaseException:
            given.counter -= 1
            raise

    def __enter__(self):
        self.acquire()

    def __exit__(self, kind, value, traceback):
        self.release()

    @property
    def balance(self):
        """How many can be acquired without waiting; less than zero while some wait in :meth:`acquire`."""
        return self.lower_bound.balance - self.upper_bound.balance
