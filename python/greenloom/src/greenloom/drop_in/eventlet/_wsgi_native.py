"""Requests read natively, and answered natively too if a protocol overrides nothing of either."""

import eventlet
from eventlet import greenio
from eventlet import support
from eventlet._wsgi_base import ssl
from greenloom import _native

_VERSION_1_1 = _native.HTTP_VERSION_1_1
_PERSISTENT = _native.HTTP_PERSISTENT
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


class _OfRequest:
    """An attribute that is asked of the connection's native part, unless it was set."""

    def __init__(self, get):
        self.get = get

    def __get__(self, handler, owner):
        if handler is None:
            return self
        if handler._requests is None:
            raise AttributeError("no request was read")
        return self.get(handler._requests)


class NativeRequests:
    """The part of :class:`eventlet.wsgi.HttpProtocol` that reads requests natively.

    If nothing of the protocol is overridden, the native part answers them too, and calls methods of the handler where
    something is out of the ordinary. What the request has said is attributes of the handler meanwhile.
    """

    # The native part.
    _requests = None
    _connection_values = None
    _headers = None
    # The environ that they were made of.
    _headers_of = None
    path = _FromRequestLine(_path)
    raw_requestline = _FromRequestLine(lambda line: (line + "\r\n").encode("latin-1"))
    requestline = _OfRequest(lambda requests: requests.requestline)
    command = _OfRequest(lambda requests: requests.command)
    request_version = _OfRequest(lambda requests: "HTTP/1.1" if requests.flags & _VERSION_1_1 else "HTTP/1.0")
    environ = _OfRequest(lambda requests: requests.environ)
    _forwarded_for = _OfRequest(lambda requests: requests.forwarded)
    _asked_keep_alive = _OfRequest(lambda requests: bool(requests.flags & _ASKED_KEEP_ALIVE))

    def _begin_natively(self, service):
        self._requests = _native.HttpRequests(
            self, service, self.rfile, self.conn_state, self.capitalize_response_headers, self.strict)

    def _serve_natively(self):
        """Serves all requests of the connection."""
        requests = self._requests
        if self.server.max_http_version:
            self.protocol_version = self.server.max_http_version
        requests.is_http_1_0 = self.protocol_version == "HTTP/1.0"
        try:
            requests.serve()
        except Exception as error:
            if requests.is_receiving:
                self._receiving_failed(error)
            elif not isinstance(error, OSError) or support.get_errno(error) not in eventlet.wsgi.BROKEN_SOCK:
                raise
            self.close_connection = True

    def _receiving_failed(self, error):
        if isinstance(error, _native.HttpError):
            self.send_error(*error.args)
        elif isinstance(error, (OSError, ValueError)):
            self._ignore_broken(error)
        elif not isinstance(error, greenio.SSL.ZeroReturnError):
            raise error

    def _handle_one_natively(self):
        if self.server.max_http_version:
            self.protocol_version = self.server.max_http_version
        try:
            environ = self._requests.receive()
        except Exception as error:
            self._receiving_failed(error)
            environ = None
        if environ is None:
            self.close_connection = True
            return
        requests = self._requests
        self.requestline = requests.requestline
        self.command = requests.command
        flags = requests.flags
        self.request_version = "HTTP/1.1" if flags & _VERSION_1_1 else "HTTP/1.0"
        self._asked_keep_alive = flags & _ASKED_KEEP_ALIVE
        self.close_connection = not flags & _PERSISTENT or self.protocol_version < "HTTP/1.1"
        self.environ = environ
        self._respond()
        # An idle connection keeps nothing of its last request.
        self.environ = self._headers = self._headers_of = None

    @property
    def headers(self):
        """The request's headers as an instance of ``MessageClass``."""
        if self._headers is not None and self._headers_of is None:
            return self._headers
        environ = getattr(self, "environ", None)
        if environ is None:
            raise AttributeError("headers: no request was read")
        if self._headers_of is not environ:
            self._headers, self._headers_of = self._message(environ["headers_raw"]), environ
        return self._headers

    @headers.setter
    def headers(self, headers):
        self._headers, self._headers_of = headers, None
