"""`select` with select, poll and epoll that wait in the hub.

Each asks the system first. Only if nothing is ready does it wait, and then it asks the system again, so that what it
returns is complete and its conditions are the system's own. The hub watches for reading and writing, beside who else
does; for what it does not know, as priority data, it watches an epoll object that watches the files. A loop around what
is found at once keeps nobody from running for longer than 0.1 ms.
"""

import errno
import os as _os
from contextlib import contextmanager

from greenloom import _native

from eventlet import greenthread, hubs, patcher
from eventlet.support import functions, running_loops
from eventlet.support.clock import monotonic as _monotonic

_select = patcher.original("select")

__all__ = [name for name in dir(_select) if not name.startswith("_")]
__patched__ = ["select", "poll", "epoll"]

patcher.slurp_properties(_select, globals(), ignore=__patched__, srckeys=dir(_select))

_IN, _OUT, _PRI = _select.POLLIN, _select.POLLOUT, _select.POLLPRI
_ALWAYS = _select.POLLERR | _select.POLLHUP | _select.POLLNVAL


def _check(timeout, ask):
    """Lets the system's own function refuse a timeout that it would refuse, by asking it for a file that is ready."""
    if type(timeout) in (int, float) and 0 <= timeout <= 1_000_000:
        return
    read, write = _os.pipe()
    try:
        ask(write)
    finally:
        _os.close(read)
        _os.close(write)


def _ask_poll(ready, timeout):
    poller = _select.poll()
    poller.register(ready, _OUT)
    poller.poll(timeout)


def _ask_epoll(ready, timeout):
    with _select.epoll() as poller:
        poller.register(ready, _OUT)
        poller.poll(timeout)


def get_fileno(obj):
    """The file descriptor of an object with a method fileno(), or an int as it is. TypeError for anything else."""
    try:
        method = obj.fileno
    except AttributeError:
        fileno = obj
    else:
        fileno = method()
    if not isinstance(fileno, int):
        raise TypeError(f"Expected int or long, got {type(fileno)}")
    return fileno


def select(rlist, wlist, xlist, timeout=None):
    """As select.select, for file descriptors of any size. hubs.IOClosed if one is closed or reused meanwhile."""
    if timeout is not None:
        _check(timeout, lambda ready: _select.select([], [ready], [], timeout))
        timeout = float(timeout)
    # What gave its elements once, as a filter does, could not be asked again.
    lists = [[(get_fileno(each), each) for each in each_list] for each_list in (rlist, wlist, xlist)]
    masks = {}
    for wanted, files in zip((_IN, _OUT, _PRI), lists):
        for fileno, _ in files:
            masks[fileno] = masks.get(fileno, 0) | wanted
    _refuse_the_hub()
    return _wait(lambda: _select_now(masks, lists), any, masks, timeout)


def _select_now(masks, lists):
    # By poll, because the system's select knows no file descriptor from 1024 on.
    poller = _select.poll()
    for fileno, mask in masks.items():
        poller.register(fileno, mask)
    found = dict(poller.poll(0))
    if any(mask & _select.POLLNVAL for mask in found.values()):
        raise OSError(errno.EBADF, _os.strerror(errno.EBADF))
    meanings = (_IN | _select.POLLHUP | _select.POLLERR, _OUT | _select.POLLERR, _PRI)
    return tuple(
        [each for fileno, each in files if found.get(fileno, 0) & meaning] for meaning, files in zip(meanings, lists)
    )


def poll():
    """As select.poll(). One green thread at a time may wait on it."""
    self = object.__new__(_Poll)
    self._poll = _select.poll()
    self._masks = {}
    self._waits = False
    return self


class _Poll:
    def __new__(cls):
        raise TypeError("cannot create 'select.poll' instances")

    def register(self, fd, eventmask=_IN | _PRI | _OUT):
        self._poll.register(fd, eventmask)
        self._masks[get_fileno(fd)] = eventmask

    def modify(self, fd, eventmask):
        self._poll.modify(fd, eventmask)
        self._masks[get_fileno(fd)] = eventmask

    def unregister(self, fd):
        self._poll.unregister(fd)
        del self._masks[get_fileno(fd)]

    def poll(self, timeout=None):
        """As poll.poll: `timeout` in milliseconds, without end if it is None or negative. A change meanwhile has no
        effect."""
        if timeout is not None:
            _check(timeout, lambda ready: _ask_poll(ready, timeout))
            timeout = float(timeout)
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        _refuse_the_hub()
        if self._waits:
            raise RuntimeError("concurrent poll() invocation")
        self._waits = True
        try:
            return _wait(lambda: self._poll.poll(0), bool, dict(self._masks), seconds)
        except hubs.IOClosed:
            return self._poll.poll(0)
        finally:
            self._waits = False


