"""`queue` made of eventlet's queues, which here mean by size 0 what the standard library means: no limit."""

import queue as _stdlib
from collections import deque as _deque

from eventlet import queue
from eventlet.semaphore import Semaphore as _Semaphore

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]
__patched__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]

Empty = queue.Empty
Full = queue.Full


class Queue(queue.Queue):
    def __init__(self, maxsize=0):
        super().__init__(maxsize or None)


class PriorityQueue(queue.PriorityQueue):
    def __init__(self, maxsize=0):
        super().__init__(maxsize or None)


class LifoQueue(queue.LifoQueue):
    def __init__(self, maxsize=0):
        super().__init__(maxsize or None)


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
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not (self._count.acquire(timeout=timeout) if block else self._count.acquire(blocking=False)):
            raise Empty
        return self._queue.popleft()
