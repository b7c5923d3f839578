"""Sockets to a broker, plain and with TLS. What waits here waits as the module ``socket`` says, patched or not."""

import errno
import os
import re
import socket
import ssl
from ssl import SSLError
from struct import pack, unpack

from greenloom._native import GreenSocket as _GreenSocket

from .exceptions import UnexpectedFrame
from .platform import KNOWN_TCP_OPTS, SOL_TCP
from .utils import set_cloexec

#: After these a socket is as good as before.
_UNAVAIL = {errno.EAGAIN, errno.EINTR, errno.ENOENT, errno.EWOULDBLOCK}

AMQP_PORT = 5672
EMPTY_BUFFER = b""
SIGNED_INT_MAX = 0x7FFFFFFF
AMQP_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

IPV6_LITERAL = re.compile(r"\[([.0-9a-f:]+)\](?::(\d+))?")

DEFAULT_SOCKET_SETTINGS = {
    "TCP_NODELAY": 1,
    "TCP_USER_TIMEOUT": 1000,
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 9,
}


def to_host_port(host, default=AMQP_PORT):
    """Host and port of ``host``, ``host:port`` or ``[address]:port``."""
    literal = IPV6_LITERAL.match(host)
    if literal:
        return literal[1], int(literal[2] or default)
    if ":" in host:
        host, port = host.rsplit(":", 1)
        return host, int(port)
    return host, default


class _Timeout:
    """A socket's timeout, set for a while; whatever says that time is up then is ``socket.timeout``."""

    __slots__ = ("_sock", "_timeout", "_former")

    def __init__(self, sock, timeout):
        self._sock, self._timeout = sock, timeout

    def __enter__(self):
        sock = self._sock
        if self._timeout is not None:
            self._former = sock.gettimeout()
            if self._former != self._timeout:
                sock.settimeout(self._timeout)
        return sock

    def __exit__(self, kind, exc, traceback):
        if self._timeout is None:
            return
        try:
            if isinstance(exc, SSLError):
                # A socket with TLS has words for it, and a socket that does not block has others.
                if "timed out" in str(exc) or "The operation did not complete" in str(exc):
                    raise socket.timeout
            elif isinstance(exc, OSError) and exc.errno == errno.EWOULDBLOCK:
                raise socket.timeout
        finally:
            if self._former != self._timeout:
                self._sock.settimeout(self._former)


