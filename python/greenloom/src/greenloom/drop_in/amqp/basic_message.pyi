from typing import Any

from .channel import Channel
from .serialization import GenericContent

__all__ = ("Message",)

class Message(GenericContent):
    # A string or bytes, as it was given or came.
    body: Any
    # None where nobody gave one, which a callback need not ask.
    channel: Channel | Any
    delivery_info: dict[str, Any]
    def __init__(
        self,
        body: str | bytes = "",
        children: Any = None,
        channel: Channel | None = None,
        *,
        frame_method: tuple[int, int] | None = None,
        frame_args: bytes | None = None,
        **properties: Any,
    ) -> None: ...
    @property
    def headers(self) -> dict[str, Any] | None: ...
    @property
    def delivery_tag(self) -> int: ...
