from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

_T = TypeVar("_T")

__all__ = ["Timeout", "with_timeout", "wrap_is_timeout", "is_timeout"]

class Timeout(BaseException):
    is_timeout: bool
    seconds: float | None
    exception: BaseException | type[BaseException] | bool | None
    timer: Any
    def __init__(
        self, seconds: float | None = None, exception: BaseException | type[BaseException] | bool | None = None
    ) -> None: ...
    def start(self) -> None: ...
    @property
    def pending(self) -> bool: ...
    def cancel(self) -> None: ...
    def __enter__(self) -> Timeout: ...
    # With `exception=False` the block just ends: nothing can be said about what follows it.
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

def with_timeout(
    seconds: float | None, function: Callable[..., Any], *args: Any, timeout_value: Any = ..., **kwargs: Any
) -> Any: ...
def wrap_is_timeout(base: _T) -> _T: ...
def is_timeout(obj: object) -> bool: ...
