import socket
from typing import Any

from eventlet.hubs import IOClosed as IOClosed

__all__ = [
    "GreenSocket",
    "_GLOBAL_DEFAULT_TIMEOUT",
    "set_nonblocking",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "shutdown_safe",
    "socket_timeout",
]

BUFFER_SIZE: int
SSL: Any
SOCKET_BLOCKING: set[int]
SOCKET_CLOSED: set[int]
CONNECT_ERR: set[int]
CONNECT_SUCCESS: set[int]
_GLOBAL_DEFAULT_TIMEOUT: Any
socket_timeout = socket.timeout

# Not a subclass, but it stands in for a socket wherever one is asked for.
class GreenSocket(socket.socket):
    fd: Any
    act_non_blocking: bool
    def __init__(self, family: Any = -1, *args: Any, **kwargs: Any) -> None: ...
    def accept(self) -> tuple[GreenSocket, Any]: ...
    def dup(self, *args: Any, **kw: Any) -> GreenSocket: ...
    def makeGreenFile(self, *args: Any, **kw: Any) -> Any: ...

def set_nonblocking(fd: Any) -> None: ...
def shutdown_safe(sock: Any) -> None: ...
def socket_connect(descriptor: Any, address: Any) -> Any: ...
def socket_checkerr(descriptor: Any) -> None: ...
def socket_accept(descriptor: Any) -> Any: ...
