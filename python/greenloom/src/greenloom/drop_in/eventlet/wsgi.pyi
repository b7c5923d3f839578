from collections.abc import Callable, Iterable, Iterator, MutableMapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import socket as _Socket
from typing import Any, TypeAlias

from eventlet import greenio as greenio, support as support
from eventlet.corolocal import local as local
from eventlet.green import BaseHTTPServer as BaseHTTPServer, socket as socket
from eventlet.greenpool import GreenPool

__all__ = ["server", "format_date_time"]

# An application by PEP 3333; frameworks' own types of environ and start_response fit too.
_Application: TypeAlias = Callable[[Any, Any], Iterable[bytes]]

DEFAULT_MAX_SIMULTANEOUS_REQUESTS: int
DEFAULT_MAX_HTTP_VERSION: str
DEFAULT_LOG_FORMAT: str
MAX_REQUEST_LINE: int
MAX_HEADER_LINE: int
MAX_TOTAL_HEADER_SIZE: int
MINIMUM_CHUNK_SIZE: int
STATE_IDLE: str
STATE_REQUEST: str
STATE_CLOSE: str
BAD_SOCK: set[int]
BROKEN_SOCK: set[int]
ACCEPT_ERRNO: set[int]
ACCEPT_EXCEPTIONS: tuple[type[Exception], ...]
RESPONSE_414: bytes
is_accepting: bool

class _Local(local):
    already_handled: bool

WSGI_LOCAL: _Local

class ChunkReadError(ValueError): ...
class HeaderLineTooLong(Exception): ...
class HeadersTooLarge(Exception): ...

class Input:
    def __init__(
        self,
        rfile: Any,
        content_length: int | None,
        sock: Any,
        wfile: Any = None,
        wfile_line: bytes | None = None,
        chunked_input: bool = False,
    ) -> None: ...
    def read(self, length: int | None = None) -> bytes: ...
    def readline(self, size: int | None = None) -> bytes: ...
    def readlines(self, hint: int | None = None) -> list[bytes]: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def get_socket(self) -> Any: ...
    def discard(self, buffer_size: int = ...) -> None: ...
    def set_hundred_continue_response_headers(
        self, headers: Iterable[tuple[str, str]], capitalize_response_headers: bool = True
    ) -> None: ...
    def send_hundred_continue_response(self) -> None: ...

class FileWrapper:
    def __init__(self, filelike: Any, blksize: int = ...) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...

class FileObjectForHeaders:
    def __init__(self, fp: Any) -> None: ...
    def readline(self, size: int = -1) -> bytes: ...

class LoggerNull:
    def error(self, msg: str, *args: Any, **kwargs: Any) -> None: ...
    def info(self, msg: str, *args: Any, **kwargs: Any) -> None: ...
    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None: ...
    def write(self, msg: str, *args: Any) -> None: ...

class LoggerFileWrapper(LoggerNull):
    def __init__(self, log: Any, debug: bool) -> None: ...

class HttpProtocol(BaseHTTPRequestHandler):
    minimum_chunk_size: int
    capitalize_response_headers: bool
    reject_bad_requests: bool
    strict: bool
    conn_state: Any
    environ: MutableMapping[str, Any]
    def __init__(self, conn_state: Any, server: Any) -> None: ...
    def handle_one_response(self) -> None: ...
    def get_client_address(self) -> tuple[str, str]: ...
    def get_environ(self) -> dict[str, Any]: ...
    def formalize_key_naming(self, k: str) -> str | None: ...

class Server(HTTPServer):
    app: _Application
    def __init__(
        self,
        socket: _Socket,
        address: Any,
        app: _Application,
        log: Any = None,
        environ: MutableMapping[str, Any] | None = None,
        max_http_version: str | None = None,
        protocol: type[HttpProtocol] = ...,
        minimum_chunk_size: int | None = None,
        log_x_forwarded_for: bool = True,
        keepalive: bool = True,
        log_output: bool = True,
        log_format: str = ...,
        url_length_limit: int = ...,
        debug: bool = True,
        socket_timeout: float | None = None,
        capitalize_response_headers: bool = True,
    ) -> None: ...
    def get_environ(self) -> dict[str, Any]: ...
    def process_request(self, conn_state: Any) -> None: ...  # type: ignore[override]
    def log_message(self, message: str) -> None: ...

def format_date_time(timestamp: float) -> str: ...
def addr_to_host_port(addr: Any) -> tuple[str, str]: ...
def get_logger(log: Any, debug: bool) -> Any: ...
def socket_repr(sock: Any) -> str: ...
def server(
    sock: Any,
    site: _Application,
    log: Any = None,
    environ: MutableMapping[str, Any] | None = None,
    max_size: int | None = None,
    max_http_version: str = ...,
    protocol: type[HttpProtocol] = ...,
    server_event: Any = None,
    minimum_chunk_size: int | None = None,
    log_x_forwarded_for: bool = True,
    custom_pool: GreenPool | None = None,
    keepalive: bool = True,
    log_output: bool = True,
    log_format: str = ...,
    url_length_limit: int = ...,
    debug: bool = True,
    socket_timeout: float | None = None,
    capitalize_response_headers: bool = True,
) -> None: ...
