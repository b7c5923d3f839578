"""`zmq` (pyzmq) with sockets that park: the `Context` and `Socket` of this module, all else as it is.

A ZeroMQ socket has a file descriptor that tells of its events, but only of changes, and only until somebody looks:
sending, receiving and asking for EVENTS all do. So each of those may be what another green thread waits for, and wakes
it to try.
"""

__zmq__ = __import__("zmq")

import functools
from collections import deque

from eventlet import event as _event
from eventlet import hubs
from eventlet.patcher import slurp_properties
from eventlet.support import greenlets as greenlet

__patched__ = ["Context", "Socket"]
slurp_properties(__zmq__, globals(), ignore=__patched__)

_zmq = __zmq__
# Old names.
XREQ = getattr(_zmq, "XREQ", _zmq.DEALER)
XREP = getattr(_zmq, "XREP", _zmq.ROUTER)


class LockReleaseError(Exception):
    """A lock that nobody holds was released."""


class _QueueLock:
    """A lock that its holder may take again, and that goes to the waiter that has waited longest."""

    def __init__(self):
        self._waiters = deque()
        self._holder = None
        self._count = 0

    def __bool__(self):
        return self._count > 0

    def __enter__(self):
        self.acquire()

    def __exit__(self, type, value, traceback):
        self.release()

    def acquire(self):
        current = greenlet.getcurrent()
        if self._holder is current:
            self._count += 1
            return
        if self._count:
            self._wait()
        else:
            self._count = 1
        self._holder = current

    def release(self):
        if self._count <= 0:
            raise LockReleaseError("this lock is not held")
        if self._count > 1:
            self._count -= 1
        else:
            self._pass_on()

    def _pass_on(self):
        # It stays taken, so that nobody gets ahead of the one that is woken.
        self._holder = None
        if self._waiters:
            self._waiters.popleft().send()
        else:
            self._count = 0

    def _wait(self):
        turn = _event.Event()
        self._waiters.append(turn)
        try:
            turn.wait()
        except BaseException:
            if turn.ready():
                self._pass_on()
            else:
                self._waiters.remove(turn)
            raise


class _BlockedThread:
    """A place for one green thread to wait until it is woken."""

    def __init__(self):
        self._event = None

    def __bool__(self):
        return self._event is not None

    def block(self, deadline=None):
        """Parks until `wake` is called, or until the hub's clock shows *deadline*."""
        if self._event is not None:
            raise RuntimeError("another green thread waits here already")
        hub = hubs.get_hub()
        timer = None if deadline is None else hub.schedule_call_global(deadline - hub.clock(), self.wake)
        self._event = _event.Event()
        try:
            self._event.wait()
        finally:
            self._event = None
            if timer is not None:
                timer.cancel()

    def wake(self):
        """Wakes the green thread here. Returns False if there is none, or it was woken already."""
        if self._event is None or self._event.ready():
            return False
        self._event.send()
        return True


def _flags_of(position, args, kwargs):
    return kwargs.get("flags", args[position] if len(args) > position else 0)


def _retried(name, position, direction):
    """A method of one operation: tried, and tried again whenever something has happened. Others queue behind it."""
    base = getattr(_zmq.Socket, name)

    @functools.wraps(base)
    def method(self, *args, **kwargs):
        flags = _flags_of(position, args, kwargs)
        if flags & _zmq.NOBLOCK:
            try:
                return base(self, *args, **kwargs)
            finally:
                self._wake()
        args, kwargs = args[:position], {**dict(zip(self._rest[name], args[position + 1:])), **kwargs}
        kwargs["flags"] = flags | _zmq.NOBLOCK
        return self._retry(direction, lambda: base(self, *args, **kwargs))

    return method


def _in_one_piece(name, position, lock):
    """A method that calls others of the same direction: nobody comes in between."""
    base = getattr(_zmq.Socket, name)

    @functools.wraps(base)
    def method(self, *args, **kwargs):
        if _flags_of(position, args, kwargs) & _zmq.NOBLOCK:
            return base(self, *args, **kwargs)
        with getattr(self, lock):
            return base(self, *args, **kwargs)

    return method


