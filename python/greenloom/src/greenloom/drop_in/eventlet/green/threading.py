"""`threading` whose threads are green threads.

It is a copy of the standard library's module that sees our `_thread`. When the standard library's own is patched, the
two share what they know: which threads there are, the main one, and whom the end of the program waits for.
"""

import itertools as _itertools
import reprlib as _reprlib
import sys as _sys
import threading as _stdlib
import weakref as _weakref
from functools import partial as _partial

from greenloom import greenlets as _greenlets
from greenloom._native import _alone_after_fork, _spend

from eventlet import greenthread as _greenthread
from eventlet import hubs as _hubs
from eventlet import patcher as _patcher
from eventlet.green import thread
from eventlet.green import time as _green_time
from eventlet.support.greenlets import getcurrent as _getcurrent
from eventlet.timeout import Timeout as _Timeout

_original = _patcher.original("threading")
_copy = _patcher.inject("threading", globals(), ("_thread", thread), ("time", _green_time))

__patched__ = [
    "Lock", "RLock", "_CRLock", "_LockType", "_ThreadHandle", "_allocate_lock", "_make_thread_handle", "_set_name",
    "_set_sentinel", "_start_joinable_thread", "_start_new_thread", "_thread_shutdown",
    "currentThread", "current_thread", "get_ident", "local", "stack_size",
]  # fmt: skip
__patched__ = [name for name in __patched__ if hasattr(_stdlib, name)]

_numbers = _itertools.count(1)


class _GreenThread(_stdlib.Thread):
    """How a green thread that was not started by threading looks to threading."""

    # Not initialised as a thread is: this describes what runs already, and is made for each green thread that logs a
    # line.
    def __init__(self, g):
        self._green = _weakref.ref(g)
        self._ident = id(g)
        self._name = f"GreenThread-{next(_numbers)}"

    def __repr__(self):
        return f"<_GreenThread({self._name}, {self._g!r})>"

    @property
    def _g(self):
        return self._green()

    def start(self):
        raise RuntimeError("threads can only be started once")

    def run(self):
        raise RuntimeError("it runs already")

    def join(self, timeout=None):
        """Waits for the end of the green thread, at most `timeout` seconds. Raises what ended it, as GreenThread.wait
        does."""
        g = self._g
        if g is None:
            return
        if g is _getcurrent():
            raise RuntimeError("cannot join current thread")
        if timeout is None:
            g.wait()
            return
        with _Timeout(max(timeout, 0), False):
            g.wait()

    def is_alive(self):
        g = self._g
        return g is not None and not g.dead

    isAlive = is_alive

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        self._name = str(name)

    def getName(self):
        return self._name

    def setName(self, name):
        self._name = str(name)

    get_name = getName
    set_name = setName

    @property
    def ident(self):
        return self._ident

    @property
    def native_id(self):
        return _stdlib.get_native_id()

    @property
    def daemon(self):
        return True

    @daemon.setter
    def daemon(self, daemonic):
        raise RuntimeError("cannot set daemon status of active thread")

    def isDaemon(self):
        return True

    is_daemon = isDaemon

    def setDaemon(self, daemonic):
        self.daemon = daemonic


def current_thread():
    """The Thread that runs. For a green thread that threading did not start it is a _DummyThread if `_thread` started
    it, else a _GreenThread; for a plain greenlet the thread of its OS thread."""
    ident = thread.get_ident()
    thread_object = _active.get(ident)
    if thread_object is not None:
        return thread_object
    g = _getcurrent()
    running = thread._running.get(ident)
    if running is not None:
        module = _stdlib if _patcher.is_monkey_patched("thread") else _copy
        running.at_end.append(_partial(_forget_dummy, module, ident))
        return module._DummyThread()
    if not isinstance(g, _greenthread.GreenThread):
        return _active.get(thread._native_ident()) or _original.current_thread()
    try:
        return g._seen_by_threading
    except AttributeError:
        g._seen_by_threading = _GreenThread(g)
        return g._seen_by_threading


