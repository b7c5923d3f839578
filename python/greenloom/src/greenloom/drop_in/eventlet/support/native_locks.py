"""Lets the locks of C, those that Python code got before it was patched or by other ways, wait in the hub.

Such a lock can be anywhere: in a local variable, a tuple, a with statement that runs, another OS thread. So it is
left where it is, and the methods of its type are replaced. They try the lock as before. Only when it is taken, and
the caller is a green thread that could let others run, it is put on a list, and a release wakes the first of the
list. An OS thread without a hub blocks as before.

Who took hold of a method before it was replaced releases without our notice, and the interpreter itself releases the
lock that tells of a thread's end. Therefore waiters look again now and then.
"""

import types
from _queue import Empty, SimpleQueue
from collections import deque
from functools import partial

from greenloom._native import _replace_methods, _spend, _timeout

from eventlet import hubs, patcher, semaphore
from eventlet.green import thread
from eventlet.support.clock import monotonic as _monotonic
from eventlet.support.greenlets import getcurrent

_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.25

_native = patcher.original("_thread")
_native_ident = _native.get_ident
LOCK = type(_native.allocate_lock())
RLOCK = _native.RLock

# The waiters, by the id() of what they wait for. An entry exists only while somebody waits, and keeps what it is for
# alive.
_waiting = {}


def _may_switch():
    hub = getattr(hubs._threadlocal, "hub", None)
    if hub is None:
        return False
    try:
        return getcurrent() is not hub.greenlet
    except RuntimeError:
        return False  # the interpreter ends


class _Waiter:
    def __init__(self, thing):
        self.thing = thing
        self.calls = semaphore.Semaphore(0)


