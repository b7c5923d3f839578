from collections.abc import Callable, Sequence
from logging import Logger
from types import TracebackType
from typing import Any

from vine import promise
from typing_extensions import Self

from .connection import Connection
from .serialization import GenericContent

__all__ = ("AbstractChannel",)

AMQP_LOGGER: Logger
IGNORED_METHOD_DURING_CHANNEL_CLOSE: str

class AbstractChannel:
    is_closing: bool
    # None once it is closed, which programs rarely ask.
    connection: Connection | Any
    channel_id: int | Any
    method_queue: list[Any]
    auto_decode: bool
    on_open: promise
    def __init__(self, connection: Connection, channel_id: int) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def then(self, on_success: Callable[..., object], on_error: Callable[..., object] | None = None) -> promise: ...
    def close(self) -> Any: ...
    def send_method(
        self,
        sig: tuple[int, int],
        format: str | None = None,
        args: Sequence[Any] | None = None,
        content: GenericContent | None = None,
        wait: tuple[int, int] | list[tuple[int, int]] | None = None,
        callback: Callable[..., object] | None = None,
        returns_tuple: bool = False,
    ) -> Any: ...
    def wait(
        self,
        method: tuple[int, int] | list[tuple[int, int]],
        callback: Callable[..., object] | None = None,
        timeout: float | None = None,
        returns_tuple: bool = False,
    ) -> Any: ...
    def dispatch_method(self, method_sig: tuple[int, int], payload: bytes, content: GenericContent | None) -> None: ...