class _AbstractTransport:
    """A connection to *host*, ``name:port``.

    *connect_timeout* is in seconds, as are *read_timeout* and *write_timeout*, which become the socket's SO_RCVTIMEO
    and SO_SNDTIMEO. *socket_settings* has TCP's options by their numbers. With *raise_on_initial_eintr* a read that is
    interrupted before anything came raises ``socket.timeout``; without, it goes on.
    """

    __slots__ = (
        "connection",
        "sock",
        "raise_on_initial_eintr",
        "_read_buffer",
        "_reading",
        "host",
        "port",
        "connect_timeout",
        "read_timeout",
        "write_timeout",
        "socket_settings",
        "__dict__",
        "__weakref__",
    )

    def __init__(
        self,
        host,
        connect_timeout=None,
        read_timeout=None,
        write_timeout=None,
        socket_settings=None,
        raise_on_initial_eintr=True,
        **kwargs,
    ):
        self.connected = False
        self.sock = None
        self.raise_on_initial_eintr = raise_on_initial_eintr
        self._read_buffer = EMPTY_BUFFER
        self._reading = False
        self.host, self.port = to_host_port(host)
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.write_timeout = write_timeout
        self.socket_settings = socket_settings

    def __repr__(self):
        if not self.sock:
            return f"<{type(self).__name__}: (disconnected) at {id(self):#x}>"
        own = "{}:{}".format(*self.sock.getsockname()[:2])
        try:
            peer = "{}:{}".format(*self.sock.getpeername()[:2])
        except OSError as error:
            peer = f"ERROR: {error}"
        return f"<{type(self).__name__}: {own} -> {peer} at {id(self):#x}>"

    def connect(self):
        """Connects, unless it is connected, and sends what a client sends first."""
        if self.connected:
            return
        try:
            self._connect(self.host, self.port, self.connect_timeout)
            self._init_socket(self.socket_settings, self.read_timeout, self.write_timeout)
            self.connected = True
        except OSError:
            if self.sock and not self.connected:
                self.sock.close()
                self.sock = None
            raise

    def having_timeout(self, timeout):
        """For the body of a ``with``: the socket, with that timeout in seconds, or as it is for None."""
        return _Timeout(self.sock, timeout)

    def _connect(self, host, port, timeout):
        entries = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, SOL_TCP)
        for left, (family, kind, proto, _name, address) in zip(range(len(entries) - 1, -1, -1), entries):
            try:
                self.sock = socket.socket(family, kind, proto)
                try:
                    set_cloexec(self.sock, True)
                except NotImplementedError:
                    pass
                self.sock.settimeout(timeout)
                self.sock.connect(address)
                return
            except OSError:
                if self.sock:
                    self.sock.close()
                self.sock = None
                if not left:
                    raise

    def _init_socket(self, socket_settings, read_timeout, write_timeout):
        sock = self.sock
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._set_socket_options(socket_settings)
        for option, seconds in ((socket.SO_SNDTIMEO, write_timeout), (socket.SO_RCVTIMEO, read_timeout)):
            if seconds is not None:
                whole = int(seconds)
                sock.setsockopt(socket.SOL_SOCKET, option, pack("ll", whole, int((seconds - whole) * 1000000)))
        self._setup_transport()
        self._write(AMQP_PROTOCOL_HEADER)

    def _get_tcp_socket_defaults(self, sock):
        options = {}
        for name in KNOWN_TCP_OPTS:
            number = getattr(socket, name, None)
            if number is None:
                continue
            default = DEFAULT_SOCKET_SETTINGS.get(name)
            options[number] = sock.getsockopt(SOL_TCP, number) if default is None else default
        return options

    def _set_socket_options(self, socket_settings):
        options = self._get_tcp_socket_defaults(self.sock)
        if socket_settings:
            options.update(socket_settings)
        for option, value in options.items():
            self.sock.setsockopt(SOL_TCP, option, value)

    def _read(self, n, initial=False):
        """Reads so many bytes."""
        raise NotImplementedError("a transport must define it")

    def _setup_transport(self):
        """Runs when the socket is connected, before anything is sent."""

    def _shutdown_transport(self):
        """Runs before the socket is closed."""

    def _write(self, s):
        """Writes all of it."""
        raise NotImplementedError("a transport must define it")

    def close(self):
        """Closes the socket. What was written before still arrives."""
        if self.sock is not None:
            for step in (self._shutdown_transport, self._shutdown, self._close):
                try:
                    step()
                except OSError:
                    pass
            self.sock = None
        self.connected = False

    def _shutdown(self):
        self.sock.shutdown(socket.SHUT_RDWR)

    def _close(self):
        self.sock.close()

    def read_frame(self):
        """The next frame: its kind, its channel, its payload. A read that times out can be done again."""
        taken = EMPTY_BUFFER
        try:
            taken += self._read(7, True)
            kind, channel, size = unpack(">BHI", taken)
            payload = self._read(min(size, SIGNED_INT_MAX))
            taken += payload
            if size > SIGNED_INT_MAX:
                more = self._read(size - SIGNED_INT_MAX)
                payload += more
                taken += more
            end = ord(self._read(1))
        except OSError as error:
            if isinstance(self._failed(error), socket.timeout):
                self._read_buffer = taken + self._read_buffer
                raise socket.timeout from None
            raise
        if end != 0xCE:
            raise UnexpectedFrame(f"Received frame_end {end:#04x} while expecting 0xce")
        return kind, channel, payload

    def _failed(self, error):
        """What an error of a read means: the same, or that time is up."""
        if isinstance(error, socket.timeout):
            return error
        would_block = os.name == "nt" and error.errno == errno.EWOULDBLOCK
        if would_block or isinstance(error, SSLError) and "timed out" in str(error):
            return socket.timeout()
        if error.errno not in _UNAVAIL:
            self.connected = False
        return error

    #: How much is read when it was waited for.
    _CHUNK = 64 * 1024

    def fill(self, stream, timeout):
        """Reads what there is, at most once, into a stream; waits for it no longer than *timeout* says."""
        data = self._receive(timeout)
        if data is not None:
            stream.feed(data)

    def _receive(self, timeout, *flags):
        """Reads what there is, at most once; None if nothing came."""
        sock = self.sock
        try:
            if timeout is None:
                data = self._quick_recv(self._CHUNK, *flags)
            elif timeout > 0 and isinstance(sock, _GreenSocket) and sock._is_plain and not sock.act_non_blocking:
                # Its reads say by a flag of their own that they do not wait: the descriptor's flag can stay as it is.
                former, sock._timeout = sock._timeout, timeout
                try:
                    data = self._quick_recv(self._CHUNK, *flags)
                finally:
                    sock._timeout = former
            else:
                with self.having_timeout(timeout):
                    data = self._quick_recv(self._CHUNK, *flags)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT) and not isinstance(error, socket.timeout):
                if self.raise_on_initial_eintr:
                    raise socket.timeout from None
                return None
            error = self._failed(error)
            raise error
        if not data:
            self._end()
        return data

    def is_idle(self, stream):
        """Whether it is known, without waiting, that nothing has come; or somebody waits who will take it."""
        return False

    def _end(self):
        self.connected = False
        raise OSError("Server unexpectedly closed connection")

    def write(self, s):
        """Writes all of it."""
        try:
            self._write(s)
        except socket.timeout:
            raise
        except OSError as error:
            if error.errno not in _UNAVAIL:
                self.connected = False
            raise