_Poll.__module__, _Poll.__name__, _Poll.__qualname__ = "select", "poll", "poll"


class epoll:
    """As select.epoll(). It is a real epoll object; only waiting for it to have events is the hub's work."""

    def __init__(self, sizehint=-1, flags=0):
        self._own(_select.epoll(sizehint, flags))

    @classmethod
    def fromfd(cls, fd):
        self = cls.__new__(cls)
        self._own(_select.epoll.fromfd(fd))
        return self

    def _own(self, real):
        self._epoll = real
        self._hub_knows = False
        self.fileno, self.register = real.fileno, real.register
        self.modify, self.unregister = real.modify, real.unregister

    @property
    def closed(self):
        """Whether close() was called."""
        return self._epoll.closed

    def close(self):
        """Closes the file descriptor; a green thread that waits on it gets hubs.IOClosed."""
        if self._hub_knows and not self.closed:
            hubs.notify_close(self.fileno())
        self._epoll.close()

    def poll(self, timeout=None, maxevents=-1):
        """As epoll.poll: `timeout` in seconds, without end if it is None or negative."""
        if timeout is not None:
            _check(timeout, lambda ready: _ask_epoll(ready, timeout))
            timeout = float(timeout)
            if timeout < 0:
                timeout = None
        _refuse_the_hub()
        if not self._hub_knows:
            hubs.notify_opened(self.fileno())
            self._hub_knows = True
        return _wait(lambda: self._epoll.poll(0, maxevents), bool, {self.fileno(): _IN}, timeout)

    def __enter__(self):
        if self.closed:
            raise ValueError("I/O operation on closed epoll object")
        return self

    def __exit__(self, *exc_info):
        self.close()


def _refuse_the_hub():
    if hubs.get_hub().greenlet is greenthread.getcurrent():
        raise RuntimeError("do not call blocking functions from the mainloop")


def _wait(ask, found, masks, timeout):
    """Returns what `ask` returns, once `found` is true of it or `timeout` seconds have passed (None: without end).

    `masks` has the poll events to wait for, by file descriptor.
    """
    running_loops.follow()
    if timeout == 0:
        _native._spend_look()
        # Before others run, who may open a file of a number that is closed.
        ready = ask()
        if not found(ready):
            # A program that asks again and again waits for something that others have to do.
            greenthread.sleep(0)
        return ready
    deadline = None if timeout is None else _monotonic() + timeout
    while True:
        _native._spend_look()
        ready = ask()
        if found(ready):
            return ready
        remaining = None if deadline is None else deadline - _monotonic()
        if remaining is not None and remaining <= 0:
            return ready
        _park(masks, remaining)


def _park(masks, timeout):
    """Switches to the hub until one of the files is ready, or `timeout` seconds have passed; it may end early."""
    hub = hubs.get_hub()
    wake = greenthread.getcurrent().switch
    with _watched(hub, masks, wake):
        timer = None if timeout is None else hub.schedule_call_global(timeout, wake)
        try:
            _native._switch(hub, None, True)
        finally:
            if timer is not None:
                timer.cancel()


@contextmanager
def _watched(hub, masks, wake):
    throw = greenthread.getcurrent().throw
    listeners = []
    nested = None

    def listen(kind, fileno):
        listeners.append(hub.watch(kind, fileno, lambda *_: wake(), throw))

    try:
        beside = {}
        for fileno, mask in masks.items():
            try:
                if mask & _IN:
                    listen(hub.READ, fileno)
                if mask & _OUT:
                    listen(hub.WRITE, fileno)
                if mask & ~(_IN | _OUT | _ALWAYS) or not mask & (_IN | _OUT):
                    beside[fileno] = mask & ~(_IN | _OUT)
            except RuntimeError:
                # A hub that allows no second listener; an epoll object of our own does not mind.
                beside[fileno] = mask
        if beside:
            nested = _epoll_of(beside)
            listen(hub.READ, nested.fileno())
        yield
    finally:
        for listener in listeners:
            hub.remove(listener)
        if nested is not None:
            nested.close()


def _epoll_of(masks):
    watcher = _select.epoll()
    hubs.notify_opened(watcher.fileno())
    for fileno, mask in masks.items():
        try:
            watcher.register(fileno, mask)
        except PermissionError:
            pass  # a regular file, which has no events to wait for
    return watcher


functions.stand_for_those_of_c(_select, globals(), __patched__)