def _forget_dummy(module, ident):
    if hasattr(module, "_thread_local_info"):
        # It is there to be deleted when the thread ends.
        vars(module._thread_local_info).clear()
    _active.pop(ident, None)


def currentThread():
    """The same by an older name, which is not warned about: eventlet's own tests take what is printed as it is."""
    return current_thread()


_patcher._correct_main_thread(_copy, _stdlib)
RLock = _CRLock = thread.RLock
for _name in ("RLock", "_CRLock", "current_thread", "currentThread"):
    setattr(_copy, _name, globals()[_name])


def _forked(module):
    """Does in a child process what threading's _after_fork does, but green threads of the OS thread that forked live
    on, unless multiprocessing has forked.

    `module` is the namespace of the copy, or of the standard library's module when that is patched.
    """
    native = thread._native_ident()
    thread._forget_other_os_threads(native)
    module["_active_limbo_lock"]._at_fork_reinit()
    module["_limbo"].clear()
    active = module["_active"]
    alone = _is_multiprocessings(_sys._getframe(1).f_back)
    _alone_after_fork(alone)
    if alone:
        _leave_others_behind(active)
    for ident in [ident for ident in active if ident != native and ident not in thread._running]:
        _mark_stopped(active.pop(ident))
    module["_main_thread"] = main = _thread_that_forked(module)
    thread._leave_waiters_behind(main)
    for each in active.values():
        each._set_native_id()
    if "_shutdown_locks" in module:
        # The green threads that live on were the parent's: the end of the child does not wait for them.
        module["_shutdown_locks_lock"]._at_fork_reinit()
        module["_shutdown_locks"].clear()


_FORKS_OF_MULTIPROCESSING = {f"{name}.popen_fork" for name in ("multiprocessing", "billiard", "multiprocess")}


def _is_multiprocessings(frame):
    """Whether the child is a process of multiprocessing's, or of one of its kin: it runs one function and ends, and
    never comes back to what the parent did."""
    return frame is not None and frame.f_globals.get("__name__") in _FORKS_OF_MULTIPROCESSING


#: What a process of multiprocessing's has of its parent, and must not end: nothing of it is to run there.
_left_behind = []


def _leave_others_behind(active):
    """Leaves all green threads but the one that forked as they are, for good, as a fork does OS threads."""
    current = thread.get_ident()
    _left_behind.append((_hubs._current_hub(), _greenlets(), dict(active), dict(thread._running)))
    for ident in [ident for ident in thread._running if ident != current]:
        del thread._running[ident]
    if native_locks := _sys.modules.get("eventlet.support.native_locks"):
        native_locks.leave_others_behind()
    if current in thread._running and (main := active.pop(thread._native_ident(), None)) is not None:
        _mark_stopped(main)
    _hubs._set_hub(None)


def _thread_that_forked(module):
    """Which is the main thread of the child, be it a green one. What eventlet itself has spawned passes for that of its
    OS thread."""
    active, current = module["_active"], _getcurrent()
    thread_object = active.get(thread.get_ident())
    if thread_object is None:
        thread_object = active.get(thread._native_ident()) or module["_MainThread"]()
        if isinstance(current, _greenthread.GreenThread):
            current._seen_by_threading = thread_object
    return thread_object


def _mark_stopped(each):
    if hasattr(each, "_reset_internal_locks"):  # until Python 3.12
        each._reset_internal_locks(False)
        return
    handle = each._os_thread_handle if hasattr(each, "_os_thread_handle") else each._handle
    handle._set_done()
    each._after_fork()


def _replace_after_fork(module):
    # What os.register_at_fork was given stays for good, so it is the function that has to change.
    def _after_fork():
        import eventlet.green.threading as green

        green._forked(globals())

    module._after_fork.__code__ = _after_fork.__code__


_replace_after_fork(_copy)


def _is_set(self):
    """Whether the flag is set."""
    _spend()
    return self._flag


