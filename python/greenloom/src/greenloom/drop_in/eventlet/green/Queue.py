"""`queue` for green threads: the standard library's own code, whichever Python it comes with, on green locks."""

import itertools as _itertools
import queue as _stdlib
import types as _types
from collections import deque as _deque

from eventlet import patcher as _patcher
from eventlet.green import threading as _threading
from eventlet.green.thread import check_timeout as _check_timeout
from eventlet.greenthread import sleep as _sleep
from eventlet.semaphore import Semaphore as _Semaphore

__patched__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]


class _Condition(_threading.Condition):
    """A condition whose waiters may be killed or timed out."""

    def wait(self, timeout=None):
        try:
            return super().wait(timeout)
        except BaseException:
            # It may have been notified, and the item or the room that it was told of is there for another.
            self.notify()
            raise

    def notify(self, n=1):
        # The usual case first: nobody waits, and the caller holds the lock as it has to.
        if self._waiters or not self._lock.locked():
            super().notify(n)


def _mutex():
    # A green lock can't be waited for by the hub, which may have to, for an instant, if OS threads use the queue too.
    # One of C can, and green threads wait for it as for a green one, once those locks are patched.
    return _new_native_lock() if _patcher.is_monkey_patched("thread") else _threading.Lock()


_new_native_lock = _patcher.original("_thread").allocate_lock
_green_threading = _types.ModuleType("threading")
_green_threading.__dict__.update(vars(_threading), Condition=_Condition, Lock=_mutex)
_copy = _patcher.inject("queue", globals(), ("threading", _green_threading))

# Who catches them does not know which module they came from.
for _name in ("Empty", "Full", "ShutDown"):
    if hasattr(_stdlib, _name):
        globals()[_name] = getattr(_stdlib, _name)
        setattr(_copy, _name, globals()[_name])


_PATIENCE = 32
_tries = _itertools.count(1)


def _try_in_vain():
    """Called for each try that does not wait and will fail: in a loop of them, others run now and then."""
    if not next(_tries) % _PATIENCE:
        _sleep(0)


class Queue(_copy.Queue):
    def get(self, block=True, timeout=None):
        if not block and not self._qsize():
            _try_in_vain()
        return super().get(block, timeout)

    def put(self, item, block=True, timeout=None):
        if not block and 0 < self.maxsize <= self._qsize():
            _try_in_vain()
        super().put(item, block, timeout)


class PriorityQueue(Queue, _copy.PriorityQueue):
    pass


class LifoQueue(Queue, _copy.LifoQueue):
    pass


class SimpleQueue(_stdlib._PySimpleQueue):
    """As queue.SimpleQueue. put() may interrupt put() or get() anywhere, as a finalizer or a signal handler does."""

    def __init__(self):
        # Not the parent's, whose semaphore is made of a lock that an interrupting put() would wait for.
        self._queue = _deque()
        self._count = _Semaphore(0)

    def put(self, item, block=True, timeout=None):
        """Adds an item; `block` and `timeout` are ignored, as it never waits."""
        self._queue.append(item)
        self._count.release()

    def get(self, block=True, timeout=None):
        """Takes the oldest item; waits for one, at most `timeout` seconds if it is given, and raises Empty."""
        if block and timeout is not None:
            if timeout < 0:
                raise ValueError("'timeout' must be a non-negative number")
            _check_timeout(timeout)
        if not (self._count.acquire(timeout=timeout) if block else self._count.acquire(blocking=False)):
            if not block:
                _try_in_vain()
            raise Empty  # noqa: F821
        return self._queue.popleft()


for _name in __patched__:
    globals()[_name].__doc__ = getattr(_stdlib, _name).__doc__
    setattr(_copy, _name, globals()[_name])
