"""A WSGI server: each connection is a green thread, requests and response heads are read and made natively.

:func:`server` is all that most programs need. :class:`HttpProtocol` may be subclassed; as long as nothing that reads
requests is overridden, a connection is served by a short loop over the native functions, else by the methods that stock
eventlet has, one for each step.

Requests that a proxy could read differently are refused: a length beside chunks, repeated or malformed lengths, folded
or bare lines, unknown codings. ``HttpProtocol.reject_bad_requests = False`` lets bare line feeds and both lengths pass.
"""

import email.utils
import errno
import os
import sys
import time
import traceback
import urllib.parse
import warnings

import eventlet
from eventlet import greenio
from eventlet import support
from eventlet._wsgi_input import ChunkReadError, Input, RECEIVE_SIZE, Reader, Writer
from eventlet._wsgi_response import FileWrapper, Response
from eventlet.corolocal import local
from eventlet.green import BaseHTTPServer
from eventlet.green import socket
from eventlet.green.http import client as http_client
from greenloom import _native

try:
    from eventlet.green import ssl
except ImportError:
    ssl = None

__all__ = ["server", "format_date_time"]

DEFAULT_MAX_SIMULTANEOUS_REQUESTS = 1024
DEFAULT_MAX_HTTP_VERSION = "HTTP/1.1"
MAX_REQUEST_LINE = 8192
# May be set at run time.
MAX_HEADER_LINE = 8192
MAX_TOTAL_HEADER_SIZE = 65536
MINIMUM_CHUNK_SIZE = 4096
# %(client_port)s is there too.
DEFAULT_LOG_FORMAT = ('%(client_ip)s - - [%(date_time)s] "%(request_line)s"'
                      " %(status_code)s %(body_length)s %(wall_seconds).6f")

# Servers stop accepting when this is set to False.
is_accepting = True

STATE_IDLE = "idle"
STATE_REQUEST = "request"
STATE_CLOSE = "close"

BAD_SOCK = {errno.EBADF, 10053}
BROKEN_SOCK = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN}
# A connection failed before it was accepted; the next one may do better.
ACCEPT_ERRNO = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EPROTO}
ACCEPT_EXCEPTIONS = (OSError,)
if ssl is not None:
    ACCEPT_EXCEPTIONS += (ssl.SSLError,)
    ACCEPT_ERRNO |= {ssl.SSL_ERROR_EOF, ssl.SSL_ERROR_SSL}
_TLS_ERRORS = () if ssl is None else (ssl.SSLError,)
# Descriptors or memory are used up, and come back when connections end.
EXHAUSTED_ERRNO = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_PAUSE = 0.1
# How long a client that was refused may go on sending.
LINGER_SECONDS = 1

_VERSION_1_1 = _native.HTTP_VERSION_1_1
_PERSISTENT = _native.HTTP_PERSISTENT
_CHUNKED = _native.HTTP_CHUNKED
_EXPECTS_CONTINUE = _native.HTTP_EXPECTS_CONTINUE
_ASKED_KEEP_ALIVE = _native.HTTP_ASKED_KEEP_ALIVE
_CONTINUE_LINE = b"HTTP/1.1 100 Continue\r\n"
_CONNECTION_CONSTANTS = {"SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.0", "GATEWAY_INTERFACE": "CGI/1.1"}
_CONNECTION_KEYS = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "eventlet.set_idle")
_REQUEST_KEYS = ("REQUEST_METHOD", "RAW_PATH_INFO", "PATH_INFO", "CONTENT_TYPE", "headers_raw", "wsgi.input",
                 "eventlet.input", "eventlet.posthooks")


class _Local(local):
    already_handled = False


# An application that answered by itself, a websocket's say, sets already_handled here.
WSGI_LOCAL = _Local()


def format_date_time(timestamp):
    """A Unix time as HTTP writes dates, always in English and GMT."""
    return email.utils.formatdate(int(timestamp), usegmt=True)


