from collections.abc import Callable
from typing import Any

from .basic_message import Message
from .connection import Connection
from .transport import _AbstractTransport

__all__ = ("frame_handler", "frame_writer")

LIMIT: int

def frame_handler(
    connection: Connection, callback: Callable[[int, tuple[int, int], bytes, Message | None], object]
) -> Callable[[tuple[int, int, bytes]], bool]: ...
def frame_writer(connection: Connection, transport: _AbstractTransport) -> Callable[..., None]: ...
