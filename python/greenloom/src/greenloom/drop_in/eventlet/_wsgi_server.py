"""The server: what connections have in common, and the loop that accepts them."""

import contextlib
import os
import sys
import traceback
import warnings

import eventlet
from eventlet import greenio
from eventlet import support
from eventlet._wsgi_base import (
    CONNECTION_CONSTANTS, CONNECTION_KEYS, DEFAULT_LOG_FORMAT, DEFAULT_MAX_HTTP_VERSION, MAX_REQUEST_LINE, STATE_CLOSE,
    STATE_IDLE, ssl)
from eventlet._wsgi_log import LoggerNull
from eventlet._wsgi_protocol import HttpProtocol
from eventlet._wsgi_response import FileWrapper
from eventlet.green import BaseHTTPServer
from eventlet.green import socket
from greenloom import _native

_REQUEST_KEYS = ("REQUEST_METHOD", "RAW_PATH_INFO", "PATH_INFO", "CONTENT_TYPE", "headers_raw", "wsgi.input",
                 "eventlet.input", "eventlet.posthooks")
_TLS_ERRORS = () if ssl is None else (ssl.SSLError,)


class Server(BaseHTTPServer.HTTPServer):
    """What the connections of one listening socket have in common. :func:`server` makes one."""

    _base = None
    _service = None

    def __init__(self, socket, address, app, log=None, environ=None, max_http_version=None, protocol=HttpProtocol,
                 minimum_chunk_size=None, log_x_forwarded_for=True, keepalive=True, log_output=True,
                 log_format=DEFAULT_LOG_FORMAT, url_length_limit=MAX_REQUEST_LINE, debug=True, socket_timeout=None,
                 capitalize_response_headers=True):
        self._service = _native.HttpService(self)
        self.socket = socket
        self.address = address
        self.log = eventlet.wsgi.get_logger(log, debug) if log_output else LoggerNull()
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

    # The native loop reads what is set here once, and again after an assignment.

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self._forget_settings()

    def __delattr__(self, name):
        super().__delattr__(name)
        self._forget_settings()

    def _forget_settings(self):
        if self._service is not None:
            self._service.forget_settings()

    @property
    def outstanding_requests(self):
        """How many requests are being answered."""
        return self._service.outstanding

    @outstanding_requests.setter
    def outstanding_requests(self, number):
        self._service.outstanding = number

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
        self._service.keeps_base = type(self).get_environ is Server.get_environ
        if (base is None or self.environ is not None or base["wsgi.errors"] is not sys.stderr
                or type(self).get_environ is not Server.get_environ):
            base = dict.fromkeys(CONNECTION_KEYS + _REQUEST_KEYS)
            base.update(CONNECTION_CONSTANTS)
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
        """Raises AttributeError: use ``Server.log.info``."""
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
    """Serves the WSGI application ``site`` on the listening socket ``sock``.

    It ends when its green thread is killed or ``wsgi.is_accepting`` is False.

    Then idle connections are closed, those with a request get their response, and ``sock`` is closed; a duplicate of it
    stays open. That takes as long as the requests do, also if the green thread of the server is killed.

    :param log: a logger, or a file to write lines to; stderr if it is None
    :param environ: a dict that goes into the environ of every request
    :param max_size: how many connections are served at a time, 1024 if None; the others wait to be accepted
    :param max_http_version: "HTTP/1.0" for applications or clients that do not get along with HTTP/1.1
    :param protocol: a subclass of :class:`HttpProtocol`
    :param server_event: an Event that the :class:`Server` is sent to
    :param minimum_chunk_size: an application's small pieces are gathered up to so many bytes; a request's
        environ['eventlet.minimum_write_chunk_size'] goes before it
    :param log_x_forwarded_for: whether the log's client_ip names the hosts of X-Forwarded-For too
    :param custom_pool: a GreenPool to serve connections in; max_size does not count then
    :param keepalive: False closes each connection after one request; a number is how many seconds it may wait for the
        next
    :param log_output: whether to log at all
    :param log_format: of a request's line; with client_ip, client_port, date_time, request_line, status_code,
        body_length (the response's bytes, head included) and wall_seconds
    :param url_length_limit: a request line of so many bytes gets a 414
    :param debug: whether a client is shown the traceback of an application that failed, and the log what happens to
        connections
    :param socket_timeout: seconds that a client may keep us waiting in one operation; None is for ever
    :param capitalize_response_headers: whether x-header-name becomes X-Header-Name
    """
    serv = eventlet.wsgi.Server(
        sock, sock.getsockname(), site, log, environ=environ, max_http_version=max_http_version, protocol=protocol,
        minimum_chunk_size=minimum_chunk_size, log_x_forwarded_for=log_x_forwarded_for, keepalive=keepalive,
        log_output=log_output, log_format=log_format, url_length_limit=url_length_limit, debug=debug,
        socket_timeout=socket_timeout, capitalize_response_headers=capitalize_response_headers)
    if server_event is not None:
        server_event.send(serv)
    pool = custom_pool
    if pool is None:
        pool = eventlet.GreenPool(eventlet.wsgi.DEFAULT_MAX_SIMULTANEOUS_REQUESTS if max_size is None else max_size)
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
        while eventlet.wsgi.is_accepting:
            try:
                accepted = _accept(sock, serv)
                if accepted is None:
                    continue
                client, address = accepted
                client.settimeout(serv.socket_timeout)
                _tell(serv.log.debug, "({}) accepted {!r}".format(serv.pid, address))
                connection = [address, client, STATE_IDLE]
                connections[id(connection)] = connection
                pool.spawn(serv.process_request, connection).link(clean_up, connection)
            except (KeyboardInterrupt, SystemExit):
                _tell(serv.log.info, "wsgi exiting")
                break
    finally:
        for connection in list(connections.values()):
            was_idle = connection[2] == STATE_IDLE
            connection[2] = STATE_CLOSE
            if was_idle:
                greenio.shutdown_safe(connection[1])
        pool.waitall()
        _tell(serv.log.info, "({}) wsgi exited, is_accepting={}".format(serv.pid, eventlet.wsgi.is_accepting))
        try:
            sock.close()
        except OSError as error:
            if support.get_errno(error) not in eventlet.wsgi.BROKEN_SOCK:
                traceback.print_exc()


def _tell(write, message):
    """Logs what happened to the server. A log that fails by then, its disk full, is no reason to end it."""
    try:
        write(message)
    except Exception:
        # The log may be standard error itself.
        with contextlib.suppress(Exception):
            traceback.print_exc()


def _accept(sock, serv):
    """The next connection, or None if that one failed and the listening socket is still good."""
    try:
        return sock.accept()
    except eventlet.wsgi.ACCEPT_EXCEPTIONS as error:
        number = support.get_errno(error)
        if number in eventlet.wsgi.EXHAUSTED_ERRNO:
            _tell(serv.log.error, "({}) cannot accept for now: {}".format(serv.pid, error))
            eventlet.sleep(eventlet.wsgi.EXHAUSTED_PAUSE)
        elif number in eventlet.wsgi.ACCEPT_ERRNO and sock.fileno() >= 0:
            _tell(serv.log.debug, "({}) a connection failed before it was accepted: {}".format(serv.pid, error))
            eventlet.sleep(0)
        else:
            raise
        return None