def addr_to_host_port(addr):
    """Host and port of an address; ``('unix', '')`` for one that has none."""
    if isinstance(addr, tuple):
        return addr[0], addr[1]
    return "unix", ""


def _encode_header_line(header):
    return _native.http_field(*header)


class HeaderLineTooLong(Exception):
    """A header is as long as MAX_HEADER_LINE."""


class HeadersTooLarge(Exception):
    """The headers together are longer than MAX_TOTAL_HEADER_SIZE."""


def get_logger(log, debug):
    """``log`` itself if it is a logger; one that writes lines to it, or to stderr, if not."""
    if callable(getattr(log, "info", None)) and callable(getattr(log, "debug", None)):
        return log
    return LoggerFileWrapper(log or sys.stderr, debug)


class LoggerNull:
    """A logger that keeps quiet."""

    def error(self, msg, *args, **kwargs):
        pass

    def info(self, msg, *args, **kwargs):
        pass

    def debug(self, msg, *args, **kwargs):
        pass

    def write(self, msg, *args):
        pass


class LoggerFileWrapper(LoggerNull):
    """A logger that writes lines to a file; those of ``debug`` only if that is on."""

    def __init__(self, log, debug):
        self.log = log
        self._debug = debug

    def error(self, msg, *args, **kwargs):
        self.write(msg, *args)

    def info(self, msg, *args, **kwargs):
        # The access log comes this way, one line a request.
        self.log.write((msg % args if args else msg) + "\n")

    def debug(self, msg, *args, **kwargs):
        if self._debug:
            self.write(msg, *args)

    def write(self, msg, *args):
        self.info(msg, *args)


class FileObjectForHeaders:
    """Reads lines for a request's head, and raises if they exceed the limits."""

    def __init__(self, fp):
        self.fp = fp
        self.total_header_size = 0

    def readline(self, size=-1):
        line = self.fp.readline(MAX_HEADER_LINE if size < 0 else size)
        if len(line) >= MAX_HEADER_LINE:
            raise HeaderLineTooLong
        self.total_header_size += len(line)
        if self.total_header_size > MAX_TOTAL_HEADER_SIZE:
            raise HeadersTooLarge
        return line


