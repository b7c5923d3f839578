from collections.abc import Callable, Sequence
from typing import Any, ClassVar

_Buffer = bytes | bytearray | memoryview

PROPERTY_CLASSES: dict[int, Callable[[_Buffer, int], tuple[dict[str, Any], int]]]

def loads(format: str, buf: _Buffer, offset: int) -> tuple[list[Any], int]: ...
def dumps(format: str, values: Sequence[Any]) -> bytes: ...
def decode_properties_basic(buf: _Buffer, offset: int) -> tuple[dict[str, Any], int]: ...

class GenericContent:
    CLASS_ID: ClassVar[int | None]
    PROPERTIES: ClassVar[list[tuple[str, str]]]
    frame_method: tuple[int, int] | None
    frame_args: Any
    properties: dict[str, Any]
    body_received: int
    body_size: int
    ready: bool
    def __init__(
        self, frame_method: tuple[int, int] | None = None, frame_args: Any = None, **props: Any
    ) -> None: ...
    # A property is an attribute too.
    def __getattr__(self, name: str) -> Any: ...
    def inbound_header(self, buf: _Buffer, offset: int = 0) -> int: ...
    def inbound_body(self, buf: bytes) -> None: ...