class Socket(_zmq.Socket):
    """A ZeroMQ socket that parks. Several green threads may use one: senders and receivers queue apart.

    The options RCVTIMEO and SNDTIMEO count; the ZMQError they end with is a timeout for `eventlet.is_timeout`.
    """

    # pyzmq takes other attributes for options of the socket.
    _eventlet_send_event = _eventlet_recv_event = None
    _eventlet_send_lock = _eventlet_recv_lock = None
    _eventlet_listener = None

    # What may follow the flags in a call.
    _rest = {"send": ("copy", "track", "routing_id", "group"), "recv": ("copy", "track"), "recv_into": ()}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._eventlet_send_event = _BlockedThread()
        self._eventlet_recv_event = _BlockedThread()
        self._eventlet_send_lock = _QueueLock()
        self._eventlet_recv_lock = _QueueLock()
        hub = hubs.get_hub()
        self._eventlet_listener = hub.add(
            hub.READ, super().getsockopt(_zmq.FD), self._on_event, lambda _: None, lambda: None
        )

    def close(self, linger=None):
        """Closes the socket; its waiters get a ZMQError."""
        listener, self._eventlet_listener = self._eventlet_listener, None
        if listener is not None:
            hubs.get_hub().remove(listener)
        super().close(linger)
        if listener is not None:
            self._wake()

    def getsockopt(self, option):
        result = super().getsockopt(option)
        if option == _zmq.EVENTS:
            if result & _zmq.POLLOUT:
                self._eventlet_send_event.wake()
            if result & _zmq.POLLIN:
                self._eventlet_recv_event.wake()
        return result

    get = getsockopt

    def poll(self, timeout=None, flags=_zmq.POLLIN):
        """As zmq.Socket.poll: parks until there is one of the events *flags*, for *timeout* milliseconds at most."""
        clock = hubs.get_hub().clock
        deadline = None if timeout is None or timeout < 0 else clock() + timeout / 1000
        direction = "send" if flags == _zmq.POLLOUT else "recv"
        with getattr(self, f"_eventlet_{direction}_lock"):
            while True:
                found = super().getsockopt(_zmq.EVENTS) & flags
                if found or deadline is not None and clock() >= deadline:
                    return found
                getattr(self, f"_eventlet_{direction}_event").block(deadline)

    send = _retried("send", 1, "send")
    recv = _retried("recv", 0, "recv")
    if hasattr(_zmq.Socket, "recv_into"):
        recv_into = _retried("recv_into", 1, "recv")

    for _name in ("multipart", "string", "pyobj", "json"):
        locals()[f"send_{_name}"] = _in_one_piece(f"send_{_name}", 1, "_eventlet_send_lock")
        locals()[f"recv_{_name}"] = _in_one_piece(f"recv_{_name}", 0, "_eventlet_recv_lock")
    del _name

    def _retry(self, direction, operation):
        if direction == "send":
            lock, option, wanted = self._eventlet_send_lock, _zmq.SNDTIMEO, _zmq.POLLOUT
            event, other = self._eventlet_send_event, self._eventlet_recv_event
        else:
            lock, option, wanted = self._eventlet_recv_lock, _zmq.RCVTIMEO, _zmq.POLLIN
            event, other = self._eventlet_recv_event, self._eventlet_send_event
        clock = hubs.get_hub().clock
        with lock:
            milliseconds = super().getsockopt(option)
            deadline = None if milliseconds < 0 else clock() + milliseconds / 1000
            while True:
                try:
                    result = operation()
                except _zmq.ZMQError as error:
                    if error.errno != _zmq.EAGAIN:
                        raise
                    if self.getsockopt(_zmq.EVENTS) & wanted:
                        continue
                    if deadline is not None and clock() >= deadline:
                        # ZeroMQ has the same error for both.
                        error.is_timeout = True
                        raise
                else:
                    if other:
                        # This may have made it ready for what the other waits for.
                        self.getsockopt(_zmq.EVENTS)
                    return result
                event.block(deadline)

    def _wake(self):
        woken = [event.wake() for event in (self._eventlet_send_event, self._eventlet_recv_event)]
        return any(woken)

    def _on_event(self, fd):
        # Called again and again until somebody looks at what has happened.
        if not self._wake():
            super().getsockopt(_zmq.EVENTS)


class Context(_zmq.Context):
    """A ZeroMQ context whose sockets park."""

    _socket_class = Socket
    # Not the one of zmq.Context, whose sockets block.
    _instance = None