class HttpProtocol(BaseHTTPServer.BaseHTTPRequestHandler):
    """Serves the requests of one connection; to make one is to serve them all.

    ``conn_state`` is the list ``[address, socket, state]`` with one of the ``STATE_`` constants, ``server`` a
    :class:`Server`.
    """

    protocol_version = "HTTP/1.1"
    minimum_chunk_size = MINIMUM_CHUNK_SIZE
    capitalize_response_headers = True
    # Whether to refuse a request with a Content-Length beside its chunks, or with bare line feeds.
    reject_bad_requests = True
    wbufsize = 16 << 10

    _asked_keep_alive = False
    _connection_values = None
    _forwarded_for = ""
    _headers = None
    _log_date = (0, "")

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
        self._is_fast = _reads_requests_as_ours(type(self)) and _is_ordinary(conn)
        if self._is_fast:
            self.rfile = Reader(conn)
            self.wfile = Writer(conn)
            self.send_bytes = conn.sendall
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
        except OSError as error:
            if support.get_errno(error) not in BROKEN_SOCK:
                raise
        greenio.shutdown_safe(self.connection)
        self.connection.close()

    # The native way.

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
            body = Input(reader, length, conn, self.wfile, _CONTINUE_LINE, flags & _CHUNKED)
        else:
            body = Input(reader, length, conn, None, None, flags & _CHUNKED)
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

    def _begin_request(self):
        # A server that stops has said close, and means it for after this request.
        if self.conn_state[2] != STATE_CLOSE:
            self.conn_state[2] = STATE_REQUEST

    def _limits(self):
        return (self.server.url_length_limit, MAX_HEADER_LINE, MAX_TOTAL_HEADER_SIZE, http_client._MAXHEADERS,
                not self.reject_bad_requests)

    def _describe_connection(self):
        """What a connection adds to the environ."""
        host, port = addr_to_host_port(self.request.getsockname())
        client_host, client_port = addr_to_host_port(self.client_address)
        self._connection_values = host, str(port), client_host, str(client_port), self._set_idle
        return self._connection_values

    def _set_idle(self):
        # A websocket never comes back from its request, and must not hold up a graceful stop.
        self.conn_state[2] = STATE_IDLE

    @property
    def headers(self):
        """The request's headers as an instance of ``MessageClass``."""
        if self._headers is None:
            self._headers = self._message(self.environ["headers_raw"])
        return self._headers

    @headers.setter
    def headers(self, headers):
        self._headers = headers

    def _message(self, fields):
        message = self.MessageClass()
        for name, value in fields:
            message.set_raw(name, value)
        message.set_payload("")
        return message

    # The way of the overridable methods.

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
            self.send_error(414, "Request URI Too Long")
            return
        rfile = self.rfile
        try:
            self.rfile = FileObjectForHeaders(rfile)
            if not self.parse_request():
                return
        except HeaderLineTooLong:
            self.send_error(400, "Header Line Too Long")
            return
        except HeadersTooLarge:
            self.send_error(400, "Headers Too Large")
            return
        finally:
            self.rfile = rfile
        if self._check_framing():
            self.environ = self.get_environ()
            self._respond()

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
        self.close_connection = True
        lines = [self.raw_requestline]
        while lines[-1] not in (b"\r\n", b"\n", b"") or len(lines) == 1:
            lines.append(self.rfile.readline())
        try:
            head = _native.http_head(b"".join(lines), self._limits())
        except _native.HttpError as error:
            self.send_error(*error.args)
            return False
        if head is None:
            # The client left in the middle of it.
            return False
        self.requestline = str(self.raw_requestline, "latin-1").rstrip("\r\n")
        self.command, self.path, minor, fields, flags = head
        if self.path.startswith("//"):
            # As in the standard library: a path that begins like another host's must not redirect there.
            self.path = "/" + self.path.lstrip("/")
        self.request_version = "HTTP/1.1" if minor else "HTTP/1.0"
        self.headers = self._message(fields)
        self.close_connection = not flags & _PERSISTENT or self.protocol_version < "HTTP/1.1"
        return not flags & _EXPECTS_CONTINUE or self.handle_expect_100()

    def handle_expect_100(self):
        """Whether to go on with a request that expects a 100 response. That is sent when the body is first read."""
        return True

    def _check_framing(self):
        """Refuses a request whose end is in doubt, whoever has parsed it."""
        minor = 0 if self.request_version == "HTTP/1.0" else 1
        try:
            _, _, must_close = _native.http_framing(
                list(self.headers.raw_items()), minor, not self.reject_bad_requests)
        except _native.HttpError as error:
            self.send_error(*error.args)
            return False
        if must_close:
            self.close_connection = True
        options = [option.strip() for option in self.headers.get("Connection", "").lower().split(",")]
        self._asked_keep_alive = "keep-alive" in options
        return True

    def get_environ(self):
        """The WSGI environ of the request."""
        environ = self.server.get_environ()
        environ.update(_CONNECTION_CONSTANTS)
        environ.update(zip(_CONNECTION_KEYS, self._connection_values or self._describe_connection()))
        environ["REQUEST_METHOD"] = self.command
        path, has_query, query = self.path.partition("?")
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
            environ[key] = environ[key] + "," + value if key in environ else value
        expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        environ["wsgi.input"] = environ["eventlet.input"] = Input(
            self.rfile, length or 0, self.connection, wfile=self.wfile if expects else None,
            wfile_line=_CONTINUE_LINE if expects else None, chunked_input=chunked)
        environ["eventlet.posthooks"] = []
        return environ

    def formalize_key_naming(self, name):
        """A header's name as environ keys have it, None for one with an underscore, which would pass for a hyphen."""
        return None if "_" in name else name.replace("-", "_").upper()

    # What both have in common.

    def _respond(self):
        self.application = self.server.app
        self.server.outstanding_requests += 1
        try:
            self.handle_one_response()
        except OSError as error:
            if support.get_errno(error) not in BROKEN_SOCK:
                raise
            self.close_connection = True
        finally:
            self.server.outstanding_requests -= 1

    def handle_one_response(self):
        """Calls the application and sends what it answers."""
        environ, server = self.environ, self.server
        started = time.time() if server.log_output else 0
        # The application may replace it.
        request_input = environ["eventlet.input"]
        if server.log_x_forwarded_for:
            self._forwarded_for = environ.get("HTTP_X_FORWARDED_FOR", "")
        response = Response(self, request_input, self.protocol_version, self.command, self.capitalize_response_headers)
        result = whole = None
        try:
            try:
                result = self.application(environ, response.start)
                if request_input.wfile is None and not WSGI_LOCAL.already_handled:
                    whole = response.whole(result, self.connection_lines())
                if whole is not None:
                    self.send_bytes(whole)
                else:
                    minimum = environ.get("eventlet.minimum_write_chunk_size")
                    response.send_result(result, self.minimum_chunk_size if minimum is None else int(minimum))
            except (Exception, eventlet.Timeout):
                trace = traceback.format_exc()
                server.log.info(trace)
                response.fail(trace.encode() if server.debug else b"")
            except BaseException:
                # Who is killed does not wait for the rest of a body.
                self.close_connection = True
                raise
        finally:
            if hasattr(result, "close"):
                result.close()
            if request_input.should_send_hundred_continue or response.is_short():
                # The client may or may not send a body that it was not asked for, or waits for more of ours.
                self.close_connection = True
            if not (self.close_connection or request_input.is_read()):
                self._discard(request_input)
            for hook, args, kwargs in environ["eventlet.posthooks"]:
                hook(environ, *args, **kwargs)
            if server.log_output:
                self._log_response(response, time.time() - started)

    def is_already_handled(self):
        """Whether the application has answered on the socket by itself; the connection is its own then."""
        if not WSGI_LOCAL.already_handled:
            return False
        WSGI_LOCAL.already_handled = False
        self.close_connection = True
        return True

    def connection_lines(self):
        """The headers that tell the client of the connection's future, which is decided here."""
        keepalive = self.server.keepalive
        if self.close_connection or not keepalive or self.conn_state[2] == STATE_CLOSE:
            self.close_connection = True
            return b"Connection: close\r\n"
        if not self._asked_keep_alive:
            return b""
        if isinstance(keepalive, bool) or int(keepalive) == 0:
            return b"Connection: keep-alive\r\n"
        return b"Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n" % int(keepalive)

    def send_bytes(self, data):
        """Sends a part of a response."""
        self.wfile.write(data)
        self.wfile.flush()

    def plain_socket(self):
        """The socket if the kernel may write to it behind our back; None for TLS and for what somebody has wrapped."""
        return self.connection if self._is_fast and type(self.connection) is greenio.GreenSocket else None

    def send_error(self, code, message=None, explain=None):
        """Refuses a request, and so closes the connection."""
        self.close_connection = True
        message = message or self.responses.get(code, ("Error",))[0]
        body = ((explain or message) + "\n").encode("latin-1", "replace")
        self.server.log.debug("({}) refused {!r}: {} {}".format(
            self.server.pid, self.client_address, code, explain or message))
        try:
            self.send_bytes(b"HTTP/1.0 %d %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                            b"Content-Length: %d\r\n\r\n%s" % (
                                code, message.encode("latin-1", "replace"), len(body), body))
            self._linger()
        except OSError as error:
            self._ignore_broken(error)

    def _linger(self):
        """Reads on for a moment: a socket closed with data unread sends a reset, which may overtake the answer."""
        if hasattr(self.connection, "do_handshake"):
            # TLS is over with the shutdown, and what comes would not be read as it was meant.
            return
        self.connection.shutdown(socket.SHUT_WR)
        with eventlet.Timeout(LINGER_SECONDS, False):
            while self.connection.recv(RECEIVE_SIZE):
                pass

    def _ignore_broken(self, error):
        """Raises the error again unless it says that the client has gone."""
        if isinstance(error, ValueError) and self.conn_state[2] == STATE_CLOSE:
            # A TLS socket says so when a server that stops has shut it down.
            return
        number = support.get_errno(error)
        if number in BROKEN_SOCK or number == errno.ENOTCONN:
            self.server.log.debug("({}) connection reset by peer {!r}".format(self.server.pid, self.client_address))
        elif number not in BAD_SOCK:
            raise error

    def _discard(self, request_input):
        """Reads the rest of a body, to get to the next request."""
        try:
            request_input.discard()
        except (ChunkReadError, OSError) as error:
            self.close_connection = True
            self.server.log.error('{} error while discarding request body. client={} request="{}" error="{}"'.format(
                "chunked encoding" if isinstance(error, ChunkReadError) else "I/O",
                self.get_client_address()[0], self.requestline, error))

    def get_client_address(self):
        """The client's host, behind those that proxies name if the server logs them, and its port."""
        host, port = addr_to_host_port(self.client_address)
        if self.server.log_x_forwarded_for and self._forwarded_for:
            host = self._forwarded_for.replace(" ", "") + "," + host
        return host, port

    def log_date_time_string(self):
        """The present second as the log has it."""
        second = int(time.time())
        if HttpProtocol._log_date[0] != second:
            HttpProtocol._log_date = (second, super().log_date_time_string())
        return HttpProtocol._log_date[1]

    def _log_response(self, response, seconds):
        server = self.server
        host, port = self.get_client_address()
        date_time = self.log_date_time_string()
        if server.log_format is DEFAULT_LOG_FORMAT:
            server.log.info(f'{host} - - [{date_time}] "{self.requestline}" '
                            f"{response.code} {response.length} {seconds:.6f}")
            return
        server.log.info(server.log_format % {
            "client_ip": host,
            "client_port": port,
            "date_time": date_time,
            "request_line": self.requestline,
            "status_code": response.code,
            "body_length": response.length,
            "wall_seconds": seconds,
        })