def _wait(thing, attempt, timeout):
    """Waits in turn until `attempt()` is true, at most `timeout` seconds unless that is None. Returns whether it
    was."""
    deadline = None if timeout is None else _monotonic() + timeout
    line = _waiting.setdefault(id(thing), deque())
    me = _Waiter(thing)
    line.append(me)
    pause = _SHORTEST_PAUSE
    try:
        while True:
            if line[0] is me and attempt():
                return True
            left = None if deadline is None else deadline - _monotonic()
            if left is not None and left <= 0:
                return False
            me.calls.acquire(timeout=pause if left is None else min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
    finally:
        line.remove(me)
        if line:
            # It may be the turn of the next one, if this one gave up.
            _call_next(thing)
        elif _waiting.get(id(thing)) is line:
            del _waiting[id(thing)]


def leave_others_behind():
    """In the child of a fork, in which no other green thread goes on: nobody waits any more."""
    _waiting.clear()


def _call_next(thing):
    line = _waiting.get(id(thing))
    if line is None:
        return
    try:
        line[0].calls.release()
    except IndexError:
        pass  # the only one went, in another OS thread


def _lock_methods(cls):
    native_acquire, native_release, native_reinit = cls.acquire, cls.release, cls._at_fork_reinit

    def acquire(self, blocking=True, timeout=-1):
        if timeout != -1:
            timeout = _timeout(timeout)
        _spend()
        if not blocking or timeout < 0 and timeout != -1:
            return native_acquire(self, blocking, timeout)  # It says what is wrong, if something is.
        if id(self) not in _waiting and native_acquire(self, False):
            return True
        if not _may_switch():
            return native_acquire(self, True, timeout)
        return _wait(self, partial(native_acquire, self, False), None if timeout == -1 else timeout)

    def release(self):
        native_release(self)
        if _waiting:
            _call_next(self)

    def __enter__(self):
        return acquire(self)

    def __exit__(self, *exc_info):
        release(self)

    def _at_fork_reinit(self):
        native_reinit(self)
        _call_next(self)

    return {
        "acquire": acquire,
        "acquire_lock": acquire,
        "release": release,
        "release_lock": release,
        "__enter__": __enter__,
        "__exit__": __exit__,
        "_at_fork_reinit": _at_fork_reinit,
    }


# Which green thread holds an RLock that its OS thread holds, by the id() of the RLock. Without an entry it is the OS
# thread's first greenlet. What is here of an RLock that nobody holds means nothing.
_owners = {}


def _rlock_methods(cls):
    native_acquire, native_release, native_owned = cls.acquire, cls.release, cls._is_owned
    native_save, native_reinit = cls._release_save, cls._at_fork_reinit

    def _is_owned(self):
        return native_owned(self) and _owners.get(id(self), _native_ident()) == thread.get_ident()

    def take(self):
        # To C it would be free for all green threads of the OS thread that holds it.
        if native_owned(self) or not native_acquire(self, False):
            return False
        _owners[id(self)] = thread.get_ident()
        return True

    def acquire(self, blocking=True, timeout=-1):
        if timeout != -1:
            timeout = _timeout(timeout)
        _spend()
        if timeout != -1 and not (blocking and timeout >= 0):
            return native_acquire(self, blocking, timeout)  # It says what is wrong.
        if _is_owned(self):
            return native_acquire(self)
        if id(self) not in _waiting and take(self):
            return True
        if not blocking:
            return take(self)
        if _may_switch():
            return _wait(self, partial(take, self), None if timeout == -1 else timeout)
        if native_owned(self):
            raise RuntimeError("a green thread holds this lock, and the hub cannot wait for it")
        if not native_acquire(self, True, timeout):
            return False
        _owners[id(self)] = thread.get_ident()
        return True

    def release(self):
        if not _is_owned(self):
            raise RuntimeError("cannot release un-acquired lock")
        native_release(self)
        if not native_owned(self):
            _owners.pop(id(self), None)
            _call_next(self)

    def __enter__(self):
        return acquire(self)

    def __exit__(self, *exc_info):
        release(self)

    def _release_save(self):
        if not _is_owned(self):
            raise RuntimeError("cannot release un-acquired lock")
        state = native_save(self)
        _owners.pop(id(self), None)
        _call_next(self)
        return state

    def _acquire_restore(self, state):
        acquire(self)
        for _ in range(state[0] - 1):
            native_acquire(self)

    def _at_fork_reinit(self):
        native_reinit(self)
        _owners.pop(id(self), None)
        _call_next(self)

    methods = {
        "acquire": acquire,
        "release": release,
        "__enter__": __enter__,
        "__exit__": __exit__,
        "_is_owned": _is_owned,
        "_release_save": _release_save,
        "_acquire_restore": _acquire_restore,
        "_at_fork_reinit": _at_fork_reinit,
    }
    if hasattr(cls, "_recursion_count"):
        native_count = cls._recursion_count
        methods["_recursion_count"] = lambda self: native_count(self) if _is_owned(self) else 0
    return methods


def _simple_queue_methods(cls):
    native_get, native_put = cls.get, cls.put

    def get(self, block=True, timeout=None):
        if block and timeout is not None:
            timeout = _timeout(timeout)
        if not block or (timeout is not None and timeout < 0) or not _may_switch():
            return native_get(self, block, timeout)
        item = []

        def take():
            try:
                item.append(native_get(self, False))
            except Empty:
                return False
            return True

        if (id(self) not in _waiting and take()) or _wait(self, take, timeout):
            return item[0]
        raise Empty

    def put(self, item, block=True, timeout=None):
        native_put(self, item)
        _call_next(self)

    return {"get": get, "put": put, "put_nowait": lambda self, item: put(self, item)}


def _handle_methods(cls):
    native_join = cls.join

    def join(self, timeout=None):
        if not _may_switch():
            return native_join(self, timeout)
        if timeout is not None:
            timeout = _timeout(timeout)
        native_join(self, 0)  # which says what is wrong with the call
        if not self.is_done():
            _wait(self, self.is_done, None if timeout is None or timeout < 0 else timeout)

    return {"join": join}


def make_cooperative():
    """Replaces the methods; once is enough."""
    if isinstance(LOCK.acquire, types.FunctionType):
        return
    _replace_methods(LOCK, _lock_methods(LOCK))
    _replace_methods(RLOCK, _rlock_methods(RLOCK))
    _replace_methods(SimpleQueue, _simple_queue_methods(SimpleQueue))
    if hasattr(_native, "_ThreadHandle"):
        _replace_methods(_native._ThreadHandle, _handle_methods(_native._ThreadHandle))
