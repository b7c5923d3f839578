"""`_thread` whose threads are green threads.

A thread identifier is the id() of a greenlet; only an OS thread's first greenlet has the identifier of its OS thread,
so that what was noted before the patch, or by an OS thread that knows nothing of it, still holds.
"""

import errno
import signal
import sys
import threading as _stdlib_threading
import weakref
from functools import cache, partial

from greenloom import set_stack_size as _set_stack_size
from greenloom import stack_size as _green_stack_size
from greenloom._native import _begin_thread, _end_thread, _is_os_thread, _timeout

from eventlet import event, greenthread, patcher
from eventlet.corolocal import local as _local  # noqa: F401  it is a name of _thread
from eventlet.lock import Lock
from eventlet.support import functions, thread_end
from eventlet.support.greenlets import GreenletExit, getcurrent
from eventlet.support.rlock import RLock

_original = patcher.original("_thread")

__patched__ = [
    "Lock", "LockType", "RLock", "_ThreadHandle", "_count", "_local", "_make_thread_handle", "_set_sentinel",
    "_shutdown", "allocate", "allocate_lock", "exit", "exit_thread", "get_ident", "interrupt_main", "lock", "set_name",
    "stack_size", "start_joinable_thread", "start_new", "start_new_thread",
]  # fmt: skip
# Only what this Python's module has: others look there to find out which Python it is.
__patched__ = [name for name in __patched__ if hasattr(_original, name)] + ["Lock"]

patcher.slurp_properties(_original, globals(), ignore=__patched__, srckeys=dir(_original))
LockType = lock = Lock

_native_ident = _original.get_ident
_native_frames = sys._current_frames
_main_os_thread = _stdlib_threading.main_thread().ident

# The green threads that were started here and run, by identifier.
_running = {}


class _Running:
    """What is known of one: its greenlet, the identifier of its OS thread, the lock that is released when it ends,
    functions that are called then, the signals that it blocks, if it has set them, and whether it was there before the
    process forked."""

    def __init__(self):
        self.greenlet = weakref.ref(getcurrent())
        self.os_thread = _native_ident()
        self.sentinel = None
        self.at_end = []
        self.blocks = None
        self.is_parents = False


def get_ident(gr=None):
    """The identifier of the green thread that calls, or of the greenlet given."""
    try:
        current = getcurrent()
    except RuntimeError:
        # The interpreter ends; finalizers still take locks.
        return _native_ident()
    if gr is None:
        gr = current
    elif gr is not current:
        return id(gr)
    return _native_ident() if gr.parent is None else id(gr)


def os_thread_of(ident):
    """The identifier of the OS thread that runs the green thread of that identifier; one of an OS thread is its own.
    The system takes what it is given for the address of a thread's record, so it must not get anything else.

    :raises ProcessLookupError: when there is none, or none any more.
    """
    running = _running.get(ident)
    if running is not None:
        return running.os_thread
    if _is_os_thread(ident):
        return ident
    if ident == get_ident():
        return _native_ident()
    raise ProcessLookupError(errno.ESRCH, "there is no such thread here, or none any more")


def start_new_thread(function, args=(), kwargs=None):
    """Starts a green thread that calls a function, and returns its identifier. SystemExit ends it silently; what else
    it raises goes to `sys.unraisablehook`."""
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is None:
        kwargs = {}
    elif not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    return id(greenthread.spawn_n(_body, function, args, kwargs, None))


start_new = start_new_thread


def _body(function, args, kwargs, handle):
    ident = get_ident()
    _running[ident] = running = _Running()
    if handle is not None:
        handle.ident = ident
    _begin_thread()
    try:
        function(*args, **kwargs)
    except (SystemExit, GreenletExit):
        pass
    except KeyboardInterrupt:
        # A signal's, which is the main greenlet's.
        raise
    except BaseException as error:
        _report(function, error)
    finally:
        # Finalizers run in the thread whose values they are of, and may wait.
        args = kwargs = None
        _end_thread()
        _running.pop(ident, None)
        for at_end in running.at_end:
            at_end()
        if running.sentinel is not None and running.sentinel.locked():
            running.sentinel.release()
        if handle is not None:
            handle._set_done()


