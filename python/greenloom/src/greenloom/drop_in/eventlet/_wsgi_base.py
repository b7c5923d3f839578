"""What the parts of ``eventlet.wsgi`` share: limits, states of a connection, errors of sockets, small functions.

Programs assign some of these names in ``eventlet.wsgi``, ``MAX_HEADER_LINE`` say. Whoever uses one looks it up there,
when it is needed.
"""

import email.utils
import errno

from eventlet.corolocal import local
from greenloom import _native

try:
    from eventlet.green import ssl
except ImportError:
    ssl = None

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
# For importers: ours are sent by HttpProtocol.send_error.
RESPONSE_414 = b"HTTP/1.0 414 Request URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

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
# Descriptors or memory are used up, and come back when connections end.
EXHAUSTED_ERRNO = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_PAUSE = 0.1
# How long a client that was refused may go on sending.
LINGER_SECONDS = 1

# What every environ has, and its keys for what a connection has.
CONNECTION_CONSTANTS = {"SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.0", "GATEWAY_INTERFACE": "CGI/1.1"}
CONNECTION_KEYS = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "eventlet.set_idle")
CONTINUE_LINE = b"HTTP/1.1 100 Continue\r\n"


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
