"""The ``ssl`` module, green.

The sockets are non-blocking for the operating system, always; an operation that OpenSSL cannot finish is tried again
when the descriptor is ready. The contexts make such sockets, and are otherwise those of the standard library.
"""

__ssl = __import__("ssl")

import errno
import os
import types
from socket import SO_TYPE, SOCK_STREAM, SOL_SOCKET

from greenloom._native import Descriptor

from eventlet import greenio
from eventlet.greenio.attempt import connect_in_steps
from eventlet.hubs import notify_opened
from eventlet.patcher import slurp_properties
from eventlet.support import names
from eventlet.support.clock import monotonic

slurp_properties(__ssl, globals(), srckeys=dir(__ssl))

__patched__ = [
    "SSLSocket",
    "SSLContext",
    "wrap_socket",
    "sslwrap_simple",
]

_original_sslsocket = __ssl.SSLSocket
_original_sslcontext = __ssl.SSLContext
#: The class under ``SSLSocket``: the unpatched ``socket.socket``.
_plain_socket = _original_sslsocket.__bases__[0]


class GreenSSLSocket(_original_sslsocket):
    """An ``ssl.SSLSocket`` whose operations suspend the green thread.

    It takes over the descriptor of the socket it is made of. An operation takes the timeout at most, whatever it waits
    for. One green thread may read and one may write at a time; closing it wakes those with an OSError. An accepted
    socket makes its handshake in the first operation, so that a peer that does not answer keeps nobody from accepting.
    """

    def __new__(
        cls,
        sock=None,
        keyfile=None,
        certfile=None,
        server_side=False,
        cert_reqs=CERT_NONE,  # noqa: F821
        ssl_version=PROTOCOL_TLS,  # noqa: F821
        ca_certs=None,
        do_handshake_on_connect=True,
        suppress_ragged_eofs=True,
        ciphers=None,
        server_hostname=None,
        session=None,
        _context=None,
    ):
        if _context is None:
            _context = _make_context(keyfile, certfile, server_side, cert_reqs, ssl_version, ca_certs, ciphers)
        self = cls._create(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, server_hostname, _context, session
        )
        self.keyfile = keyfile
        self.certfile = certfile
        self.cert_reqs = cert_reqs
        self.ssl_version = ssl_version
        self.ca_certs = ca_certs
        return self

    def __init__(self, *args, **kwargs):
        # All is done in __new__: the constructor of the standard library refuses to be called.
        pass

    @classmethod
    def _create(
        cls,
        sock,
        server_side=False,
        do_handshake_on_connect=True,
        suppress_ragged_eofs=True,
        server_hostname=None,
        context=None,
        session=None,
    ):
        """Makes a TLS socket of a connected, listening or unconnected one. ``SSLContext.wrap_socket`` calls it."""
        if sock.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        if server_side and server_hostname:
            raise ValueError("server_hostname can only be specified in client mode")
        if server_side and session is not None:
            raise ValueError("session can only be specified in client mode")
        if context.check_hostname and not server_hostname and not server_side:
            raise ValueError("check_hostname requires server_hostname")

        self = _plain_socket.__new__(cls)
        self._timeout = sock.gettimeout()
        self.act_non_blocking = getattr(sock, "act_non_blocking", self._timeout == 0.0)
        _plain_socket.__init__(self, family=sock.family, type=sock.type, proto=sock.proto, fileno=sock.fileno())
        _plain_socket.settimeout(self, 0.0)
        sock.detach()
        self._waiter = None
        self._context = context
        self._session = session
        self._sslobj = None
        self.server_side = server_side
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        try:
            self.server_hostname = context._encode_hostname(server_hostname)
            self._connected = self._has_peer()
            if self._connected:
                self._start_tls()
        except BaseException:
            self.close()
            raise
        return self

    def _has_peer(self):
        try:
            self.getpeername()
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EINVAL):
                raise
            code = error.errno
        # A peer that has gone may have left text in the buffer, which must not be taken for something that TLS has
        # protected.
        try:
            early = _plain_socket.recv(self, 1)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EINVAL):
                raise
            return False
        if early:
            error = SSLError(code, "Closed before TLS handshake with data in recv buffer.")  # noqa: F821
            error.reason, error.library = error.args[1], None
            raise error
        return False

    def _start_tls(self):
        self._make_tls()
        if self.do_handshake_on_connect:
            self.do_handshake()

    def _make_tls(self):
        self._sslobj = self._context._wrap_socket(
            self, self.server_side, self.server_hostname, owner=self, session=self._session
        )

    # Waiting

    def settimeout(self, timeout):
        """Sets how many seconds an operation takes at most; None for no limit, 0 for non-blocking mode."""
        self._timeout = timeout
        self.act_non_blocking = timeout == 0.0

    def gettimeout(self):
        """The timeout in seconds, or None."""
        return self._timeout

    @property
    def timeout(self):
        """The timeout in seconds, or None."""
        return self._timeout

    def setblocking(self, flag):
        """``settimeout(None)`` or ``settimeout(0)``."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self):
        """Whether operations wait."""
        return not self.act_non_blocking

    def _wait(self, write, timeout):
        if self._waiter is None:
            self._waiter = Descriptor(self.fileno())
        if write:
            self._waiter.wait_write(timeout)
        else:
            self._waiter.wait_read(timeout)

    def _call_trampolining(self, func, *a, write=False, **kw):
        """Calls a function of the standard library's until it does not say that it would block. One timeout is for all
        of its waits: a peer that sends byte by byte would make it wait for ever.

        What has begun in TLS goes on in it: `shutdown` takes the TLS object from the socket, not from who waits.
        """
        end, tls = None, self._sslobj
        while True:
            present, self._sslobj = self._sslobj, tls
            try:
                return func(*a, **kw)
            except SSLWantReadError:  # noqa: F821
                if self.act_non_blocking:
                    raise
                waits_to_write = False
            except SSLWantWriteError:  # noqa: F821
                if self.act_non_blocking:
                    raise
                waits_to_write = True
            except BlockingIOError:
                if self.act_non_blocking:
                    raise
                waits_to_write = write
            finally:
                if self._sslobj is tls:
                    self._sslobj = present
            if self._timeout is None:
                self._wait(waits_to_write, None)
                continue
            now = monotonic()
            end = end or now + self._timeout
            self._wait(waits_to_write, max(end - now, 0.0))

    def _read_plain(self, func, at_end, *a):
        def read(*a):
            try:
                return func(*a)
            except OSError as error:
                if self.act_non_blocking or error.errno not in greenio.SOCKET_CLOSED:
                    raise
                return at_end

        return self._call_trampolining(read, *a)

    # Operations

    def do_handshake(self, block=False):
        """Makes the handshake; waits for the peer."""
        if self.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._call_trampolining(super().do_handshake)

    def read(self, len=1024, buffer=None):
        """Reads up to *len* bytes and returns them, or into a buffer and returns how many; none at the end."""
        return self._call_trampolining(super().read, len, buffer)

    def write(self, data):
        """Writes some of the data; returns how many bytes."""
        return self._call_trampolining(super().write, data)

    def recv(self, buflen=1024, flags=0):
        """As ``ssl.SSLSocket.recv``."""
        if self._sslobj is not None and flags == 0:
            return self.read(buflen)
        return self._read_plain(super().recv, b"", buflen, flags)

    def recv_into(self, buffer, nbytes=None, flags=0):
        """As ``ssl.SSLSocket.recv_into``."""
        return self._read_plain(super().recv_into, 0, buffer, nbytes, flags)

    def recvfrom(self, buflen=1024, flags=0):
        """As ``ssl.SSLSocket.recvfrom``: only before TLS has begun."""
        return self._read_plain(super().recvfrom, (b"", None), buflen, flags)

    def recvfrom_into(self, buffer, nbytes=None, flags=0):
        """As ``ssl.SSLSocket.recvfrom_into``: only before TLS has begun."""
        return self._read_plain(super().recvfrom_into, (0, None), buffer, nbytes or 0, flags)

    def send(self, data, flags=0):
        """As ``ssl.SSLSocket.send``."""
        return self._call_trampolining(super().send, data, flags, write=True)

    def sendto(self, data, flags_or_addr, addr=None):
        """As ``ssl.SSLSocket.sendto``: only before TLS has begun."""
        if addr is None:
            flags_or_addr = names.numeric(self, flags_or_addr)
        else:
            addr = names.numeric(self, addr)
        return self._call_trampolining(super().sendto, data, flags_or_addr, addr, write=True)

    def bind(self, addr):
        """As ``socket.bind``."""
        super().bind(names.numeric(self, addr))

    def sendall(self, data, flags=0):
        """As ``ssl.SSLSocket.sendall``."""
        if self._sslobj is not None:
            return super().sendall(data, flags)
        with memoryview(data) as view, view.cast("B") as rest:
            sent = 0
            while sent < len(rest):
                sent += self.send(rest[sent:], flags)

    def unwrap(self):
        """Ends TLS, and returns a green socket for what comes after it on the same connection."""
        return greenio.GreenSocket(self._call_trampolining(super().unwrap))

    def verify_client_post_handshake(self):
        """As ``ssl.SSLSocket.verify_client_post_handshake``."""
        return self._call_trampolining(super().verify_client_post_handshake)

    def connect(self, addr):
        """Connects, and then makes the handshake."""
        code = self._connect(addr)
        if code:
            raise OSError(code, os.strerror(code))

    def connect_ex(self, addr):
        """As :meth:`connect`, but returns the number of an error of the connection; 0 for success."""
        return self._connect(addr)

    def _connect(self, addr):
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        addr = names.numeric(self, addr)
        # In non-blocking mode the handshake is up to the caller, once the connection is there.
        self._make_tls()
        try:
            code = self._connect_plainly(addr)
            if not code:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except BaseException:
            self._sslobj = None
            raise
        if code not in (0, errno.EINPROGRESS):
            self._sslobj = None
        return code

    def _connect_plainly(self, addr):
        if self.act_non_blocking:
            return _plain_socket.connect_ex(self, addr)
        return connect_in_steps(
            lambda: _plain_socket.connect_ex(self, addr), lambda left: self._wait(True, left), self._timeout
        )

    def accept(self):
        """Waits for a connection; returns a TLS socket, which has not made its handshake, and the peer's address."""
        fd, addr = self._call_trampolining(super()._accept)
        notify_opened(fd)
        client = _plain_socket(self.family, self.type, self.proto, fileno=fd)
        new = type(self)(
            greenio.GreenSocket(client),
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=self.suppress_ragged_eofs,
            _context=self._context,
        )
        return new, addr

    def dup(self):
        """Not possible: two sockets cannot share the state of TLS."""
        raise NotImplementedError("Can't dup an ssl object")

    def _forget(self):
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.close()

    def detach(self):
        """Gives the descriptor away, open; returns it. It is blocking if the socket has no timeout."""
        self._forget()
        fd = super().detach()
        if fd >= 0 and self._timeout is None:
            os.set_blocking(fd, True)
        return fd

    def _real_close(self):
        self._forget()
        super()._real_close()