def _report(function, error):
    if sys.version_info >= (3, 13):
        what, function = f"Exception ignored in thread started by {function!r}", None
    else:
        what = "Exception ignored in thread started by"
    # The frame here is none of the function's.
    traceback = error.__traceback__ and error.__traceback__.tb_next
    sys.unraisablehook(_unraisable_args()((type(error), error, traceback, what, function)))


@cache
def _unraisable_args():
    """The type of what sys.unraisablehook takes, which has no name."""

    class Raising:
        def __del__(self):
            raise ValueError

    seen = []
    hook, sys.unraisablehook = sys.unraisablehook, seen.append
    try:
        Raising()
    finally:
        sys.unraisablehook = hook
    return type(seen[0])


class _Sentinel(Lock):
    """A lock for Thread.join, until Python 3.12. That takes every exception while it waits, a Timeout too, for one
    that came after it had the lock, and if the lock is locked then declares the thread, which runs, to have ended."""

    def __init__(self):
        super().__init__()
        self._interrupted = set()
        self._for_parents = None

    def acquire(self, blocking=True, timeout=-1):
        try:
            if self._for_parents is not None and _is_parents():
                if not self._for_parents.acquire(blocking, timeout):
                    return False
                self._for_parents.release()
            return super().acquire(blocking, timeout)
        except BaseException:
            self._interrupted.add(get_ident())
            raise

    def locked(self):
        ident = get_ident()
        if ident in self._interrupted:
            self._interrupted.discard(ident)
            return False
        return super().locked()


def _set_sentinel():
    """A lock that is released when the thread that calls ends."""
    sentinel = _Sentinel()
    running = _running.get(get_ident())
    if running is not None:
        running.sentinel = sentinel
    return sentinel


class _ThreadHandle:
    """How threading, from Python 3.13 on, knows a thread: by its identifier and its end."""

    def __init__(self):
        self.ident = None
        self._started = False
        self._end = self._end_for_parents = event.Event()

    def __repr__(self):
        return f"<_ThreadHandle object: ident={self.ident}>"

    def is_done(self):
        return self._end.ready()

    def _set_done(self):
        if not self._started:
            raise RuntimeError("thread not started")
        _awaited_at_exit.discard(self)
        if not self._end.ready():
            self._end.send()

    def join(self, timeout=None):
        """Waits until the thread ends, at most `timeout` seconds (None or negative: without end)."""
        if not self._started:
            raise RuntimeError("thread not started")
        if timeout is not None:
            timeout = _timeout(timeout)
        end = self._end_for_parents if _is_parents() else self._end
        if end.ready():
            return
        if self.ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        end.wait(None if timeout is None or timeout < 0 else timeout)


_awaited_at_exit = set()


def start_joinable_thread(function, handle=None, daemon=True):
    """Starts a green thread that calls a function without arguments, and returns its handle."""
    if handle is None:
        handle = _ThreadHandle()
    sys.audit("_thread.start_joinable_thread", function, daemon, handle)
    if handle._started:
        raise RuntimeError("thread already started")
    handle._started = True
    if not daemon:
        _awaited_at_exit.add(handle)
    handle.ident = id(greenthread.spawn_n(_body, function, (), {}, handle))
    return handle


def _is_parents():
    """Whether what calls was there before the process forked, or may have been: what is no thread is not told apart."""
    running = _running.get(get_ident())
    return running is None or running.is_parents


def _leave_waiters_behind(thread):
    """In the child of a fork, whose main thread is now the green `thread` that forked. threading says so early that it
    has ended: when it shuts down, as multiprocessing has it do at the end of a child's work. The parent's threads, its
    main one say, are not there for OS threads; here those that wait for it go on when it has really ended."""
    for each in _running.values():
        each.is_parents = True
    running = _running.get(get_ident())
    if running is None:
        return
    handle = getattr(thread, "_os_thread_handle", None) or getattr(thread, "_handle", None)
    if isinstance(handle, _ThreadHandle):
        if handle.ident == get_ident() and handle._end is handle._end_for_parents:
            running.at_end.append(handle._end.send)
            handle._end = event.Event()
    elif (earlier := running.sentinel) is not None and earlier is getattr(thread, "_tstate_lock", None):
        running.at_end.append(earlier.release)
        thread._tstate_lock = running.sentinel = _Sentinel()
        running.sentinel.acquire()
        running.sentinel._for_parents = earlier


