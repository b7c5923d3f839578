"""
The green socket.

Its hot operations are native (``greenloom._native.GreenSocket``): they make the system call themselves and wait only if that would
block. The ``_slow_`` methods here do the same in Python for what is rare: sockets in non-blocking mode, and wrapped objects that are
not a plain ``socket.socket``, such as connections of pyOpenSSL.
"""

import errno
import os
import socket
import time
import warnings

from greenloom import _native

from eventlet import greenthread, patcher
from eventlet.hubs import IOClosed, notify_opened
from eventlet.support import get_errno, names

__all__ = [
    "GreenSocket",
    "_GLOBAL_DEFAULT_TIMEOUT",
    "set_nonblocking",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "shutdown_safe",
    "socket_timeout",
]

BUFFER_SIZE = 4096

#: What ``connect_ex`` returns while it goes on, and when it has succeeded.
CONNECT_ERR = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
CONNECT_SUCCESS = {0, errno.EISCONN}

#: Errors after which an operation waits. A socket that is not connected yet is expected to block.
SOCKET_BLOCKING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOTCONN}

#: Errors that reading takes for the end of the connection.
SOCKET_CLOSED = {errno.ECONNRESET, errno.ESHUTDOWN, errno.EPIPE}

#: The exception of operations whose time is up.
socket_timeout = socket.timeout

_GLOBAL_DEFAULT_TIMEOUT = getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT", None) or object()

_original_socket = patcher.original("socket").socket

#: How long to sleep between attempts to connect to a Unix socket whose queue is full, in seconds: nothing tells of room in it.
_QUEUE_FULL_SLEEP = 0.005


def set_nonblocking(fd):
    """Makes a socket, or another object with ``fileno()``, non-blocking for the operating system."""
    if hasattr(fd, "setblocking"):
        fd.setblocking(False)
    else:
        os.set_blocking(fd.fileno(), False)


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


