import io
import socket
from typing import Any

__all__ = ["_fileobject", "GreenPipe"]

_fileobject = socket.SocketIO

class GreenFileIO(io.RawIOBase):
    name: Any
    @property
    def mode(self) -> str: ...
    @property
    def closefd(self) -> bool: ...
    def __init__(
        self, name: Any, mode: str = "r", closefd: bool = True, opener: Any = None, *, obeys: bool = False
    ) -> None: ...

def GreenPipe(
    name: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any: ...