def _make_context(keyfile, certfile, server_side, cert_reqs, ssl_version, ca_certs, ciphers):
    if server_side and not certfile:
        raise ValueError("certfile must be specified for server-side operations")
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    if ssl_version == PROTOCOL_TLS:  # noqa: F821
        ssl_version = PROTOCOL_TLS_SERVER if server_side else PROTOCOL_TLS_CLIENT  # noqa: F821
    context = _original_sslcontext(ssl_version)
    context.check_hostname = False
    context.verify_mode = cert_reqs
    if certfile:
        context.load_cert_chain(certfile=certfile, keyfile=keyfile)
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def _independent_properties(original):
    """The properties of a class, which find it although its name in its module will mean another class.

    The setters of ``SSLContext`` are written ``super(SSLContext, SSLContext)``: once the module's SSLContext is a
    subclass, that is the class itself, and they would call themselves.
    """
    properties = {}
    for name, value in vars(original).items():
        if isinstance(value, property) and value.fset is not None:
            fset = value.fset
            own_globals = {**fset.__globals__, original.__name__: original}
            setter = types.FunctionType(fset.__code__, own_globals, fset.__name__, fset.__defaults__, fset.__closure__)
            properties[name] = property(value.fget, setter, value.fdel, value.__doc__)
    return properties


