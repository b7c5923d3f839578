from collections.abc import Callable
from typing import Any

__all__ = ["Timer", "LocalTimer"]

class Timer:
    seconds: float | None
    called: bool
    scheduled_time: float
    tpl: Any
    @property
    def pending(self) -> bool: ...
    def __init__(
        self, seconds: float | None, cb: Callable[..., object], *args: Any, **kw: Any
    ) -> None: ...
    def __call__(self, *args: Any) -> Any: ...
    def schedule(self) -> Timer: ...
    def cancel(self) -> None: ...
    def copy(self) -> Timer: ...

class LocalTimer(Timer):
    greenlet: Any
