"""The green socket.

Its hot operations are native (``greenloom._native.GreenSocket``): they make the system call themselves and wait only if
that would block. The ``_slow_`` methods here do the same in Python for what is rare: sockets in non-blocking mode, and
wrapped objects that are not a plain ``socket.socket``, such as connections of pyOpenSSL.
"""

import errno
import os
import socket
import warnings

from greenloom import _native

from eventlet import patcher
from eventlet.greenio import whole
from eventlet.greenio.attempt import (  # noqa: F401, some are for others only, as in stock eventlet
    CONNECT_ERR,
    CONNECT_SUCCESS,
    Patience,
    connect_in_steps,
    socket_accept,
    socket_checkerr,
    socket_connect,
)
from eventlet.hubs import IOClosed, notify_opened
from eventlet.support import get_errno, names
from eventlet.support._fairness import SYSTEM_CALL

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

#: Errors after which an operation waits. A socket that is not connected yet is expected to block.
SOCKET_BLOCKING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOTCONN}

#: Errors that reading takes for the end of the connection.
SOCKET_CLOSED = {errno.ECONNRESET, errno.ESHUTDOWN, errno.EPIPE}

#: The exception of operations whose time is up.
socket_timeout = socket.timeout

_GLOBAL_DEFAULT_TIMEOUT = getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT", None) or object()

_original_socket = patcher.original("socket").socket
#: The class of the module that is patched, or will be.
_plain_socket = socket.socket


def set_nonblocking(fd):
    """Makes a socket, or another object with ``fileno()``, non-blocking for the operating system."""
    if hasattr(fd, "setblocking"):
        fd.setblocking(False)
    else:
        os.set_blocking(fd.fileno(), False)


def _asks_for_nothing(wanted):
    """Whether a number of bytes is zero, a buffer without room, or a list of buffers empty."""
    if isinstance(wanted, list) or hasattr(wanted, "__index__"):
        return not wanted
    # What a buffer is worth as a truth value is its own affair.
    with memoryview(wanted) as view:
        return not view.nbytes


