"""Lets importlib tell green threads apart: one that imports what another is importing waits until that is done.

importlib has a lock for each module, which belongs to a thread. Its locks stay what they are, since their types know
how to wait in the hub (`native_locks`); only the caller is taken for the green thread that it is.

A circular import is found by importlib, which then hands out the module as far as it is. Here that is done as well
for those who would wait for somebody whom they keep from running: the hub, which all others need, and a greenlet that
works for its parent.

The lock for all imports, which a fork waits for, knows green threads as well.
"""

import _imp
import importlib._bootstrap as _bootstrap
import os
import sys
import types

from eventlet import hubs, patcher
from eventlet.green import thread
from eventlet.support.greenlets import getcurrent

_native = patcher.original("_thread")


def follow_green_threads():
    """To be called once, when `_thread` is patched."""
    seen_by_importlib = types.ModuleType(_native.__name__)
    seen_by_importlib.__dict__.update(vars(_native), get_ident=thread.get_ident)
    _take_over()
    _bootstrap._thread = seen_by_importlib
    _replace_has_deadlock(_bootstrap._ModuleLock)
    _imp.acquire_lock, _imp.release_lock = _import_lock.acquire, _import_lock.release
    os.register_at_fork(
        before=_import_lock.acquire, after_in_parent=_import_lock.release, after_in_child=_import_lock.release
    )


class _ImportLock:
    """The lock of C, which to green threads of one OS thread is always free, and a green one before it."""

    def __init__(self):
        self._green = thread.RLock()
        self._acquire, self._release = _imp.acquire_lock, _imp.release_lock

    def acquire(self):
        # An OS thread without a hub has no green threads to tell apart. To wait green, it would have to make its hub,
        # which may import the hub's module and so come here again.
        if getattr(hubs._threadlocal, "hub", None) is not None:
            # The hub can't wait. Nor does it have to: it does not switch in between.
            self._green.acquire(blocking=not _is_hub())
        self._acquire()

    def release(self):
        self._release()
        if self._green._is_owned():
            self._green.release()


def _is_hub():
    hub = getattr(hubs._threadlocal, "hub", None)
    try:
        return hub is not None and getcurrent() is hub.greenlet
    except RuntimeError:
        return True  # the interpreter ends


_import_lock = _ImportLock()


def _take_over():
    """What a green thread imports while it patches was locked in the name of its OS thread."""
    me, os_thread = thread.get_ident(), _native.get_ident()
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is _bootstrap._find_and_load.__code__:
            find_lock = _bootstrap._module_locks.get(frame.f_locals["name"])
            lock = find_lock and find_lock()
            if lock is not None and lock.owner == os_thread:
                lock.owner = me
        frame = frame.f_back


def _replace_has_deadlock(kind):
    known_to_importlib = kind.has_deadlock

    def has_deadlock(self):
        return _keeps_from_running(self.owner) or known_to_importlib(self)

    kind.has_deadlock = has_deadlock


def _keeps_from_running(owner):
    """Whether the owner of a lock could not go on if the caller waited for it."""
    try:
        greenlet = getcurrent()
    except RuntimeError:
        return False  # the interpreter ends
    hub = getattr(hubs._threadlocal, "hub", None)
    hub_greenlet = hub and hub.greenlet
    if greenlet is hub_greenlet:
        return True
    while (greenlet := greenlet.parent) not in (None, hub_greenlet):
        if owner == (_native.get_ident() if greenlet.parent is None else id(greenlet)):
            return True
    return False