class GreenSSLContext(_original_sslcontext):
    """An ``ssl.SSLContext`` whose sockets are green."""

    __slots__ = ()

    sslsocket_class = GreenSSLSocket
    locals().update(_independent_properties(_original_sslcontext))


SSLSocket = GreenSSLSocket
SSLContext = GreenSSLContext


def _patch_in_place(module):
    """Called when the module of the standard library is patched: contexts of its original class make green sockets,
    too."""
    for name, value in _independent_properties(_original_sslcontext).items():
        setattr(_original_sslcontext, name, value)
    _original_sslcontext.sslsocket_class = GreenSSLSocket


def wrap_socket(sock, *a, **kw):
    """Makes a TLS socket of a socket, as ``ssl.wrap_socket`` did.

    :param keyfile, certfile: files with the own key and certificate
    :param server_side: be the server
    :param cert_reqs: whether the peer needs a certificate that *ca_certs* confirm; the host's name is not checked
    :param do_handshake_on_connect: make the handshake now, or when connected
    """
    return GreenSSLSocket(sock, *a, **kw)


def create_default_context(*a, **kw):
    """As ``ssl.create_default_context``; the context's sockets are green."""
    context = _original_create_default_context(*a, **kw)
    context.__class__ = GreenSSLContext
    return context


_original_create_default_context = __ssl.create_default_context
_create_default_https_context = green_create_default_context = create_default_context
