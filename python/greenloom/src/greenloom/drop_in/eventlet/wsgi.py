"""A WSGI server: each connection is a green thread, requests and response heads are read and made natively.

:func:`server` is all that most programs need. :class:`HttpProtocol` may be subclassed. As long as none of its methods
is overridden, a native loop serves a connection and calls methods for what is rare; if none that reads requests is, a
short loop over the native functions; else the methods that stock eventlet has, one for each step.

Requests that a proxy could read differently are refused: a length beside chunks, repeated or malformed lengths, folded
or bare lines, unknown codings, a malformed Host. ``HttpProtocol.reject_bad_requests = False`` lets bare line feeds and
both lengths pass; ``HttpProtocol.strict = True`` refuses requests of HTTP/1.1 without a Host too, and names of an
application's headers that are not ASCII.
"""

# Where what is: _wsgi_server has the options of `server` and the loop that accepts; _wsgi_protocol reads requests in
# the way that may be overridden, _wsgi_native in the short way; _wsgi_input is the request's body; _wsgi_answer calls
# the application, _wsgi_response is what it writes; _wsgi_log, and _wsgi_base with what all of them share.
# What a program may set here they read as `eventlet.wsgi.NAME` when they need it; none of them imports this module.
from eventlet._wsgi_base import (
    ACCEPT_ERRNO,
    ACCEPT_EXCEPTIONS,
    BAD_SOCK,
    BROKEN_SOCK,
    DEFAULT_LOG_FORMAT,
    DEFAULT_MAX_HTTP_VERSION,
    DEFAULT_MAX_SIMULTANEOUS_REQUESTS,
    EXHAUSTED_ERRNO,
    EXHAUSTED_PAUSE,
    HeaderLineTooLong,
    HeadersTooLarge,
    LINGER_SECONDS,
    MAX_HEADER_LINE,
    MAX_REQUEST_LINE,
    MAX_TOTAL_HEADER_SIZE,
    MINIMUM_CHUNK_SIZE,
    RESPONSE_414,
    STATE_CLOSE,
    STATE_IDLE,
    STATE_REQUEST,
    WSGI_LOCAL,
    _encode_header_line,
    addr_to_host_port,
    format_date_time,
    is_accepting,
    ssl,
)
from eventlet._wsgi_input import ChunkReadError, Input
from eventlet._wsgi_log import LoggerFileWrapper, LoggerNull, get_logger
from eventlet._wsgi_protocol import FileObjectForHeaders, HttpProtocol
from eventlet._wsgi_response import FileWrapper
from eventlet._wsgi_server import Server, server, socket_repr
# Users of stock's module find these in it.
from eventlet import greenio, support
from eventlet.corolocal import local
from eventlet.green import BaseHTTPServer, socket

from eventlet._wsgi_response import Response as _Response
from greenloom import _native as _native

__all__ = ["server", "format_date_time"]

_native._set_http_classes(Input, _Response, LoggerFileWrapper, Server.__setattr__, Server.__delattr__)