# What a subclass, or who patches the class, may have replaced to read requests in its own way.
_READING = {
    name: getattr(HttpProtocol, name)
    for name in ("MessageClass", "_read_request_line", "formalize_key_naming", "get_environ", "handle",
                 "handle_expect_100", "handle_one_request", "handle_one_response", "parse_request", "setup")
}
_ORDINARY_SOCKETS = {greenio.GreenSocket} | ({ssl.GreenSSLSocket} if ssl is not None else set())
_SOCKET_METHODS = {"makefile", "recv", "recv_into", "send", "sendall", "settimeout"}


def _reads_requests_as_ours(protocol):
    return all(getattr(protocol, name) is ours for name, ours in _READING.items())


def _is_ordinary(conn):
    """Whether a socket is one of ours, and nobody has put methods of his own on it."""
    return type(conn) in _ORDINARY_SOCKETS and _SOCKET_METHODS.isdisjoint(getattr(conn, "__dict__", ()))


class Server(BaseHTTPServer.HTTPServer):
    """What the connections of one listening socket have in common. :func:`server` makes one."""

    _base = None

    def __init__(self, socket, address, app, log=None, environ=None, max_http_version=None, protocol=HttpProtocol,
                 minimum_chunk_size=None, log_x_forwarded_for=True, keepalive=True, log_output=True,
                 log_format=DEFAULT_LOG_FORMAT, url_length_limit=MAX_REQUEST_LINE, debug=True, socket_timeout=None,
                 capitalize_response_headers=True):
        self.outstanding_requests = 0
        self.socket = socket
        self.address = address
        self.log = get_logger(log, debug) if log_output else LoggerNull()
        self.app = app
        self.keepalive = keepalive
        self.environ = environ
        self.max_http_version = max_http_version
        self.protocol = protocol
        self.pid = os.getpid()
        self.minimum_chunk_size = minimum_chunk_size
        self.log_x_forwarded_for = log_x_forwarded_for
        self.log_output = log_output
        self.log_format = log_format
        self.url_length_limit = url_length_limit
        self.debug = debug
        self.socket_timeout = socket_timeout
        self.capitalize_response_headers = capitalize_response_headers
        if not capitalize_response_headers:
            warnings.warn("capitalize_response_headers is off: a client that needs that takes the case of header names "
                          "to matter, and is better repaired", DeprecationWarning, stacklevel=3)

    def get_environ(self):
        """What the environ of every request has."""
        environ = {
            "wsgi.errors": sys.stderr,
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.url_scheme": "http",
            "wsgi.file_wrapper": FileWrapper,
        }
        if hasattr(self.socket, "do_handshake"):
            environ["wsgi.url_scheme"] = "https"
            environ["HTTPS"] = "on"
        if self.environ is not None:
            environ.update(self.environ)
        return environ

    def base_environ(self):
        """A dict to copy for each request: :meth:`get_environ` and places for the rest. Made anew if it may change."""
        base = self._base
        if (base is None or self.environ is not None or base["wsgi.errors"] is not sys.stderr
                or type(self).get_environ is not Server.get_environ):
            base = dict.fromkeys(_CONNECTION_KEYS + _REQUEST_KEYS)
            base.update(_CONNECTION_CONSTANTS)
            base.update(self.get_environ())
            self._base = base
        return base

    def process_request(self, conn_state):
        """Serves one connection, ``[address, socket, state]``, until it is closed or times out."""
        try:
            self.protocol(conn_state, self)
        except socket.timeout:
            conn_state[1].close()
            self.log.debug("({}) timed out {!r}".format(self.pid, conn_state[0]))
        except _TLS_ERRORS as error:
            conn_state[1].close()
            self.log.debug("({}) TLS failed {!r}: {}".format(self.pid, conn_state[0], error))

    def log_message(self, message):
        raise AttributeError("Server.log_message is gone; use Server.log.info")


