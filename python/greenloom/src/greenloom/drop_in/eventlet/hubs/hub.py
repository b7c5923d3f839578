"""The base of all hubs: the native loop, and the listeners for file descriptors.

A subclass says how to wait for file descriptors: it overrides :meth:`BaseHub.wait`. One that must know of each listener
overrides :meth:`BaseHub.add` and :meth:`BaseHub.remove`; those of eventlet override what these call, ``_watch``.
"""

import errno
import signal
import sys
import traceback

from greenlet import getcurrent, greenlet
from greenloom import _native

from eventlet import hubs
from eventlet.hubs import timer

READ = "read"
WRITE = "write"

#: Whether a second listener for the same direction of a file descriptor is an error.
g_prevent_multiple_readers = True


def closed_callback(fileno):
    """The callback of a listener whose file descriptor was closed: does nothing."""


class FdListener:
    """A waiter on a file descriptor.

    :param evtype: READ or WRITE
    :param cb: called with *fileno* when it is ready
    :param tb: called with an exception when the file was closed
    :param mark_as_closed: called without arguments when the file was closed, or None
    """

    def __init__(self, evtype, fileno, cb, tb, mark_as_closed):
        assert evtype in (READ, WRITE)
        self.evtype = evtype
        self.fileno = fileno
        self.cb = cb
        self.tb = tb
        self.mark_as_closed = mark_as_closed
        self.spent = False
        #: Only wants to know: anybody else may listen beside.
        self.shares = False
        self.greenlet = getcurrent()

    def __repr__(self):
        return f"{type(self).__name__}({self.evtype!r}, {self.fileno!r}, {self.cb!r}, {self.tb!r})"

    __str__ = __repr__

    def defang(self):
        """Makes it harmless: its file is closed."""
        self.cb = closed_callback
        if self.mark_as_closed is not None:
            self.mark_as_closed()
        self.spent = True


class DebugListener(FdListener):
    """A listener that knows where it was made."""

    def __init__(self, evtype, fileno, cb, tb, mark_as_closed):
        self.where_called = traceback.format_stack()
        super().__init__(evtype, fileno, cb, tb, mark_as_closed)

    def __repr__(self):
        return f"{super().__repr__()} of {self.greenlet!r}, made at\n{''.join(self.where_called)}"

    __str__ = __repr__


noop = FdListener(READ, 0, closed_callback, closed_callback, None)


def alarm_handler(signum, frame):
    """Raises in code that keeps the hub from running."""
    where = "native code" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
    raise RuntimeError(f"Blocking detector ALARMED at {where}")


