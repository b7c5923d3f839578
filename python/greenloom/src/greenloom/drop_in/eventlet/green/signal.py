"""`signal` whose waits let other green threads run, and whose mask of blocked signals is each thread's own.

The system has one mask for all green threads of an OS thread: the main greenlet and eventlet's own green threads set
that. A thread of `threading` has one that is kept here. So a signal that it blocks still reaches the others, as with OS
threads, and one that it unblocks comes. The processes that it starts have the system's mask.

Nor may such a thread set handlers, which is for the main thread; libraries find out by that which one they run in.

A handler may wait, wherever it is called: if the interpreter has come to it while the hub's loop runs, which may not,
it runs in a greenlet of its own.
"""

import functools
import signal as signal_orig
import threading

from greenloom._native import _handle_signal, _timeout

from eventlet import hubs, patcher
from eventlet.green import thread as _thread
from eventlet.green.os import _wait_until
from eventlet.support import _fairness
from eventlet.support import functions as _functions

_CALLS = ("sigpending", "sigwait", "sigwaitinfo", "sigtimedwait", "pause", "pthread_sigmask", "pthread_kill", "signal")
_CALLS += ("getsignal", "set_wakeup_fd")
__patched__ = [name for name in _CALLS if hasattr(signal_orig, name)]

patcher.slurp_properties(signal_orig, globals(), ignore=__patched__, srckeys=dir(signal_orig))

_originals = {name: getattr(signal_orig, name) for name in __patched__}
_os, _select, _threading = map(patcher.original, ("os", "select", "threading"))


if hasattr(signal_orig, "sigpending"):
    sigpending = signal_orig.sigpending


def sigtimedwait(sigset, timeout, /):
    """As signal.sigtimedwait; other green threads run meanwhile. It looks again after pauses of 10 ms at most."""
    timeout = _timeout(timeout)
    if timeout < 0:
        raise ValueError("timeout must be non-negative")
    return _wait_for(sigset, timeout)


def _wait_for(sigset, timeout):
    ask = _originals["sigtimedwait"]
    return _wait_until(lambda: ask(sigset, 0), timeout=timeout)


def sigwaitinfo(sigset, /):
    """As signal.sigwaitinfo; other green threads run meanwhile."""
    return _wait_for(sigset, float("inf"))


def sigwait(sigset, /):
    """As signal.sigwait; other green threads run meanwhile."""
    return signal_orig.Signals(sigwaitinfo(sigset).si_signo)


def pthread_sigmask(how, mask, /):
    """As signal.pthread_sigmask: changes which signals the thread that calls blocks, and returns which it blocked."""
    set_mask = _originals["pthread_sigmask"]
    running = _thread._running.get(_thread.get_ident())
    if running is None:
        return set_mask(how, mask)
    of_all = set_mask(signal_orig.SIG_BLOCK, ())
    before = after = of_all if running.blocks is None else running.blocks
    try:
        set_mask(signal_orig.SIG_SETMASK, before)
        set_mask(how, mask)
        running.blocks = after = set_mask(signal_orig.SIG_BLOCK, ())
    finally:
        set_mask(signal_orig.SIG_SETMASK, of_all - (before - after))
    return before


def pthread_kill(thread_id, signalnum, /):
    """As signal.pthread_kill: a signal for the OS thread that runs a green thread, or for an OS thread."""
    _originals["pthread_kill"](_thread.os_thread_of(thread_id), signalnum)


def signal(signalnum, handler):
    """As signal.signal.

    :raises ValueError: in a thread of threading, too, that is not the main one.
    """
    _refuse_threads("signal")
    if callable(handler) and handler is not signal_orig.default_int_handler and not _is_wrapped(handler):
        handler = functools.partial(_handle_signal, handler)
    return _unwrapped(_originals["signal"](signalnum, handler))


def getsignal(signalnum):
    """As signal.getsignal."""
    return _unwrapped(_originals["getsignal"](signalnum))


def _unwrapped(handler):
    return handler.args[0] if _is_wrapped(handler) else handler


def _is_wrapped(handler):
    return type(handler) is functools.partial and handler.func is _handle_signal


def set_wakeup_fd(fd, /, *, warn_on_full_buffer=True):
    """As signal.set_wakeup_fd.

    :raises ValueError: in a thread of threading, too, that is not the main one.
    """
    _refuse_threads("set_wakeup_fd")
    return _originals["set_wakeup_fd"](fd, warn_on_full_buffer=warn_on_full_buffer)


def _refuse_threads(name):
    ident = _thread.get_ident()
    if ident in _thread._running and threading.main_thread().ident != ident:
        raise ValueError(f"{name} only works in main thread of the main interpreter")


def pause():
    """As signal.pause: returns after a signal was handled; other green threads run meanwhile. In other OS threads than
    the main one it blocks."""
    if _threading.current_thread() is not _threading.main_thread():
        return _originals["pause"]()
    read, write = _os.pipe()
    for end in (read, write):
        _os.set_blocking(end, False)
        hubs.notify_opened(end)
    before = _originals["set_wakeup_fd"](write, warn_on_full_buffer=False)
    try:
        hubs.trampoline(read, read=True)
    finally:
        now = _originals["set_wakeup_fd"](before)
        if now != write:
            # Somebody else has set another one meanwhile.
            _originals["set_wakeup_fd"](now)
        elif before >= 0:
            _tell(before, _os.read(read, 4096) if _select.select([read], [], [], 0)[0] else b"")
        hubs.notify_close(read)
        _os.close(read)
        _os.close(write)


def _tell(fd, numbers):
    """Gives the numbers of signals to the descriptor that was to have them."""
    try:
        _os.write(fd, numbers)
    except OSError:
        # Full, or closed: as when a signal comes.
        pass


_fairness.make_fair("signal", globals())
_functions.stand_for_those_of_c(signal_orig, globals(), __patched__)
