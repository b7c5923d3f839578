from typing import Any

from .connection import Connection

class SASL:
    # A property here; an attribute of those that derive from it.
    mechanism: Any
    def start(self, connection: Connection) -> Any: ...

class _NameAndPassword(SASL):
    username: str | None
    password: str | None
    def __init__(self, username: str | None, password: str | None) -> None: ...

class PLAIN(_NameAndPassword):
    mechanism: bytes

class AMQPLAIN(_NameAndPassword):
    mechanism: bytes

class GSSAPI(SASL):
    mechanism: bytes | None
    def __init__(
        self,
        client_name: str | bytes | None = None,
        service: bytes = b"amqp",
        rdns: bool = False,
        fail_soft: bool = False,
    ) -> None: ...

class EXTERNAL(SASL):
    mechanism: bytes

class RAW(SASL):
    mechanism: bytes
    response: bytes
    def __init__(self, mechanism: bytes, response: bytes) -> None: ...
