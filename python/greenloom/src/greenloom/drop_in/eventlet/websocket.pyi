from collections.abc import Callable, Iterable
from typing import Any

from eventlet import wsgi as wsgi
from eventlet.support import get_errno as get_errno

__all__ = ["WebSocketWSGI", "WebSocket"]

ACCEPTABLE_CLIENT_ERRORS: set[int]
DEFAULT_MAX_FRAME_LENGTH: int
PROTOCOL_GUID: bytes
VALID_CLOSE_STATUS: set[int]

class BadRequest(Exception):
    status: str
    body: Any
    headers: Any
    def __init__(self, status: str = "400 Bad Request", body: Any = None, headers: Any = None) -> None: ...

class ConnectionClosedError(Exception): ...

class FailedConnectionError(Exception):
    status: int
    message: str
    def __init__(self, status: int, message: str) -> None: ...

class ProtocolError(ValueError): ...

class WebSocket:
    path: str
    protocol: str | None
    origin: str | None
    environ: dict[str, Any]
    socket: Any
    websocket_closed: bool
    log_context: str
    def __init__(self, sock: Any, environ: dict[str, Any], version: int = 76) -> None: ...
    def send(self, message: Any) -> None: ...
    # A str or bytes, and None when the connection has ended: the handler knows which its peer sends.
    def wait(self) -> Any: ...
    def close(self) -> None: ...

class RFC6455WebSocket(WebSocket):
    def __init__(
        self,
        sock: Any,
        environ: dict[str, Any],
        version: int = 13,
        protocol: str | None = None,
        client: bool = False,
        extensions: Any = None,
        max_frame_length: int = ...,
    ) -> None: ...
    def send(self, message: Any, **kw: Any) -> None: ...
    def close(self, close_data: Any = None) -> None: ...

class WebSocketWSGI:
    rfc6455_only: bool
    protocol: str | None
    origin_checker: Callable[[Any], bool] | None
    support_legacy_versions: bool
    supported_protocols: Any
    def __init__(self, handler: Callable[[Any], object], max_frame_length: int = ...) -> None: ...
    @classmethod
    def configured(
        cls,
        handler: Callable[[Any], object] | None = None,
        supported_protocols: Iterable[str] | None = None,
        origin_checker: Callable[[Any], bool] | None = None,
        support_legacy_versions: bool = False,
    ) -> Any: ...
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]: ...
