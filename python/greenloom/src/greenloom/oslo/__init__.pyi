"""A driver for oslo.messaging, which finds it by the entry point `greenloom`; see docs/oslo.md."""

from typing import Any

# oslo.messaging has no types, and what a driver is called with is its own.
class Driver:
    """Serves `greenloom://` URLs. oslo.messaging makes it, and nobody else need."""

    def __init__(
        self,
        conf: Any,
        url: Any,
        default_exchange: str | None = ...,
        allowed_remote_exmods: list[str] | None = ...,
    ) -> None: ...
    def __getattr__(self, name: str) -> Any: ...

__all__ = ["Driver"]