class BaseHub(_native.Hub):
    """The loop of a thread's green threads. Not to be used by itself: it cannot wait for file descriptors."""

    SYSTEM_EXCEPTIONS = (KeyboardInterrupt, SystemExit)

    READ = READ
    WRITE = WRITE

    def __init__(self, clock=None):
        super().__init__(clock)
        self.listeners = {READ: {}, WRITE: {}}
        self.secondaries = {READ: {}, WRITE: {}}
        self.closed = []
        self.lclass = FdListener
        self.debug_exceptions = True
        self.debug_blocking_resolution = 1
        self._old_signal_handler = None

    # Listeners

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        """Adds a listener.

        :param evtype: READ or WRITE
        :param cb: called with *fileno* in the hub's greenlet, each time the file descriptor is ready
        :param tb: called with an :class:`~eventlet.hubs.IOClosed` if the file is closed
        :param mark_as_closed: called without arguments in that case, or None
        :raises ValueError: if *fileno* is negative
        :raises RuntimeError: if there is one already, unless ``debug.hub_prevent_multiple_readers(False)`` allows it
        """
        return self._add(self._listener(evtype, fileno, cb, tb, mark_as_closed))

    def watch(self, evtype, fileno, cb, tb):
        """As :meth:`add`, for who only wants to know when a file is ready, as ``select`` does: it never is the
        second."""
        if type(self).add is not BaseHub.add:
            # A hub that must know of each listener.
            return self.add(evtype, fileno, cb, tb, None)
        listener = self._listener(evtype, fileno, cb, tb, None)
        listener.shares = True
        return self._add(listener)

    def _listener(self, evtype, fileno, cb, tb, mark_as_closed):
        if fileno < 0:
            raise ValueError(f"file descriptor cannot be a negative integer ({fileno})")
        return self.lclass(evtype, fileno, cb, tb, mark_as_closed)

    def _add(self, listener):
        evtype, fileno = listener.evtype, listener.fileno
        first = self.listeners[evtype].setdefault(fileno, listener)
        if first is listener:
            try:
                self._watch(evtype, fileno)
            except BaseException:
                del self.listeners[evtype][fileno]
                raise
            return listener
        others = self.secondaries[evtype].setdefault(fileno, [])
        if g_prevent_multiple_readers and not (listener.shares or all(one.shares for one in (first, *others))):
            first = next(one for one in (first, *others) if not one.shares)
            raise RuntimeError(
                f"Second simultaneous {evtype} on fileno {fileno} detected: {first.greenlet!r} waits to {evtype} there "
                f"already, and now {listener.greenlet!r} wants to. Let one green thread {evtype} a file at a time, "
                f"with a lock or a pools.Pool; eventlet.debug.hub_prevent_multiple_readers(False) turns this check "
                "off."
            )
        others.append(listener)
        return listener

    def remove(self, listener):
        """Removes a listener. One whose file was closed is gone already."""
        if listener.spent:
            return
        primary, secondary = self.listeners[listener.evtype], self.secondaries[listener.evtype]
        fileno = listener.fileno
        others = secondary.get(fileno, [])
        if primary.get(fileno) is listener:
            if others:
                primary[fileno] = others.pop(0)
            else:
                del primary[fileno]
        elif listener in others:
            others.remove(listener)
        if not others:
            secondary.pop(fileno, None)
        self._watch(listener.evtype, fileno)

    def remove_descriptor(self, fileno):
        """Removes all listeners of a file descriptor, and tells them once more. They may listen again."""
        found = [bucket.pop(fileno) for bucket in self.listeners.values() if fileno in bucket]
        for secondary in self.secondaries.values():
            found.extend(secondary.pop(fileno, ()))
        for evtype in (READ, WRITE):
            self._watch(evtype, fileno)
        for listener in found:
            try:
                listener.cb(fileno)
            except Exception:
                self.squelch_generic_exception(sys.exc_info())

    def _watch(self, evtype, fileno):
        """A file descriptor has its first listener in a direction, or has lost one: for hubs that must know."""

    def _obsolete(self, fileno):
        """Takes the listeners of a closed file out; they are told in the next turn. Returns whether there were any.

        ``notify_close`` and ``mark_as_reopened`` of the native base call it.
        """
        found = list(self.secondaries[READ].pop(fileno, ())) + list(self.secondaries[WRITE].pop(fileno, ()))
        for bucket in self.listeners.values():
            listener = bucket.get(fileno)
            if listener is not None:
                found.append(listener)
                self.remove(listener)
        for listener in found:
            listener.defang()
        if found:
            self.closed.extend(found)
            self._note_closed()
        return bool(found)

    def close_one(self):
        """Tells the last of the listeners in ``closed``."""
        listener = self.closed.pop()
        if not listener.greenlet.dead:
            listener.tb(hubs.IOClosed(errno.ENOTCONN, "Operation on closed file"))

    def _close_next(self):
        """Called by the loop: tells one. Returns whether there may be more."""
        if self.closed:
            self.close_one()
        return bool(self.closed)

    def _rouse(self, fileno):
        """For what no event tells: tells those who listen to a file descriptor, in the next turn, if they still do."""
        waiting = [bucket[fileno] for bucket in self.listeners.values() if fileno in bucket]
        if waiting:
            self.schedule_call_global(0, self._tell_if_still_there, waiting, fileno)

    def _tell_if_still_there(self, waiting, fileno):
        for listener in waiting:
            if self.listeners[listener.evtype].get(fileno) is listener:
                self._tell(listener, fileno)

    def _tell(self, listener, fileno):
        """For hubs that wait in Python: calls a listener. Its error is printed, and its file descriptor dropped."""
        blocking = self.debug_blocking
        if blocking:
            self.block_detect_pre()
        try:
            listener.cb(fileno)
        except self.SYSTEM_EXCEPTIONS:
            raise
        except BaseException:
            self.squelch_exception(fileno, sys.exc_info())
        finally:
            if blocking:
                self.block_detect_post()

    def get_readers(self):
        """The listeners that wait to read."""
        return self.listeners[READ].values()

    def get_writers(self):
        """The listeners that wait to write."""
        return self.listeners[WRITE].values()

    # Timers and the loop

    def run(self, *args, **kwargs):
        """The loop, until :meth:`abort` is called: what the hub's greenlet runs. Arguments are ignored.

        Its frame lies below all that the loop calls, so that signal handlers and debuggers find one while the hub
        waits.
        """
        self._run()

    def schedule_call_local(self, seconds, cb, *args, **kwargs):
        """As ``schedule_call_global``, but nothing is called if the current greenlet has ended by then."""
        local = timer.LocalTimer(seconds, cb, *args, **kwargs)
        self.add_timer(local)
        return local

    def abort(self, wait=False):
        """Ends the loop after this turn; timers and what is ready are dropped.

        :param wait: switch to the loop now and return when it has ended; in the main greenlet only
        """
        if self.running:
            self.stopping = True
        if wait:
            assert self.greenlet is not getcurrent(), "Can't abort with wait from inside the hub's greenlet."
            # So that the loop does not sleep first.
            self.schedule_call_global(0, lambda: None)
            self.switch()

    # Errors

    def squelch_exception(self, fileno, exc_info):
        """A listener's callback raised: prints that, and drops the file descriptor."""
        traceback.print_exception(*exc_info)
        sys.stderr.write(f"Removing descriptor: {fileno!r}\n")
        sys.stderr.flush()
        try:
            self.remove_descriptor(fileno)
        except Exception as error:
            sys.stderr.write(f"Exception while removing descriptor! {error!r}\n")
            sys.stderr.flush()

    def squelch_generic_exception(self, exc_info):
        """Prints an exception that has nobody to go to, unless that is turned off."""
        if self.debug_exceptions:
            traceback.print_exception(*exc_info)
            sys.stderr.flush()

    def squelch_timer_exception(self, timer, exc_info):
        """A timer's function or a green thread raised: prints that, unless it is turned off."""
        self.squelch_generic_exception(exc_info)

    # Debugging

    def block_detect_pre(self):
        """Sets the alarm that finds code which keeps the loop waiting."""
        former = signal.signal(signal.SIGALRM, alarm_handler)
        if former is not alarm_handler:
            self._old_signal_handler = former
        signal.setitimer(signal.ITIMER_REAL, self.debug_blocking_resolution)

    def block_detect_post(self):
        """Takes the alarm back."""
        if self._old_signal_handler is not None:
            signal.signal(signal.SIGALRM, self._old_signal_handler)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def set_debug_listeners(self, value):
        """Whether listeners remember where they were made."""
        self.lclass = DebugListener if value else FdListener

    def set_timer_exceptions(self, value):
        """Whether exceptions that have nobody to go to are printed."""
        self.debug_exceptions = value


_native._set_base_hub(BaseHub)
