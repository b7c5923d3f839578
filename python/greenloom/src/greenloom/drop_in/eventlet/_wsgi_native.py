"""Requests read natively: the short way, for a protocol that overrides nothing of the long one."""

import eventlet
from eventlet import greenio
from eventlet._wsgi_base import CONTINUE_LINE, STATE_CLOSE, ssl
from eventlet._wsgi_input import RECEIVE_SIZE
from greenloom import _native

_VERSION_1_1 = _native.HTTP_VERSION_1_1
_PERSISTENT = _native.HTTP_PERSISTENT
_CHUNKED = _native.HTTP_CHUNKED
_EXPECTS_CONTINUE = _native.HTTP_EXPECTS_CONTINUE
_ASKED_KEEP_ALIVE = _native.HTTP_ASKED_KEEP_ALIVE

# What reads requests, refuses them, or is called when none is there: a subclass that overrides it expects the long way,
# where each attribute is set when stock sets it.
OVERRIDABLE = (
    "MessageClass", "_read_request_line", "finish", "formalize_key_naming", "get_environ", "handle",
    "handle_expect_100", "handle_one_request", "handle_one_response", "headers", "parse_request", "path",
    "raw_requestline", "send_error", "setup")
_ORDINARY_SOCKETS = {greenio.GreenSocket} | ({ssl.GreenSSLSocket} if ssl is not None else set())
_SOCKET_METHODS = {"makefile", "recv", "recv_into", "send", "sendall", "settimeout"}


def is_ordinary(conn):
    """Whether a socket is one of ours, and nobody has put methods of his own on it."""
    return type(conn) in _ORDINARY_SOCKETS and _SOCKET_METHODS.isdisjoint(getattr(conn, "__dict__", ()))


class _FromRequestLine:
    """An attribute that is made of the request line when somebody asks for it, unless it was set."""

    def __init__(self, make):
        self.make = make

    def __get__(self, handler, owner):
        return self if handler is None else self.make(handler.requestline)


def _path(requestline):
    words = requestline.split(" ")
    if len(words) < 2:
        raise AttributeError("path: the request line has none")
    return "/" + words[1].lstrip("/") if words[1].startswith("//") else words[1]


class NativeRequests:
    """The part of :class:`eventlet.wsgi.HttpProtocol` that reads requests natively."""

    _connection_values = None
    _headers = None
    path = _FromRequestLine(_path)
    raw_requestline = _FromRequestLine(lambda line: (line + "\r\n").encode("latin-1"))

    def _handle_one_natively(self):
        if self.server.max_http_version:
            self.protocol_version = self.server.max_http_version
        try:
            request = self._receive_request()
        except _native.HttpError as error:
            self.send_error(*error.args)
            return
        except greenio.SSL.ZeroReturnError:
            request = None
        except (OSError, ValueError) as error:
            self._ignore_broken(error)
            request = None
        if request is None:
            self.close_connection = True
            return
        environ, self.requestline, used, flags, length = request
        reader, conn = self.rfile, self.connection
        reader.data = reader.data[used:]
        self.command = environ["REQUEST_METHOD"]
        self.request_version = "HTTP/1.1" if flags & _VERSION_1_1 else "HTTP/1.0"
        self._asked_keep_alive = flags & _ASKED_KEEP_ALIVE
        self.close_connection = not flags & _PERSISTENT or self.protocol_version < "HTTP/1.1"
        if flags & _EXPECTS_CONTINUE:
            body = eventlet.wsgi.Input(reader, length, conn, self.wfile, CONTINUE_LINE, flags & _CHUNKED)
        else:
            body = eventlet.wsgi.Input(reader, length, conn, None, None, flags & _CHUNKED)
            if not flags & _VERSION_1_1:
                body.is_http_1_0 = True
        environ["wsgi.input"] = environ["eventlet.input"] = body
        self.environ = environ
        self._respond()
        # An idle connection keeps nothing of its last request.
        self.environ = self._headers = None

    def _receive_request(self):
        """The next request as ``http_request`` gives it, or None if the client has no more."""
        server, conn, reader, state = self.server, self.connection, self.rfile, self.conn_state
        keepalive = server.keepalive
        waits_shorter = keepalive and not isinstance(keepalive, bool)
        if waits_shorter:
            conn.settimeout(keepalive)
        limits = base = connection = None
        begun = False
        while True:
            data = reader.data
            if data:
                if limits is None:
                    base, limits = server.base_environ(), self._limits()
                    connection = self._connection_values or self._describe_connection()
                request = _native.http_request(data, base, limits, connection)
                if not begun and (request is not None or b"\n" in data.lstrip(b"\r\n")):
                    # From its first line on, a request has the socket's own timeout, and a graceful stop waits for it.
                    begun = True
                    self._begin_request()
                    if waits_shorter:
                        conn.settimeout(server.socket_timeout)
                if request is not None:
                    return request
            more = conn.recv(RECEIVE_SIZE)
            if not more or (state[2] == STATE_CLOSE and not begun):
                return None
            reader.data = data + more if data else more

    @property
    def headers(self):
        """The request's headers as an instance of ``MessageClass``."""
        if self._headers is None:
            environ = getattr(self, "environ", None)
            if environ is None:
                raise AttributeError("headers: no request was read")
            self._headers = self._message(environ["headers_raw"])
        return self._headers

    @headers.setter
    def headers(self, headers):
        self._headers = headers
