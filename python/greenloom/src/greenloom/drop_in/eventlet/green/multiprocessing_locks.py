"""`_multiprocessing` whose semaphores, which are under all locks of multiprocessing, let other green threads run.

A semaphore is shared with other processes, which cannot wake anybody here: a waiter looks again now and then. And
to C the lock of a green thread is that of its OS thread, so a recursive one notes which green thread holds it.
"""

import _multiprocessing as _c

from greenloom._native import _spend

from eventlet import hubs as _hubs
from eventlet.green.thread import get_ident as _get_ident
from eventlet.greenthread import sleep as _sleep
from eventlet.support.clock import monotonic as _monotonic
from eventlet.support.greenlets import getcurrent as _getcurrent

__patched__ = ["SemLock"]

_RECURSIVE = 0
_SHORTEST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01


def _may_wait():
    hub = getattr(_hubs._threadlocal, "hub", None)
    return hub is not None and _getcurrent() is not hub.greenlet


class SemLock(_c.SemLock):
    __doc__ = _c.SemLock.__doc__
    _owner = None

    def acquire(self, block=True, timeout=None):
        """Takes one; waits for it, at most `timeout` seconds. Returns whether it was taken."""
        _spend()
        if self._try():
            return True
        if not block:
            return False
        if not _may_wait():
            if not super().acquire(True, timeout):
                return False
            self._owner = _get_ident()
            return True
        end = None if timeout is None else _monotonic() + timeout
        pause = _SHORTEST_PAUSE
        while True:
            left = pause if end is None else min(pause, end - _monotonic())
            if left <= 0:
                return False
            _sleep(left)
            if self._try():
                return True
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _try(self):
        # C would let a second green thread of the OS thread that holds it in.
        if self.kind == _RECURSIVE and super()._is_mine() and self._owner != _get_ident():
            return False
        if not super().acquire(False):
            return False
        self._owner = _get_ident()
        return True

    def release(self):
        """Gives one back."""
        if self.kind == _RECURSIVE and not self._is_mine():
            raise AssertionError("attempt to release recursive lock not owned by thread")
        super().release()

    def _is_mine(self):
        return super()._is_mine() and self._owner == _get_ident()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc_info):
        self.release()