_is_set.__name__ = "is_set"


def _wait(self, timeout=None):
    """Waits until it is notified, at most `timeout` seconds. Returns whether it was.

    A kill or a Timeout that ends the wait comes out when the lock is held again, and if it comes after the notification
    another waiter is notified."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    gate = thread.allocate_lock()
    gate.acquire()
    self._waiters.append(gate)
    state = self._release_save()
    try:
        try:
            if timeout is None:
                notified = gate.acquire()
            else:
                notified = gate.acquire(False) if _is_over(timeout) else gate.acquire(True, timeout)
        finally:
            _take_again(self, state)
    except BaseException:
        if not _forget(self, gate) and self._is_owned():
            self.notify()
        raise
    if not notified:
        _forget(self, gate)
    return notified


def _refuses_what_is_no_number():
    """Whether the standard library's wait() gives such a timeout to the lock, which refuses it: a release of 3.14 was
    the first. For others it is no time to wait."""
    condition = _original.Condition()
    try:
        with condition:
            condition.wait(float("nan"))
    except ValueError:
        return True
    return False


if _refuses_what_is_no_number():

    def _is_over(timeout):
        return timeout <= 0

else:

    def _is_over(timeout):
        return not timeout > 0


def _take_again(condition, state):
    try:
        condition._acquire_restore(state)
    except BaseException:
        # One interruption waits for the lock; a second one ends that, too.
        condition._acquire_restore(state)
        raise


def _forget(condition, gate):
    try:
        condition._waiters.remove(gate)
    except ValueError:
        return False
    return True


_wait.__name__ = "wait"


def _let_interrupts_out(make):
    """As threading's maker of what tells of the error that ends a thread, but a KeyboardInterrupt comes out: a signal
    came while a green thread ran, and it is for the main one."""

    def make_invoke_excepthook():
        invoke = make()

        def invoke_excepthook(thread):
            if isinstance(_sys.exc_info()[1], KeyboardInterrupt):
                raise  # noqa: PLE0704: that of the caller
            invoke(thread)

        return invoke_excepthook

    return make_invoke_excepthook


def _improve(module):
    module.Event.is_set = _is_set
    module.Condition.wait = _wait
    module._make_invoke_excepthook = _let_interrupts_out(module._make_invoke_excepthook)


_improve(_copy)


def _patch_in_place(module):
    module._active.update((ident, each) for ident, each in _active.items() if each is not _main_thread)
    # Locks have to be green ones; whom there is and who is the main thread is known better there.
    for name in ("_active_limbo_lock", "_shutdown_locks_lock"):
        if hasattr(module, name):
            setattr(module, name, getattr(_copy, name))
    for name in ("_active", "_limbo", "_dangling", "_main_thread", "_shutdown_locks", "_threading_atexits"):
        if hasattr(module, name):
            setattr(_copy, name, getattr(module, name))
            globals()[name] = getattr(module, name)
    if hasattr(module, "_thread_local_info"):
        module._thread_local_info = thread._local()  # which notes the end of a _DummyThread's thread
    _replace_after_fork(module)
    _improve(module)
    module._shutdown = _with_native_threads(module, module._shutdown)
    _sys._current_frames = thread._current_frames
    # It was imported long before, and has the function from there.
    _reprlib.get_ident = thread.get_ident


def _with_native_threads(module, shutdown):
    def _shutdown():
        """Called when the interpreter ends. Waits for threads that are no daemons: green ones, then those of OS
        threads."""
        sentinels = set()

        def take_out():
            awaited = {lock for lock in module._shutdown_locks if isinstance(lock, thread._Sentinel)}
            module._shutdown_locks -= awaited
            sentinels.update(awaited)

        if hasattr(module, "_shutdown_locks"):
            # Until Python 3.12 it waits for locks without a limit. Of the functions here the first is called last.
            module._threading_atexits.insert(0, take_out)
        shutdown()
        thread._wait_for_sentinels(sentinels)
        _original._shutdown()

    return _shutdown