def socket_repr(sock):
    """A listening socket's address for the log, like a URL."""
    scheme = "https" if hasattr(sock, "do_handshake") else "http"
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        return "{}://{}:{}".format(scheme, *name)
    if sock.family == socket.AF_INET6:
        return "{}://[{}]:{}".format(scheme, *name[:2])
    return "{}:{}".format(scheme, name if sock.family == socket.AF_UNIX else repr(name))


def server(sock, site, log=None, environ=None, max_size=None, max_http_version=DEFAULT_MAX_HTTP_VERSION,
           protocol=HttpProtocol, server_event=None, minimum_chunk_size=None, log_x_forwarded_for=True,
           custom_pool=None, keepalive=True, log_output=True, log_format=DEFAULT_LOG_FORMAT,
           url_length_limit=MAX_REQUEST_LINE, debug=True, socket_timeout=None, capitalize_response_headers=True):
    """Serves the WSGI application ``site`` on the listening socket ``sock``, until it is killed or ``is_accepting`` is
    False.

    Then idle connections are closed, those with a request get their response, and ``sock`` is closed; a duplicate of it
    stays open. That takes as long as the requests do, also if the green thread of the server is killed.

    log: a logger, or a file to write lines to; stderr if it is None.
    environ: a dict that goes into the environ of every request.
    max_size: how many connections are served at a time, 1024 if None; the others wait to be accepted.
    max_http_version: "HTTP/1.0" for applications or clients that do not get along with HTTP/1.1.
    protocol: a subclass of HttpProtocol.
    server_event: an Event that the Server is sent to.
    minimum_chunk_size: an application's small pieces are gathered up to so many bytes; a request's
        environ['eventlet.minimum_write_chunk_size'] goes before it.
    log_x_forwarded_for: whether the log's client_ip names the hosts of X-Forwarded-For too.
    custom_pool: a GreenPool to serve connections in; max_size does not count then.
    keepalive: False closes each connection after one request; a number is how many seconds it may wait for the next.
    log_output: whether to log at all.
    log_format: of a request's line; with client_ip, client_port, date_time, request_line, status_code, body_length (the
        response's bytes, head included) and wall_seconds.
    url_length_limit: a request line of so many bytes gets a 414.
    debug: whether a client is shown the traceback of a 500, and the log what happens to connections.
    socket_timeout: seconds that a client may keep us waiting in one operation; None is for ever.
    capitalize_response_headers: whether x-header-name becomes X-Header-Name.
    """
    serv = Server(
        sock, sock.getsockname(), site, log, environ=environ, max_http_version=max_http_version, protocol=protocol,
        minimum_chunk_size=minimum_chunk_size, log_x_forwarded_for=log_x_forwarded_for, keepalive=keepalive,
        log_output=log_output, log_format=log_format, url_length_limit=url_length_limit, debug=debug,
        socket_timeout=socket_timeout, capitalize_response_headers=capitalize_response_headers)
    if server_event is not None:
        server_event.send(serv)
    pool = custom_pool
    if pool is None:
        pool = eventlet.GreenPool(DEFAULT_MAX_SIMULTANEOUS_REQUESTS if max_size is None else max_size)
    if not (hasattr(pool, "spawn") and hasattr(pool, "waitall")):
        raise AttributeError("eventlet.wsgi.server needs a pool with the methods spawn and waitall, like GreenPool")

    # By identity: all clients of a Unix socket have the same address.
    connections = {}

    def clean_up(_, connection):
        connections.pop(id(connection), None)
        connection[2] = STATE_CLOSE
        greenio.shutdown_safe(connection[1])
        connection[1].close()

    try:
        serv.log.info("({}) wsgi starting up on {}".format(serv.pid, socket_repr(sock)))
        while is_accepting:
            try:
                accepted = _accept(sock, serv)
                if accepted is None:
                    continue
                client, address = accepted
                client.settimeout(serv.socket_timeout)
                serv.log.debug("({}) accepted {!r}".format(serv.pid, address))
                connection = [address, client, STATE_IDLE]
                connections[id(connection)] = connection
                pool.spawn(serv.process_request, connection).link(clean_up, connection)
            except (KeyboardInterrupt, SystemExit):
                serv.log.info("wsgi exiting")
                break
    finally:
        for connection in list(connections.values()):
            was_idle = connection[2] == STATE_IDLE
            connection[2] = STATE_CLOSE
            if was_idle:
                greenio.shutdown_safe(connection[1])
        pool.waitall()
        serv.log.info("({}) wsgi exited, is_accepting={}".format(serv.pid, is_accepting))
        try:
            sock.close()
        except OSError as error:
            if support.get_errno(error) not in BROKEN_SOCK:
                traceback.print_exc()


def _accept(sock, serv):
    """The next connection, or None if that one failed and the listening socket is still good."""
    try:
        return sock.accept()
    except ACCEPT_EXCEPTIONS as error:
        number = support.get_errno(error)
        if number in EXHAUSTED_ERRNO:
            serv.log.error("({}) cannot accept for now: {}".format(serv.pid, error))
            eventlet.sleep(EXHAUSTED_PAUSE)
        elif number in ACCEPT_ERRNO and sock.fileno() >= 0:
            serv.log.debug("({}) a connection failed before it was accepted: {}".format(serv.pid, error))
            eventlet.sleep(0)
        else:
            raise
        return None