def connect_in_steps(connect_ex, wait, timeout):
    """
    Connects a non-blocking socket. Returns 0 or an error number.

    :param connect_ex: tries, and returns an error number; asked again, it tells how an attempt in the background ended
    :param wait: waits until the socket can be written, for the given number of seconds or None; raises socket.timeout
    :param timeout: how many seconds all may take, or None
    :raises socket.timeout: when the time is up
    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        code = connect_ex()
        if code in CONNECT_SUCCESS:
            return 0
        if code not in CONNECT_ERR:
            return code
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            raise socket_timeout("timed out")
        if code == errno.EAGAIN:
            greenthread.sleep(_QUEUE_FULL_SLEEP if left is None else min(left, _QUEUE_FULL_SLEEP))
            continue
        wait(left)


def _asks_for_nothing(wanted):
    """Whether a number of bytes is zero, a buffer without room, or a list of buffers empty."""
    if isinstance(wanted, list) or hasattr(wanted, "__index__"):
        return not wanted
    # What a buffer is worth as a truth value is its own affair.
    with memoryview(wanted) as view:
        return not view.nbytes


class GreenSocket(_native.GreenSocket):
    """
    A socket like ``socket.socket``, whose operations suspend the green thread where those would block the OS thread.

    It wraps a ``socket.socket``, which is ``fd`` and always non-blocking; attributes that it does not have itself are those of
    the wrapped one. It is no ``socket.socket`` itself. Accepted sockets have the default timeout, not the listener's. One green
    thread may read and one may write at a time. Closing it wakes those with an OSError (EBADF).

    :param family: as for ``socket.socket``; or an object to wrap
    :param set_nonblocking: False says that the wrapped object is non-blocking already, and saves a system call
    """

    def __init__(self, family=-1, *args, **kwargs):
        should_set_nonblocking = kwargs.pop("set_nonblocking", True)
        if isinstance(family, int):
            fd = _original_socket(family, *args, **kwargs)
            notify_opened(fd.fileno())
        else:
            fd = family
        timeout = fd.gettimeout() if hasattr(fd, "gettimeout") else None
        self._timeout = timeout or socket.getdefaulttimeout()
        if should_set_nonblocking and fd.fileno() != -1:
            set_nonblocking(fd)
        self.fd = fd

    @property
    def _sock(self):
        return self

    @property
    def _io_refs(self):
        return self.fd._io_refs

    @_io_refs.setter
    def _io_refs(self, value):
        self.fd._io_refs = value

    def _decref_socketios(self):
        if self.fd._closed and self._io_refs <= 1:
            self._forget()
        self.fd._decref_socketios()

    # Timeouts

    def settimeout(self, howlong):
        """Sets how many seconds an operation waits at most; None for no limit, 0 for not at all."""
        if howlong is None or howlong == _GLOBAL_DEFAULT_TIMEOUT:
            self.setblocking(True)
            return
        if not hasattr(howlong, "__float__"):
            raise TypeError("a float is required")
        howlong = float(howlong)
        if howlong < 0.0:
            raise ValueError("Timeout value out of range")
        self.act_non_blocking = howlong == 0.0
        self._timeout = howlong

    def setblocking(self, flag):
        """``settimeout(None)`` or ``settimeout(0)``."""
        self.act_non_blocking = not flag
        self._timeout = None if flag else 0.0

    def getblocking(self):
        """Whether operations wait."""
        return not self.act_non_blocking

    @property
    def timeout(self):
        """The timeout in seconds, or None."""
        return self.gettimeout()

    # More sockets and files

    def dup(self, *args, **kw):
        """A new green socket for the same connection, with a descriptor of its own."""
        fd = self.fd.dup(*args, **kw)
        notify_opened(fd.fileno())
        new = type(self)(fd, set_nonblocking=False)
        new.settimeout(self.gettimeout())
        return new

    def makefile(self, *args, **kwargs):
        """As ``socket.makefile``. The connection is closed when the socket and all its files are."""
        return _original_socket.makefile(self, *args, **kwargs)

    def makeGreenFile(self, *args, **kw):
        """The old name of :meth:`makefile`."""
        warnings.warn(
            "makeGreenFile has been deprecated, please use makefile instead", DeprecationWarning, stacklevel=2
        )
        return self.makefile(*args, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    # Names in addresses are looked up in green

    def bind(self, address):
        """As ``socket.bind``."""
        return self.fd.bind(names.numeric(self, address))

    def connect(self, address):
        """As ``socket.connect``; waits until it is connected."""
        return super().connect(names.numeric(self, address))

    def connect_ex(self, address):
        """As ``socket.connect_ex``; waits until it is connected."""
        return super().connect_ex(names.numeric(self, address))

    # Operations that are not hot

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        """As ``socket.recvfrom_into``; waits for a message."""
        return self._recv_loop(self.fd.recvfrom_into, (0, None), buffer, nbytes, flags)

    def recvmsg(self, bufsize, ancbufsize=0, flags=0):
        """As ``socket.recvmsg``; waits for a message."""
        return self._recv_loop(self.fd.recvmsg, (b"", [], 0, None), bufsize, ancbufsize, flags)

    def recvmsg_into(self, buffers, ancbufsize=0, flags=0):
        """As ``socket.recvmsg_into``; waits for a message."""
        return self._recv_loop(self.fd.recvmsg_into, (0, [], 0, None), list(buffers), ancbufsize, flags)

    def sendto(self, data, *args):
        """As ``socket.sendto``; waits for room."""
        if args:
            args = (*args[:-1], names.numeric(self, args[-1]))
        return self._send_loop(self.fd.sendto, data, *args)

    def sendmsg(self, buffers, *args):
        """As ``socket.sendmsg``; waits for room."""
        if len(args) > 2:
            args = (*args[:2], names.numeric(self, args[2]))
        return self._send_loop(self.fd.sendmsg, list(buffers), *args)

    def sendfile(self, file, offset=0, count=None):
        """Sends a file from *offset* on, *count* bytes of it or all; returns how many. Reading the file blocks."""
        return _original_socket._sendfile_use_send(self, file, offset, count)

    def _read_trampoline(self):
        self._trampoline(self.fd, read=True, timeout=self.gettimeout(), timeout_exc=socket_timeout("timed out"))

    def _write_trampoline(self):
        self._trampoline(self.fd, write=True, timeout=self.gettimeout(), timeout_exc=socket_timeout("timed out"))

    def _recv_loop(self, recv_meth, empty_val, *args):
        if self.act_non_blocking:
            return recv_meth(*args)
        was_unconnected = False
        try:
            # The system reads nothing at once, but who reads nothing waits until there is something.
            if _asks_for_nothing(args[0]):
                self._read_trampoline()
            while True:
                try:
                    return recv_meth(*args)
                except OSError as error:
                    code = get_errno(error)
                    if code in SOCKET_CLOSED:
                        return empty_val
                    # It might be connected meanwhile; if it is not, nothing would ever tell.
                    if code not in SOCKET_BLOCKING or code == errno.ENOTCONN and was_unconnected:
                        raise
                    was_unconnected = code == errno.ENOTCONN
                self._read_trampoline()
        except IOClosed:
            raise EOFError() from None

    def _send_loop(self, send_method, data, *args):
        if self.act_non_blocking:
            return send_method(data, *args)
        while True:
            try:
                return send_method(data, *args)
            except OSError as error:
                code = get_errno(error)
                if code == errno.ENOTCONN or code not in SOCKET_BLOCKING:
                    raise
            try:
                self._write_trampoline()
            except IOClosed:
                raise OSError(errno.ECONNRESET, "Connection closed by another thread") from None

    # The native operations call these in cases that they do not know.

    def _slow_recv(self, bufsize, flags=0):
        return self._recv_loop(self.fd.recv, b"", bufsize, flags)

    def _slow_recv_into(self, buffer, nbytes=0, flags=0):
        return self._recv_loop(self.fd.recv_into, 0, buffer, nbytes, flags)

    def _slow_recvfrom(self, bufsize, flags=0):
        return self._recv_loop(self.fd.recvfrom, (b"", None), bufsize, flags)

    def _slow_send(self, data, flags=0):
        return self._send_loop(self.fd.send, data, flags)

    def _slow_sendall(self, data, flags=0):
        if self.act_non_blocking and not self._overrides_send():
            return self.fd.sendall(data, flags)
        with memoryview(data) as view, view.cast("B") as rest:
            sent = self.send(rest, flags)
            while sent < len(rest):
                sent += self.send(rest[sent:], flags)

    def _overrides_send(self):
        return "send" in self.__dict__ or type(self).send is not GreenSocket.send

    def _slow_accept(self):
        while True:
            accepted = self.fd.accept() if self.act_non_blocking else socket_accept(self.fd)
            if accepted is not None:
                break
            self._read_trampoline()
        client, address = accepted
        notify_opened(client.fileno())
        if self.act_non_blocking:
            return client, address
        set_nonblocking(client)
        return type(self)(client), address

    def _connect_in_steps(self, address):
        return connect_in_steps(
            lambda: self.fd.connect_ex(address),
            lambda left: self._trampoline(self.fd, write=True, timeout=left, timeout_exc=socket_timeout("timed out")),
            self.gettimeout(),
        )

    def _slow_connect(self, address):
        if self.act_non_blocking:
            return self.fd.connect(address)
        try:
            _raise_unless_connected(self._connect_in_steps(address))
        except IOClosed:
            raise OSError(errno.EBADFD, os.strerror(errno.EBADFD)) from None

    def _slow_connect_ex(self, address):
        if self.act_non_blocking:
            return self.fd.connect_ex(address)
        try:
            return self._connect_in_steps(address)
        except IOClosed:
            return errno.EBADFD
        except socket_timeout:
            return errno.EAGAIN


def _tell_native():
    with _original_socket(socket.AF_INET, socket.SOCK_STREAM) as sample:
        _native._set_socket_classes(socket.socket, _original_socket, sample, GreenSocket, socket.getdefaulttimeout)


_tell_native()


class _NoSSL:
    """The exceptions of pyOpenSSL, which is not installed, for ``except`` clauses."""

    class WantWriteError(Exception):
        pass

    class WantReadError(Exception):
        pass

    class ZeroReturnError(Exception):
        pass

    class SysCallError(Exception):
        pass


def __getattr__(name):
    # pyOpenSSL takes as much time and memory to import as all the rest, and hardly a program that has it here uses it.
    if name != "SSL":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from OpenSSL import SSL
    except ImportError:
        SSL = _NoSSL
    globals()["SSL"] = SSL
    return SSL


def shutdown_safe(sock):
    """Shuts both directions of a socket down, whichever kind it is of; one that is closed or not connected is left alone."""
    try:
        try:
            return sock.shutdown(socket.SHUT_RDWR)
        except TypeError:
            # A connection of pyOpenSSL.
            return sock.shutdown()
    except OSError as error:
        if get_errno(error) not in (errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK):
            raise