def _make_thread_handle(ident):
    handle = _ThreadHandle()
    handle.ident = ident
    handle._started = True
    return handle


def _shutdown():
    """Waits for the end of threads started with daemon=False: for green ones as `thread_end` says, then for those of
    OS threads."""
    thread_end.wait_for_threads(lambda: {handle.ident: handle.join for handle in list(_awaited_at_exit)})
    _original._shutdown()


def _wait_for_sentinels(sentinels):
    """Does so for green threads, until Python 3.12."""

    def unfinished():
        running = [(ident, each.sentinel) for ident, each in list(_running.items())]
        return {ident: partial(_wait_for_sentinel, lock) for ident, lock in running if lock in sentinels}

    thread_end.wait_for_threads(unfinished)


def _wait_for_sentinel(sentinel, timeout):
    if sentinel.acquire(timeout=-1 if timeout is None else timeout):
        sentinel.release()


_usual_stack_size = None


def stack_size(size=0, /):
    """As _thread.stack_size, for OS threads and for green threads. These have never less than they would have without:
    where it is more, all that begin from then on have it, until it is set to something else."""
    global _usual_stack_size
    former = _original.stack_size(size)
    if _usual_stack_size is not None or size > _green_stack_size():
        _usual_stack_size = _usual_stack_size or _green_stack_size()
        _set_stack_size(max(size, _usual_stack_size))
    return former


def _current_frames():
    """As sys._current_frames, with the frames of the green threads that were started here."""
    frames = _native_frames()
    current, main = getcurrent(), _main_of_os_thread()
    if current is not main:
        frames[_native_ident()] = main.gr_frame
        if get_ident() in _running and _is_parents():
            # The main one is not there for threading any more.
            del frames[_native_ident()]
    for ident, running in list(_running.items()):
        greenlet = running.greenlet()
        # After a fork, those that the parent had are no threads any more.
        if greenlet is not None and greenlet is not current and not running.is_parents:
            # One that runs in another OS thread has the frame of that.
            frame = greenlet.gr_frame or frames.get(running.os_thread)
            if frame is not None:
                frames[ident] = frame
    frames[get_ident()] = sys._getframe(1)
    return frames


def _main_of_os_thread():
    greenlet = getcurrent()
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet


def _count():
    return len(_running)


def _forget_other_os_threads(ident):
    """After a fork: forgets the green threads of OS threads that are no more, and holds up the end of the program for
    none. The OS thread that forked is the main one then."""
    global _main_os_thread
    _main_os_thread = ident
    for key in [key for key, running in _running.items() if running.os_thread != ident]:
        del _running[key]
    _awaited_at_exit.clear()


def allocate_lock():
    """A new lock, which green threads wait for without blocking the others of their OS thread."""
    return Lock()


allocate = allocate_lock


def exit():
    """Ends the thread that calls: by SystemExit one that was started here, by GreenletExit a greenlet of another
    kind."""
    raise SystemExit if get_ident() in _running else GreenletExit


exit_thread = exit


def interrupt_main(signum=signal.SIGINT):
    """Simulates a signal. In a green thread of the main OS thread its handler is called at once; what that raises, it
    raises in the main greenlet, which goes on first then."""
    current, main = getcurrent(), _main_of_os_thread()
    handler = signal.getsignal(signum)
    if current is main or current.parent is main or not callable(handler) or not _is_main_os_thread():
        _original.interrupt_main(signum)
        return
    try:
        handler(signum, main.gr_frame)
    except BaseException as error:
        greenthread.kill(main, error)


def _is_main_os_thread():
    return _native_ident() == _main_os_thread


def set_name(name):
    """Names the OS thread. A green thread's name is not its OS thread's."""
    if getcurrent().parent is None:
        _original.set_name(name)


functions.stand_for_those_of_c(_original, globals(), __patched__)