class _SocketTransport(_AbstractTransport):
    """Reads exactly as much as it is asked for."""

    __slots__ = ()

    #: Errors after which a read is tried again.
    _AGAIN = (errno.EAGAIN, errno.EINTR)

    def _read(self, n, initial=False):
        buffer = self._read_buffer
        try:
            while len(buffer) < n:
                try:
                    data = self._quick_recv(n - len(buffer))
                except OSError as error:
                    if isinstance(error, socket.timeout) or error.errno not in self._AGAIN:
                        raise
                    if initial and self.raise_on_initial_eintr:
                        raise socket.timeout from None
                    continue
                if not data:
                    raise OSError("Server unexpectedly closed connection")
                buffer += data
        except BaseException:
            self._read_buffer = buffer
            raise
        self._read_buffer = buffer[n:]
        return buffer[:n]


class SSLTransport(_SocketTransport):
    """A connection with TLS. *ssl* may have options: with ``context``, a dict of arguments for
    ``ssl.create_default_context``, the others go to its ``wrap_socket``; without, see :meth:`_wrap_socket_sni`.
    """

    __slots__ = ("sslopts",)

    _AGAIN = (errno.ENOENT, errno.EAGAIN, errno.EINTR)

    def __init__(self, host, connect_timeout=None, ssl=None, **kwargs):
        self.sslopts = ssl if isinstance(ssl, dict) else {}
        super().__init__(host, connect_timeout=connect_timeout, **kwargs)

    def _setup_transport(self):
        self.sock = self._wrap_socket(self.sock, **self.sslopts)
        # The handshake must not wait for ever either.
        self.sock.settimeout(self.connect_timeout)
        self.sock.do_handshake()
        self._quick_recv = self.sock.read

    def _wrap_socket(self, sock, context=None, **sslopts):
        if context:
            return self._wrap_context(sock, sslopts, **context)
        return self._wrap_socket_sni(sock, **sslopts)

    def _wrap_context(self, sock, sslopts, check_hostname=None, **ctx_options):
        context = ssl.create_default_context(**ctx_options)
        context.check_hostname = check_hostname
        return context.wrap_socket(sock, **sslopts)

    def _wrap_socket_sni(
        self,
        sock,
        keyfile=None,
        certfile=None,
        server_side=False,
        cert_reqs=None,
        ca_certs=None,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=True,
        server_hostname=None,
        ciphers=None,
        ssl_version=None,
        tls_maximum_version=None,
        tls_minimum_version=None,
    ):
        """Wraps a socket. With *server_hostname* the peer is told which host is meant, and its certificate must be for
        that one. *cert_reqs* is one of ``ssl.VerifyMode``, *ssl_version* one of ``ssl.PROTOCOL_*``; the others are
        those of ``ssl.SSLContext`` and its ``wrap_socket``.
        """
        if ssl_version is None:
            ssl_version = ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT
        context = ssl.SSLContext(ssl_version)
        if tls_maximum_version is not None:
            context.maximum_version = tls_maximum_version
        if tls_minimum_version is not None:
            context.minimum_version = tls_minimum_version
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
        if ca_certs is not None:
            context.load_verify_locations(ca_certs)
        if ciphers is not None:
            context.set_ciphers(ciphers)
        # Before verify_mode: a context that checks names cannot be told to verify nothing.
        context.check_hostname = ssl.HAS_SNI and server_hostname is not None
        if cert_reqs is not None:
            context.verify_mode = cert_reqs
        if ca_certs is None and context.verify_mode != ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)
        return context.wrap_socket(
            sock=sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
        )

    def _shutdown_transport(self):
        if self.sock is not None:
            self.sock = self.sock.unwrap()

    def _write(self, s):
        while s:
            try:
                written = self.sock.write(s)
            except ValueError:
                # The peer has hung up.
                written = 0
            if not written:
                raise OSError("Socket closed")
            s = s[written:]


class TCPTransport(_SocketTransport):
    """A connection without TLS."""

    __slots__ = ()

    def _setup_transport(self):
        self._write = self.sock.sendall
        self._read_buffer = EMPTY_BUFFER
        self._quick_recv = self.sock.recv

    def is_idle(self, stream):
        return self._reading or self.sock is not None and stream.idle(self.sock.fileno())

    def fill(self, stream, timeout):
        sock = self.sock
        if sock is None:
            raise OSError(errno.EBADF, "the connection is closed")
        if timeout == 0:
            # Somebody else who waits for the next bytes would not learn that they have come.
            if self._reading:
                raise socket.timeout
            try:
                count = stream.receive(sock.fileno())
            except OSError:
                self.connected = False
                raise
            if count == 0:
                self._end()
            if count < 0:
                raise socket.timeout
            return
        if not self._reading:
            stream.settle(sock.fileno())
        self._reading = True
        try:
            # The stream takes it from the system, and sees to it that the socket stays readable while there is more.
            data = self._receive(timeout, socket.MSG_PEEK)
        finally:
            self._reading = False
        if data is not None:
            stream.peeked(sock.fileno(), data)


def Transport(host, connect_timeout=None, ssl=False, **kwargs):
    """An :class:`SSLTransport` if *ssl* says so, else a :class:`TCPTransport`."""
    transport = SSLTransport if ssl else TCPTransport
    return transport(host, connect_timeout=connect_timeout, ssl=ssl, **kwargs)
