"""The lock of threads that are green threads: `eventlet.green.thread.RLock`."""

import sys
import threading as _stdlib_threading
import warnings
from collections import deque

from greenloom._native import _spend, _timeout, sleep

from eventlet import patcher
from eventlet.lock import Lock
from eventlet.support.greenlets import getcurrent

_native_ident = patcher.original("_thread").get_ident

_CLAIM = "claim"

#: How often its owner may take an RLock again before that spends of the owner's time slice.
_AGAIN_FOR_NOTHING = 256


def _me():
    try:
        return id(getcurrent())
    except RuntimeError:
        return _native_ident()  # the interpreter ends; finalizers still take locks


def _refuse_arguments():
    """CPython's RLock ignores them, warns of them or refuses them, by its version."""
    if sys.version_info >= (3, 15):
        raise TypeError("RLock() takes no arguments")
    if sys.version_info >= (3, 13):
        text = "Passing arguments to RLock is deprecated and will be removed in 3.15"
        warnings.warn(text, DeprecationWarning, stacklevel=3)


class _Waiter:
    def __init__(self, claim):
        self.claim = claim
        self.gate = Lock()
        self.gate.acquire()


class RLock(_stdlib_threading._PyRLock):
    """A reentrant lock whose owner is a green thread, of any OS thread. First come, first served.

    It may be interrupted anywhere by a finalizer or a signal handler that takes it too, which a lock with an owner
    beside it may not: between the two, its owner would wait for itself. So what says that it is held, by whom and how
    often, is one list under one key; taking the lock is dict.setdefault, which nothing interrupts.
    """

    # Where programs know it.
    __module__ = "eventlet.green.thread"

    def __init__(self, *args, **kwargs):
        if args or kwargs:
            _refuse_arguments()
        # A claim is [id of the greenlet, how often, identifier of the OS thread, how often it was taken again so far].
        self._held = {}
        self._waiting = deque()

    def __repr__(self):
        state = "locked" if self._held else "unlocked"
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{state} {kind} object owner={self._owner or 0} count={self._count} at {id(self):#x}>"

    @property
    def _owner(self):
        claim = self._held.get(_CLAIM)
        return claim and claim[0]

    @property
    def _count(self):
        claim = self._held.get(_CLAIM)
        return claim[1] if claim else 0

    def locked(self):
        """Whether a thread holds it."""
        _spend()
        return bool(self._held)

    def acquire(self, blocking=True, timeout=-1):
        """Takes the lock; waits for it, at most `timeout` seconds unless that is -1. Returns whether it was taken."""
        if timeout != -1 and (timeout := _timeout(timeout)) != -1:
            if not blocking:
                raise ValueError("can't specify a timeout for a non-blocking call")
            if timeout < 0:
                raise ValueError("timeout value must be a non-negative number")
        try:
            me = id(getcurrent())
        except RuntimeError:
            me = _me()
        held = self._held.get(_CLAIM)
        if held is None or held[0] != me:
            _spend()
        elif (again := held[3] + 1) < _AGAIN_FOR_NOTHING:
            # A turn for others now would be one while the lock is held, and a signal handler may want it in the hub,
            # which cannot wait. It is for who does nothing else.
            held[3] = again
        else:
            _spend()
        claim = [me, 1, _native_ident(), 0]
        held = self._held.setdefault(_CLAIM, claim)
        if held is claim:
            return True
        if held[0] == me:
            held[1] += 1
            return True
        return self._wait(claim, timeout) if blocking else False

    __enter__ = acquire

    def release(self):
        """Gives the lock back once; RuntimeError if the caller does not hold it."""
        claim = self._held.get(_CLAIM)
        if claim is None or claim[0] != _me():
            raise RuntimeError("cannot release un-acquired lock")
        if claim[1] > 1:
            claim[1] -= 1
            return
        if self._waiting:
            self._pass_on()
            return
        del self._held[_CLAIM]
        # One may have come in between, in another OS thread.
        if self._waiting:
            self._give_if_free()

    def __exit__(self, *exc_info):
        self.release()

    def _wait(self, claim, timeout):
        waiter = _Waiter(claim)
        # A thread that waits twice was interrupted while it began to wait; the outer one cannot go on before the inner
        # one has.
        if any(each.claim[0] == claim[0] for each in list(self._waiting)):
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        self._give_if_free()
        try:
            waiter.gate.acquire(timeout=timeout)
        except BaseException:
            if not self._withdraw(waiter):
                self.release()
            raise
        return not self._withdraw(waiter)

    def _withdraw(self, waiter):
        """Stops waiting. False if the lock was given before: then it is there when this returns."""
        try:
            self._waiting.remove(waiter)
            return True
        except ValueError:
            # Who gives opens the gate first.
            while self._held.get(_CLAIM) is not waiter.claim:
                sleep(0)
            return False

    def _pass_on(self):
        try:
            waiter = self._waiting.popleft()
        except IndexError:
            del self._held[_CLAIM]
            self._give_if_free()
            return
        # In this order: an interrupting acquire() between the two is still the owner's, and does not wait for itself.
        waiter.gate.release()
        self._held[_CLAIM] = waiter.claim

    def _give_if_free(self):
        # It may have become free, in another OS thread, just before a waiter was added.
        while self._waiting:
            nobody = [None, 1, None, 0]
            if self._held.setdefault(_CLAIM, nobody) is not nobody:
                return
            self._pass_on()

    def _is_owned(self):
        return self._owner == _me()

    def _recursion_count(self):
        return self._count if self._is_owned() else 0

    def _release_save(self):
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        claim = self._held[_CLAIM]
        saved, claim[1] = claim[1], 1
        self._pass_on()
        return saved, claim[0]

    def _acquire_restore(self, state):
        self.acquire()
        self._held[_CLAIM][1] = state[0]

    def _at_fork_reinit(self):
        """In a child process: frees the lock, unless another green thread holds it that lives on in the child."""
        here = _native_ident()
        for waiter in list(self._waiting):
            if waiter.claim[2] != here:
                self._waiting.remove(waiter)
        claim = self._held.get(_CLAIM)
        if claim is not None and (claim[2] != here or claim[0] == _me()):
            self._pass_on()
