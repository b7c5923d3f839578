"""`queue` for green threads: the standard library's own code, whichever Python it comes with, on green locks. A queue
that nobody looks into is a native one."""

import itertools as _itertools
import queue as _stdlib
import types as _types
from collections import deque as _deque
from heapq import heappop as _heappop
from heapq import heappush as _heappush

from greenloom._native import _spend, _timeout

from eventlet import patcher as _patcher
from eventlet import queue as _native
from eventlet.green import threading as _threading
from eventlet.greenthread import sleep as _sleep
from eventlet.semaphore import Semaphore as _Semaphore
from eventlet.support.clock import monotonic as _monotonic

__patched__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]


class _Condition(_threading.Condition):
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


class _Moved(Exception):
    """The items of a native queue are elsewhere."""


class _NotHere:
    """Stands in a native queue for items that are elsewhere: its getters and putters are told so."""

    def __len__(self):
        return 1 << 40  # enough for all waiters

    def append(self, item):
        raise _Moved

    def pop(self):
        raise _Moved

    popleft = pop


_NOT_HERE = _NotHere()


_Standard = _copy.Queue


class Queue(_Standard):
    """While nobody looks inside, the items are in a native queue.

    That has no mutex and no conditions. The first caller that asks for one, or shuts the queue down, makes the standard
    library's code take over: it has the items from then on, and the waiters in the native queue come and wait anew. So
    it is from the beginning in a subclass, which may override anything. To take over has no moment at which another OS
    thread or a finalizer must not come in between, and may be done twice.
    """

    # The native queue, until the standard library's code takes over.
    _native = None
    _unfinished = 0

    def __init__(self, maxsize=0):
        if type(self) in _NATIVE and type(maxsize) is int:
            self._maxsize = maxsize
            native, container = _NATIVE[type(self)]
            native = native(maxsize if maxsize > 0 else None)
            self._items = native.queue = container()
            self._native = native
        else:
            super().__init__(maxsize)

    def __getattr__(self, name):
        # Another OS thread may have made it take over since the name was not found.
        if name in _INSIDE:
            self._take_over()
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _take_over(self):
        native = self._native
        if native is None:
            return
        inside = {name: value for name, value in vars(_Standard()).items() if name in _INSIDE}
        for name, value in vars(self).setdefault("_inside", inside).items():
            vars(self).setdefault(name, value)
        native.queue = _NOT_HERE
        unfinished, native.unfinished_tasks = native.unfinished_tasks, 0
        self._unfinished += unfinished
        self._native = None
        # The waiters come again.
        native.maxsize = None
        native.unfinished_tasks += 1
        native.task_done()

    def put(self, item, block=True, timeout=None):
        native = self._native
        if native is not None:
            if self._maxsize <= 0:
                timeout = None
            if timeout is not None and block:
                _refuse_negative(timeout)
                end = _monotonic() + timeout
            try:
                return native.put(item, block, timeout)
            except _Moved:
                self._take_over()
            except Full:  # noqa: F821
                if not block:
                    _try_in_vain()
                raise
            if timeout is not None and block:
                timeout = max(end - _monotonic(), 0)
        if not block and 0 < self.maxsize <= self._qsize():
            _try_in_vain()
        super().put(item, block, timeout)

    def get(self, block=True, timeout=None):
        native = self._native
        if native is not None:
            if timeout is not None and block:
                _refuse_negative(timeout)
                end = _monotonic() + timeout
            try:
                return native.get(block, timeout)
            except _Moved:
                self._take_over()
            except Empty:  # noqa: F821
                if not block:
                    _try_in_vain()
                raise
            if timeout is not None and block:
                timeout = max(end - _monotonic(), 0)
        if not block and not self._qsize():
            _try_in_vain()
        return super().get(block, timeout)

    def task_done(self):
        native = self._native
        if native is not None:
            try:
                return native.task_done()
            except ValueError:
                if native.queue is not _NOT_HERE:
                    raise
            self._take_over()
        super().task_done()

    def join(self):
        while (native := self._native) is not None:
            if not native.unfinished_tasks and native.queue is not _NOT_HERE:
                return
            native.join()
        super().join()

    def qsize(self):
        _spend()
        return len(self._items) if self._native is not None else super().qsize()

    def empty(self):
        _spend()
        return not self._items if self._native is not None else super().empty()

    def full(self):
        _spend()
        return 0 < self._maxsize <= len(self._items) if self._native is not None else super().full()

    @property
    def maxsize(self):
        """How many items it may hold; 0 or less for no limit. May be set."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, maxsize):
        self._maxsize = maxsize
        native = self._native
        if native is None:
            return
        if type(maxsize) is int:
            native.maxsize = maxsize if maxsize > 0 else None
        else:
            self._take_over()

    @property
    def queue(self):
        """The container of the items. May be set."""
        return self._items

    @queue.setter
    def queue(self, items):
        self._items = items
        if self._native is not None:
            self._take_over()

    @property
    def unfinished_tasks(self):
        """How many items task_done() was not called for."""
        native = self._native
        return self._unfinished if native is None else native.unfinished_tasks

    @unfinished_tasks.setter
    def unfinished_tasks(self, number):
        if self._native is not None:
            self._take_over()
        self._unfinished = number


class PriorityQueue(Queue, _copy.PriorityQueue):
    pass


class LifoQueue(Queue, _copy.LifoQueue):
    pass


class _Heap(list):
    """The items of a PriorityQueue, under the names that a native queue knows."""

    def append(self, item):
        _heappush(self, item)

    def popleft(self):
        return _heappop(self)


# The native queue and the container of each type.
_NATIVE = {
    Queue: (_native.Queue, _deque),
    PriorityQueue: (_native.Queue, _Heap),
    LifoQueue: (_native.LifoQueue, list),
}
# What a native queue does not have.
_INSIDE = set(vars(_Standard())) - {"maxsize", "queue", "unfinished_tasks"}


def _refuse_negative(timeout):
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


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
            timeout = _timeout(timeout)
            _refuse_negative(timeout)
        if not (self._count.acquire(timeout=timeout) if block else self._count.acquire(blocking=False)):
            if not block:
                _try_in_vain()
            raise Empty  # noqa: F821
        return self._queue.popleft()

    def empty(self):
        _spend()
        return super().empty()

    def qsize(self):
        _spend()
        return super().qsize()


for _name in __patched__:
    globals()[_name].__doc__ = getattr(_stdlib, _name).__doc__
    setattr(_copy, _name, globals()[_name])
