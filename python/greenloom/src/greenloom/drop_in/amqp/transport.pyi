import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from socket import socket
from typing import Any

AMQP_PORT: int
EMPTY_BUFFER: bytes
SIGNED_INT_MAX: int
AMQP_PROTOCOL_HEADER: bytes
IPV6_LITERAL: re.Pattern[str]
DEFAULT_SOCKET_SETTINGS: dict[str, int]

def to_host_port(host: str, default: int = 5672) -> tuple[str, int]: ...

class _AbstractTransport:
    # None while it is not connected, which programs rarely ask.
    sock: socket | Any
    connected: bool
    raise_on_initial_eintr: bool
    host: str
    port: int
    connect_timeout: float | None
    read_timeout: float | None
    write_timeout: float | None
    socket_settings: Mapping[int, int] | None
    def __init__(
        self,
        host: str,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        socket_settings: Mapping[int, int] | None = None,
        raise_on_initial_eintr: bool = True,
        **kwargs: Any,
    ) -> None: ...
    def connect(self) -> None: ...
    def having_timeout(self, timeout: float | None) -> AbstractContextManager[socket]: ...
    def close(self) -> None: ...
    def read_frame(self) -> tuple[int, int, bytes]: ...
    def fill(self, stream: Any, timeout: float | None) -> None: ...
    def is_idle(self, stream: Any) -> bool: ...
    def write(self, s: bytes | memoryview) -> None: ...

class _SocketTransport(_AbstractTransport): ...

class SSLTransport(_SocketTransport):
    sslopts: Mapping[str, Any]
    def __init__(
        self,
        host: str,
        connect_timeout: float | None = None,
        ssl: bool | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None: ...

class TCPTransport(_SocketTransport): ...

def Transport(
    host: str, connect_timeout: float | None = None, ssl: bool | Mapping[str, Any] = False, **kwargs: Any
) -> SSLTransport | TCPTransport: ...
