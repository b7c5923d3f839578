"""The protocol of one connection: reads requests in the way that may be overridden, and refuses some."""

import errno
import io
import itertools
import re
import traceback
import urllib.parse

import eventlet
from eventlet import greenio
from eventlet import support
from eventlet._wsgi_answer import Answering
from eventlet._wsgi_base import (
    BAD_SOCK, CONNECTION_CONSTANTS, CONNECTION_KEYS, CONTINUE_LINE, MINIMUM_CHUNK_SIZE, STATE_CLOSE, STATE_IDLE,
    STATE_REQUEST, HeaderLineTooLong, HeadersTooLarge, addr_to_host_port)
from eventlet._wsgi_input import RECEIVE_SIZE, Reader, Writer
from eventlet._wsgi_native import NativeRequests, OVERRIDABLE, is_ordinary
from eventlet.green import BaseHTTPServer
from eventlet.green import socket
from eventlet.green.http import client as http_client
from greenloom import _native

_ABSOLUTE_FORM = re.compile("https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class FileObjectForHeaders:
    """Reads lines for a request's head, and raises if they exceed the limits."""

    def __init__(self, fp):
        self.fp = fp
        self.total_header_size = 0

    def readline(self, size=-1):
        """The next line of the head. HeaderLineTooLong, HeadersTooLarge if it is larger than it may be."""
        line = self.fp.readline(eventlet.wsgi.MAX_HEADER_LINE if size < 0 else size)
        if len(line) >= eventlet.wsgi.MAX_HEADER_LINE:
            raise HeaderLineTooLong
        self.total_header_size += len(line)
        if self.total_header_size > eventlet.wsgi.MAX_TOTAL_HEADER_SIZE:
            raise HeadersTooLarge
        return line


class HttpProtocol(NativeRequests, Answering, BaseHTTPServer.BaseHTTPRequestHandler):
    """Serves the requests of one connection; to make one is to serve them all.

    ``conn_state`` is the list ``[address, socket, state]`` with one of the ``STATE_`` constants, ``server`` a
    :class:`Server`.

    A subclass may override each of the methods that stock eventlet and ``http.server`` have. What a request that is
    refused has said is in ``requestline``, ``command``, ``path`` and ``request_version``, as far as it could be read.
    """

    protocol_version = "HTTP/1.1"
    # An answer in HTTP/0.9, as the standard library sends to what it cannot read, would have no head.
    default_request_version = "HTTP/1.0"
    minimum_chunk_size = MINIMUM_CHUNK_SIZE
    capitalize_response_headers = True
    # Whether to refuse a request with a Content-Length beside its chunks, or with bare line feeds.
    reject_bad_requests = True
    # Whether to refuse what the RFCs forbid and eventlet has always let pass: a request of HTTP/1.1 that names no Host,
    # and names of an application's headers beyond ASCII.
    strict = False
    wbufsize = 16 << 10

    # Whether something was refused, so that the client may still be sending.
    _refused = False

    def __init__(self, conn_state, server):
        self.conn_state = conn_state
        self.client_address, self.request = conn_state[:2]
        self.server = server
        if server.minimum_chunk_size is not None:
            self.minimum_chunk_size = server.minimum_chunk_size
        self.capitalize_response_headers = server.capitalize_response_headers
        self.setup()
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self):
        """Makes ``rfile`` and ``wfile`` of the socket."""
        conn = self.connection = self.request
        quick_ack = getattr(socket, "TCP_QUICKACK", None)
        if quick_ack is not None:
            try:
                conn.setsockopt(socket.IPPROTO_TCP, quick_ack, True)
            except OSError:
                pass
        self._is_fast = _reads_requests_as_ours(type(self)) and is_ordinary(conn)
        service = getattr(self.server, "_service", None)
        self._is_native = self._is_fast and service is not None and _is_ours(type(self))
        if self._is_fast:
            self.rfile = Reader(conn)
            self.wfile = Writer(conn)
            self.send_bytes = conn.sendall
            self._begin_natively(service or _native.HttpService(self.server))
            return
        try:
            self.rfile = conn.makefile("rb", self.rbufsize)
            self.wfile = conn.makefile("wb", self.wbufsize)
        except (AttributeError, NotImplementedError):
            if not (hasattr(conn, "send") and hasattr(conn, "recv")):
                raise NotImplementedError("eventlet.wsgi doesn't support sockets of type {}".format(type(conn)))
            # pyOpenSSL's connections make no files.
            self.rfile = socket._fileobject(conn, "rb", self.rbufsize)
            self.wfile = socket._fileobject(conn, "wb", self.wbufsize)

    def handle(self):
        """Serves requests until the connection is closed."""
        self.close_connection = True
        if self._is_native:
            self._serve_natively()
            return
        serve_one = self._handle_one_natively if self._is_fast else self.handle_one_request
        while True:
            serve_one()
            if self.conn_state[2] == STATE_CLOSE:
                self.close_connection = True
            else:
                self.conn_state[2] = STATE_IDLE
            if self.close_connection:
                break

    def finish(self):
        """Flushes and closes everything."""
        try:
            BaseHTTPServer.BaseHTTPRequestHandler.finish(self)
            if self._refused:
                self._linger()
        except OSError as error:
            if support.get_errno(error) not in eventlet.wsgi.BROKEN_SOCK:
                raise
        greenio.shutdown_safe(self.connection)
        self.connection.close()

    def _linger(self):
        """Reads on for a moment: a socket closed with data unread sends a reset, which may overtake the answer."""
        if hasattr(self.connection, "do_handshake"):
            # TLS is over with the shutdown, and what comes would not be read as it was meant.
            return
        try:
            self.connection.shutdown(socket.SHUT_WR)
            with eventlet.Timeout(eventlet.wsgi.LINGER_SECONDS, False):
                while self.connection.recv(RECEIVE_SIZE):
                    pass
        except OSError:
            # The client has gone, or keeps still for too long.
            pass

    # Reading a request. This is the long way, whose methods may be overridden; the short one is NativeRequests.

    def handle_one_request(self):
        """Serves one request: reads its line and headers, makes the environ, calls the application."""
        if self.server.max_http_version:
            self.protocol_version = self.server.max_http_version
        self.raw_requestline = self._read_request_line()
        length = len(self.raw_requestline)
        # Some clients send an empty line behind a body. They count, so that they do not come free.
        while self.raw_requestline in (b"\r\n", b"\n") and length < self.server.url_length_limit:
            self.raw_requestline = self._read_request_line()
            length += len(self.raw_requestline)
        if not self.raw_requestline:
            self.close_connection = True
            return
        self._begin_request()
        if length >= self.server.url_length_limit:
            # As http.server has it: nothing was read of this request, and what is there is of the last one.
            self.requestline = self.request_version = self.command = ""
            self._refuse(414, "Request URI Too Long")
            return
        rfile = self.rfile
        try:
            self.rfile = FileObjectForHeaders(rfile)
            if not self.parse_request():
                self._refused = True
                return
        except HeaderLineTooLong:
            self._refuse(400, "Header Line Too Long")
            return
        except HeadersTooLarge:
            self._refuse(400, "Headers Too Large")
            return
        finally:
            self.rfile = rfile
        if self._make_environ():
            self._respond()

    def _begin_request(self):
        # A server that stops has said close, and means it for after this request.
        if self.conn_state[2] != STATE_CLOSE:
            self.conn_state[2] = STATE_REQUEST

    def _read_request_line(self):
        if self.rfile.closed:
            return ""
        try:
            conn, keepalive = self.connection, self.server.keepalive
            if keepalive and not isinstance(keepalive, bool):
                conn.settimeout(keepalive)
            line = self.rfile.readline(self.server.url_length_limit)
            conn.settimeout(self.server.socket_timeout)
            return line
        except greenio.SSL.ZeroReturnError:
            pass
        except (OSError, ValueError) as error:
            self._ignore_broken(error)
        return ""

    def parse_request(self):
        """Reads the headers and takes them and the request line apart. Returns False if it has answered an error."""
        # A refusal may come before these are known for good.
        self.command = None
        self.request_version = self.default_request_version
        self.close_connection = True
        self.requestline = str(self.raw_requestline, "latin-1").rstrip("\r\n")
        words = self.requestline.split(" ")
        if len(words) == 3:
            self.command, self.path, self.request_version = words
        lines = [self.raw_requestline]
        while lines[-1] not in (b"\r\n", b"\n", b"") or len(lines) == 1:
            lines.append(self.rfile.readline())
        try:
            head = _native.http_head(b"".join(lines), self._limits())
        except _native.HttpError as error:
            self._refuse(*error.args)
            return False
        if head is None:
            # The client left in the middle of it.
            return False
        self.command, self.path, minor, fields, flags = head
        if self.path.startswith("//"):
            # As in the standard library: a path that begins like another host's must not redirect there.
            self.path = "/" + self.path.lstrip("/")
        self.request_version = "HTTP/1.1" if minor else "HTTP/1.0"
        self.headers = self._message(fields)
        self.close_connection = not flags & _native.HTTP_PERSISTENT or self.protocol_version < "HTTP/1.1"
        return not flags & _native.HTTP_EXPECTS_CONTINUE or self.handle_expect_100()

    def handle_expect_100(self):
        """Whether to go on with a request that expects a 100 response. That is sent when the body is first read."""
        return True

    def _limits(self):
        # Swift makes the number of headers a float.
        return (self.server.url_length_limit, eventlet.wsgi.MAX_HEADER_LINE, eventlet.wsgi.MAX_TOTAL_HEADER_SIZE,
                int(http_client._MAXHEADERS), not self.reject_bad_requests, self.strict)

    def _message(self, fields):
        message = self.MessageClass()
        for name, value in fields:
            message.set_raw(name, value)
        message.set_payload("")
        return message

    def _make_environ(self):
        """Sets ``environ``. Returns False if the request was refused."""
        fields = list(self.headers.raw_items())
        if not self._check_framing(fields):
            return False
        try:
            self.environ = self.get_environ()
        except Exception:
            # It may have failed at headers that it has found itself.
            if self._check_framing(self.headers.raw_items()):
                raise
            return False
        more = list(self.headers.raw_items())
        if more != fields and not self._check_framing(more):
            return False
        values = self.headers.get_all("Connection", ())
        options = [option.strip().lower() for value in values for option in value.split(",")]
        if "close" in options:
            self.close_connection = True
        self._asked_keep_alive = "keep-alive" in options
        if self.request_version == "HTTP/1.0" and self.headers.get("Expect", "").lower() == "100-continue":
            # It will not be told to go on, and nobody knows whether its body comes unless it is read.
            self.close_connection = True
        return True

    def _check_framing(self, fields):
        """Refuses a request whose end is in doubt, no matter what parsed it."""
        minor = 0 if self.request_version == "HTTP/1.0" else 1
        try:
            _, _, must_close = _native.http_framing(list(fields), minor, self._limits())
        except _native.HttpError as error:
            self._refuse(*error.args)
            return False
        if must_close:
            self.close_connection = True
        return True

    def get_environ(self):
        """The WSGI environ of the request."""
        environ = self.server.get_environ()
        environ.update(CONNECTION_CONSTANTS)
        environ.update(zip(CONNECTION_KEYS, self._connection_values or self._describe_connection()))
        environ["REQUEST_METHOD"] = self.command
        absolute = _ABSOLUTE_FORM.match(self.path)
        target = absolute[2] if absolute else self.path
        path, has_query, query = target.partition("?")
        if absolute:
            path = "/" + path.lstrip("/") if path or has_query or self.command != "OPTIONS" else "*"
        environ["RAW_PATH_INFO"] = path
        environ["PATH_INFO"] = urllib.parse.unquote(path, encoding="latin1")
        if has_query:
            environ["QUERY_STRING"] = query
        content_type = self.headers.get("content-type")
        environ["CONTENT_TYPE"] = self.headers.get_content_type() if content_type is None else content_type
        length = self.headers.get("content-length")
        if length:
            environ["CONTENT_LENGTH"] = length
        environ["headers_raw"] = tuple((name, value.strip(" \t\n\r")) for name, value in self.headers.raw_items())
        for name, value in environ["headers_raw"]:
            key = self.formalize_key_naming(name)
            if not key or key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                continue
            key = "HTTP_" + key
            if key in environ:
                # Cookies have semicolons between them, and perhaps commas inside.
                value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
            environ[key] = value
        if absolute:
            # It goes before that of Host: RFC 9112, section 3.2.2.
            environ["HTTP_HOST"] = absolute[1]
        is_http_1_0 = self.request_version == "HTTP/1.0"
        expects = not is_http_1_0 and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        body = environ["wsgi.input"] = environ["eventlet.input"] = eventlet.wsgi.Input(
            self.rfile, length or 0, self.connection, wfile=self.wfile if expects else None,
            wfile_line=CONTINUE_LINE if expects else None, chunked_input=chunked)
        body.is_http_1_0 = is_http_1_0
        environ["eventlet.posthooks"] = []
        return environ

    def formalize_key_naming(self, k):
        """A header's name as environ keys have it, None for one with an underscore, which would pass for a hyphen."""
        return None if "_" in k else k.replace("-", "_").upper()

    def _describe_connection(self):
        """What a connection adds to the environ."""
        host, port = addr_to_host_port(self.request.getsockname())
        client_host, client_port = addr_to_host_port(self.client_address)
        self._connection_values = host, str(port), client_host, str(client_port), self._set_idle
        return self._connection_values

    def _set_idle(self):
        # A websocket never comes back from its request, and must not hold up a graceful stop.
        self.conn_state[2] = STATE_IDLE

    # Refusing a request.

    def send_error(self, code, message=None, explain=None):
        """Refuses a request, and so closes the connection."""
        self.close_connection = self._refused = True
        message = message or self.responses.get(code, ("Error",))[0]
        body = ((explain or message) + "\n").encode("latin-1", "replace")
        self.server.log.debug("({}) refused {!r}: {} {}".format(
            self.server.pid, self.client_address, code, explain or message))
        try:
            self.wfile.write(b"HTTP/1.0 %d %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                             b"Content-Length: %d\r\n\r\n%s" % (
                                 code, message.encode("latin-1", "replace"), len(body), body))
            self.wfile.flush()
        except OSError as error:
            self._ignore_broken(error)

    def _refuse(self, code, message, explain=None):
        """Has ``send_error`` refuse a request. One that fails at it is made up for: a refusal always goes out."""
        self.close_connection = self._refused = True
        wfile, self.wfile = self.wfile, io.BytesIO()
        try:
            try:
                self.send_error(code, message, explain)
            except Exception:
                self.server.log.error("({}) send_error failed:\n{}".format(self.server.pid, traceback.format_exc()))
                # Half an answer is none.
                self.wfile = io.BytesIO()
                HttpProtocol.send_error(self, code, message, explain)
            answer = self.wfile.getvalue()
        finally:
            self.wfile = wfile
        try:
            self.send_bytes(answer)
        except OSError as error:
            self._ignore_broken(error)

    def _ignore_broken(self, error):
        """Raises the error again unless it says that the client has gone."""
        if isinstance(error, ValueError) and self.conn_state[2] == STATE_CLOSE:
            # A TLS socket says so when a server that stops has shut it down.
            return
        number = support.get_errno(error)
        if number in eventlet.wsgi.BROKEN_SOCK or number == errno.ENOTCONN:
            self.server.log.debug("({}) connection reset by peer {!r}".format(self.server.pid, self.client_address))
        elif number not in BAD_SOCK:
            raise error


# What a subclass, or who patches the class, may have replaced to read requests in its own way.
_OURS = {name: getattr(HttpProtocol, name) for name in OVERRIDABLE}


def _reads_requests_as_ours(protocol):
    return all(getattr(protocol, name) is ours for name, ours in _OURS.items())


# All that is called of a protocol, or asked, as it was defined: if nothing is overridden or patched, nobody can tell
# that it is not.
_CLASSES = NativeRequests, Answering, HttpProtocol
_NAMES = [tuple(name for name, value in vars(owner).items() if hasattr(type(value), "__get__")) for owner in _CLASSES]
_DEFINED = [tuple(map(vars(owner).get, names)) for owner, names in zip(_CLASSES, _NAMES)]
_ALL_NAMES = {"__getattribute__", "__getattr__", "__setattr__", "close_connection", *itertools.chain(*_NAMES)}


def _is_ours(protocol):
    if protocol is not HttpProtocol:
        below = protocol.__mro__[:protocol.__mro__.index(HttpProtocol)]
        if not all(_ALL_NAMES.isdisjoint(vars(owner)) for owner in below):
            return False
    return all(
        tuple(map(vars(owner).get, names)) == defined for owner, names, defined in zip(_CLASSES, _NAMES, _DEFINED))