class GreenSocket(_native.GreenSocket):
    """A socket like ``socket.socket``, whose operations suspend the green thread where those would block the OS thread.

    It wraps a ``socket.socket``; attributes that it does not have itself are those of the wrapped one. It is no
    ``socket.socket`` itself. Accepted sockets have the default timeout, not the listener's. One green thread may read
    and one may write at a time. Closing it wakes those with an OSError (EBADF).

    The descriptor is blocking without a timeout and non-blocking with one, as CPython has it, so that others may share
    it. ``fd`` is the wrapped socket, which is made non-blocking when it is first asked for; a listener is in its first
    ``accept``.

    :param family: as for ``socket.socket``; or an object to wrap, which waits even if it is non-blocking
    :param set_nonblocking: False leaves the descriptor of a wrapped object as it is
    """

    def __init__(self, family=-1, *args, **kwargs):
        should_set_nonblocking = kwargs.pop("set_nonblocking", True)
        if isinstance(family, int) or not hasattr(family, "fileno"):
            _native._spend(SYSTEM_CALL)
            wrapped = _original_socket(family, *args, **kwargs)
            notify_opened(wrapped.fileno())
            timeout = wrapped.gettimeout()
            # Made so by its type, or by the default timeout.
            self.act_non_blocking = timeout == 0.0
        else:
            wrapped = family
            timeout = (wrapped.gettimeout() if hasattr(wrapped, "gettimeout") else None) or socket.getdefaulttimeout()
        self._timeout = timeout
        self.fd = wrapped
        if not self._is_plain:
            if should_set_nonblocking and wrapped.fileno() != -1:
                set_nonblocking(wrapped)
            return
        self._lends = should_set_nonblocking
        if timeout is not None and should_set_nonblocking:
            self._follow_timeout()
            if wrapped.gettimeout():
                # Its own operations must not wait.
                wrapped.setblocking(False)

    def __getattr__(self, name):
        # Not in the native type: only with this does the interpreter look up methods there without making objects.
        wrapped = self._wrapped
        if wrapped is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(wrapped, name)

    @property
    def _sock(self):
        return self

    @property
    def _io_refs(self):
        return self._wrapped._io_refs

    @_io_refs.setter
    def _io_refs(self, value):
        self._wrapped._io_refs = value

    def _decref_socketios(self):
        if self._closed and self._io_refs <= 1:
            self._forget()
        self._wrapped._decref_socketios()

    # Timeouts

    def settimeout(self, howlong):
        """Sets how many seconds an operation waits at most; None for no limit, 0 for not at all."""
        if howlong is None or howlong == _GLOBAL_DEFAULT_TIMEOUT:
            self.setblocking(True)
            return
        howlong = _native._timeout(howlong)
        if howlong < 0.0:
            raise ValueError("Timeout value out of range")
        self._set_timeout(howlong)

    def setblocking(self, flag):
        """``settimeout(None)`` or ``settimeout(0)``."""
        self._set_timeout(None if flag else 0.0)

    def _set_timeout(self, seconds):
        self.act_non_blocking = seconds == 0.0
        self._timeout = seconds
        self._follow_timeout()

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
        self.fileno()  # notes that there are two who may set its flags
        wrapped = self._wrapped.dup(*args, **kw)
        notify_opened(wrapped.fileno())
        new = type(self)(wrapped, set_nonblocking=False)
        new._lends = self._is_plain
        new.settimeout(self.gettimeout())
        return new

    def makefile(self, *args, **kwargs):
        """As ``socket.makefile``. The connection is closed when the socket and all its files are."""
        return _plain_socket.makefile(self, *args, **kwargs)

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

    __repr__ = _original_socket.__repr__

    # Names in addresses are looked up in green

    def bind(self, address):
        """As ``socket.bind``."""
        return self._wrapped.bind(names.numeric(self, address))

    def connect(self, address):
        """As ``socket.connect``; waits until it is connected."""
        return super().connect(names.numeric(self, address))

    def connect_ex(self, address):
        """As ``socket.connect_ex``; waits until it is connected."""
        return super().connect_ex(names.numeric(self, address))

    # Operations that are not hot

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        """As ``socket.recvfrom_into``; waits for a message."""
        patience = self._patience(write=False)
        got, address = self._recv_loop(
            self._wrapped.recvfrom_into, (0, None), buffer, nbytes, flags, patience=patience
        )
        with memoryview(buffer) as view, view.cast("B") as room:
            return whole.receive_rest(self, got, [room[: nbytes or None]], flags, patience), address

    def recvmsg(self, bufsize, ancbufsize=0, flags=0, /):
        """As ``socket.recvmsg``; waits for a message."""
        patience = self._patience(write=False)
        data, control, told, address = self._recv_loop(
            self._wrapped.recvmsg, (b"", [], 0, None), bufsize, ancbufsize, flags, patience=patience, tells_reset=True
        )
        return whole.with_rest(self, data, bufsize, flags, patience, control), control, told, address

    def recvmsg_into(self, buffers, ancbufsize=0, flags=0, /):
        """As ``socket.recvmsg_into``; waits for a message."""
        buffers, patience = list(buffers), self._patience(write=False)
        receive, nothing = self._wrapped.recvmsg_into, (0, [], 0, None)
        got, control, told, address = self._recv_loop(
            receive, nothing, buffers, ancbufsize, flags, patience=patience, tells_reset=True
        )
        return whole.receive_rest(self, got, buffers, flags, patience, control), control, told, address

    def sendto(self, data, *args):
        """As ``socket.sendto``; waits for room."""
        if len(args) not in (1, 2):
            return self._wrapped.sendto(data, *args)
        flags, address = (0, *args) if len(args) == 1 else args
        address = names.numeric(self, address)
        patience = self._patience(write=True)
        sent = self._send_loop(lambda data, flags: self._wrapped.sendto(data, flags, address), data, flags, patience)
        return whole.send_rest(self, sent, [data], flags, patience)

    def sendmsg(self, buffers, ancdata=(), flags=0, address=None, /):
        """As ``socket.sendmsg``; waits for room."""
        if address is not None:
            address = names.numeric(self, address)

        def sendmsg(buffers, flags):
            return self._wrapped.sendmsg(buffers, ancdata, flags, address)

        ancdata, buffers, patience = list(ancdata), list(buffers), self._patience(write=True)
        sent = self._send_loop(sendmsg, buffers, flags, patience)
        return whole.send_rest(self, sent, buffers, flags, patience)

    # They wait with what the patched module has. Reading the file blocks.
    _check_sendfile_params = _plain_socket._check_sendfile_params
    _sendfile_use_send = _plain_socket._sendfile_use_send
    _sendfile_use_sendfile = _plain_socket._sendfile_use_sendfile
    if hasattr(_plain_socket, "_sendfile_zerocopy"):  # from Python 3.15 on
        _sendfile_zerocopy = _plain_socket._sendfile_zerocopy

    def sendfile(self, file, offset=0, count=None):
        """Sends a file from *offset* on, *count* bytes of it or all; returns how many. Reading the file blocks."""
        return self._sendfile_use_send(file, offset, count)

    def _accept(self):
        """``accept()`` for who makes a socket of the descriptor."""
        client, address = self.accept()
        return client.detach(), address

    def _read_trampoline(self, patience=None):
        self._trampoline(self._wrapped, read=True, **(patience or self._patience(write=False)).of_a_wait())

    def _write_trampoline(self, patience=None):
        self._trampoline(self._wrapped, write=True, **(patience or self._patience(write=True)).of_a_wait())

    def _patience(self, write):
        return Patience(lambda: self._limit(write), self._timeout)

    def _recv_loop(self, recv_meth, empty_val, *args, patience=None, tells_reset=False):
        *args, flags = args
        patience = patience or self._patience(write=False)
        if not self._waits(flags):
            _native._spend(SYSTEM_CALL)
            return recv_meth(*args, flags)
        flags = self._without_waiting(flags)
        was_unconnected = False
        try:
            # The system reads nothing at once. With a timeout, a read of nothing waits until there is something, as on
            # stock.
            if self._timeout is not None and _asks_for_nothing(args[0]):
                self._read_trampoline(patience)
            while True:
                _native._spend(SYSTEM_CALL)
                try:
                    return recv_meth(*args, flags)
                except OSError as error:
                    code = get_errno(error)
                    # A reset is the end to those methods that stock has, and an error to the others.
                    if code in SOCKET_CLOSED and not tells_reset:
                        return empty_val
                    # It might be connected meanwhile, unless it listens; if it is not, nothing would ever tell.
                    if code not in SOCKET_BLOCKING or code == errno.ENOTCONN and (was_unconnected or self._listens()):
                        raise
                    was_unconnected = code == errno.ENOTCONN
                    if not was_unconnected and self._must_not_wait():
                        raise
                    # Of datagrams, that is told to calls that wait, which this one is not.
                    if self._wrapped.type == socket.SOCK_DGRAM and _native._is_shut_down(self._wrapped.fileno()):
                        return empty_val
                self._read_trampoline(patience)
        except IOClosed:
            raise EOFError() from None

    def _listens(self):
        return self._is_plain and self._wrapped.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0

    def _send_loop(self, send_method, data, flags=0, patience=None):
        if not self._waits(flags):
            _native._spend(SYSTEM_CALL)
            return send_method(data, flags)
        flags = self._without_waiting(flags)
        patience = patience or self._patience(write=True)
        # At the end of its limit the system tries once more; of others it was told when there is room.
        tries_at_end = self._is_plain and self._wrapped.family == socket.AF_UNIX
        while True:
            _native._spend(SYSTEM_CALL)
            try:
                return send_method(data, flags)
            except OSError as error:
                code = get_errno(error)
                if code == errno.ENOTCONN or code not in SOCKET_BLOCKING or self._must_not_wait():
                    raise
            try:
                self._write_trampoline(patience)
            except BlockingIOError as error:
                if not tries_at_end or not patience.is_over(error):
                    raise
                tries_at_end = False
            except IOClosed:
                raise OSError(errno.ECONNRESET, "Connection closed by another thread") from None

    def _waits(self, flags):
        return not (self.act_non_blocking or flags & whole.DOES_NOT_WAIT)

    def _without_waiting(self, flags):
        return flags | socket.MSG_DONTWAIT if self._is_plain else flags

    # The native operations call these in cases that they do not know.

    def _slow_recv(self, bufsize, flags=0):
        return self._recv_loop(self._wrapped.recv, b"", bufsize, flags)

    def _slow_recv_into(self, buffer, nbytes=0, flags=0):
        return self._recv_loop(self._wrapped.recv_into, 0, buffer, nbytes, flags)

    def _slow_recvfrom(self, bufsize, flags=0):
        patience = self._patience(write=False)
        data, address = self._recv_loop(self._wrapped.recvfrom, (b"", None), bufsize, flags, patience=patience)
        return whole.with_rest(self, data, bufsize, flags, patience), address

    def _slow_send(self, data, flags=0):
        return self._send_loop(self._wrapped.send, data, flags)

    def _slow_sendall(self, data, flags=0):
        if self.act_non_blocking and not self._overrides_send():
            return self._wrapped.sendall(data, flags)
        with memoryview(data) as view, view.cast("B") as rest:
            sent = self.send(rest, flags)
            while sent < len(rest):
                sent += self.send(rest[sent:], flags)

    def _overrides_send(self):
        return "send" in self.__dict__ or type(self).send is not GreenSocket.send

    def _slow_accept(self):
        _native._spend(SYSTEM_CALL)
        while True:
            accepted = self._wrapped.accept() if self.act_non_blocking else socket_accept(self._wrapped)
            if accepted is not None:
                break
            self._read_trampoline()
        client, address = accepted
        notify_opened(client.fileno())
        if not self._is_plain:
            set_nonblocking(client)
        green = type(self)(client)
        if self._is_plain and client.gettimeout() == 0.0 == socket.getdefaulttimeout():
            green.settimeout(0.0)
        return green, address

    def _connect_in_steps(self, address):
        return connect_in_steps(
            lambda: self._connect_now(address),
            lambda left: self._trampoline(
                self._wrapped, write=True, timeout=left, timeout_exc=socket_timeout("timed out")
            ),
            self.gettimeout(),
        )

    def _slow_connect(self, address):
        _native._spend(SYSTEM_CALL)
        if self.act_non_blocking:
            return self._wrapped.connect(address)
        try:
            code = self._connect_in_steps(address)
        except IOClosed:
            raise OSError(errno.EBADFD, os.strerror(errno.EBADFD)) from None
        if code:
            raise OSError(code, os.strerror(code))

    def _slow_connect_ex(self, address):
        _native._spend(SYSTEM_CALL)
        if self.act_non_blocking:
            return self._wrapped.connect_ex(address)
        try:
            return self._connect_in_steps(address)
        except IOClosed:
            return errno.EBADFD
        except socket_timeout:
            return errno.EAGAIN


def _tell_native():
    classes = (GreenSocket, socket.getdefaulttimeout)
    try:
        with _original_socket(socket.AF_INET, socket.SOCK_STREAM) as sample:
            sample.settimeout(5)
            _native._set_socket_classes(socket.socket, _original_socket, sample, *classes)
    except OSError:
        # The system lets this program have none.
        _native._set_socket_classes(socket.socket, _original_socket, None, *classes)


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
    """Shuts both directions of a socket down, whichever kind it is of; one that is closed or not connected is left
    alone."""
    try:
        try:
            return sock.shutdown(socket.SHUT_RDWR)
        except TypeError:
            # A connection of pyOpenSSL.
            return sock.shutdown()
    except OSError as error:
        if get_errno(error) not in (errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK):
            raise
