"""Attempts to connect and to accept, on sockets that do not wait."""

import errno
import os
import socket

from eventlet import greenthread
from eventlet.support import get_errno
from eventlet.support.clock import monotonic

#: What ``connect_ex`` returns while it goes on, and when it has succeeded.
CONNECT_ERR = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
CONNECT_SUCCESS = {0, errno.EISCONN}

#: How long to sleep between attempts to connect to a Unix socket whose queue is full, in seconds: nothing tells of room
#: in it.
_QUEUE_FULL_SLEEP = 0.005


def socket_connect(descriptor, address):
    """Tries to connect. Returns the socket if that is done, None if it goes on; raises OSError."""
    code = descriptor.connect_ex(address)
    if code in CONNECT_ERR:
        return None
    _raise_unless_connected(code)
    return descriptor


def socket_checkerr(descriptor):
    """Raises the error that a connection attempt ended with, if it did."""
    _raise_unless_connected(descriptor.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _raise_unless_connected(code):
    if code not in CONNECT_SUCCESS:
        raise OSError(code, os.strerror(code))


def socket_accept(descriptor):
    """Tries to accept. Returns the pair of a socket and an address, or None if nobody has connected."""
    try:
        return descriptor.accept()
    except OSError as error:
        if get_errno(error) != errno.EWOULDBLOCK:
            raise
    return None


class Patience:
    """How long one call waits in all, in however many parts: it begins with the first wait.

    :param limit: a function that tells how many seconds the program has told the system, None for no limit
    :param timeout: the program's own seconds, which come first, or None
    """

    def __init__(self, limit, timeout=None):
        self._limit, self._timeout = limit, timeout
        self._end = self._error = None

    def left(self):
        """How many seconds are left; None for no limit."""
        if self._error is None:
            seconds = self._limit() if self._timeout is None else self._timeout
            if seconds is None:
                return None
            self._end = monotonic() + seconds
            # What the socket says when its time is up, and the system.
            self._error = socket.timeout("timed out")
            if self._timeout is None:
                self._error = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return max(self._end - monotonic(), 0.0)

    def of_a_wait(self):
        """The arguments of `trampoline` for a wait."""
        left = self.left()
        return {} if left is None else {"timeout": left, "timeout_exc": self._error}

    def is_over(self, error):
        """Whether this error, which ended a wait, is its own: that the time is up."""
        return error is self._error


def connect_in_steps(connect_ex, wait, timeout):
    """Connects a non-blocking socket. Returns 0 or an error number.

    :param connect_ex: tries, and returns an error number; asked again, it tells how an attempt in the background ended
    :param wait: waits until the socket can be written, for the given number of seconds or None; raises socket.timeout
    :param timeout: how many seconds all may take, or None
    :raises socket.timeout: when the time is up
    """
    end = None if timeout is None else monotonic() + timeout
    has_begun = False
    while True:
        code = connect_ex()
        if code == 0 or has_begun and code in CONNECT_SUCCESS:
            return 0
        if code not in CONNECT_ERR:
            return code
        left = None if end is None else end - monotonic()
        if left is not None and left <= 0:
            raise socket.timeout("timed out")
        if code == errno.EAGAIN:
            greenthread.sleep(_QUEUE_FULL_SLEEP if left is None else min(left, _QUEUE_FULL_SLEEP))
            continue
        has_begun = True
        wait(left)
