from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from eventlet.pools import Pool

__all__ = [
    "BaseConnectionPool",
    "ConnectTimeout",
    "ConnectionPool",
    "DatabaseConnector",
    "GenericConnectionWrapper",
    "PooledConnectionWrapper",
    "RawConnectionPool",
    "TpooledConnectionPool",
    "cleanup_rollback",
]

class ConnectTimeout(Exception): ...

def cleanup_rollback(conn: Any) -> None: ...

class BaseConnectionPool(Pool):
    def __init__(
        self,
        db_module: Any,
        min_size: int = 0,
        max_size: int = 4,
        max_idle: float = 10,
        max_age: float = 30,
        connect_timeout: float = 5,
        cleanup: Callable[..., object] | None = ...,
        *args: Any,
        **kwargs: Any,
    ) -> None: ...
    @classmethod
    def connect(cls, db_module: Any, connect_timeout: float, *args: Any, **kw: Any) -> Any: ...
    def put(self, conn: Any, cleanup: Callable[..., object] | None = ...) -> None: ...
    def item(self, cleanup: Callable[..., object] | None = ...) -> AbstractContextManager[Any]: ...
    def clear(self) -> None: ...

class TpooledConnectionPool(BaseConnectionPool): ...
class RawConnectionPool(BaseConnectionPool): ...

ConnectionPool = TpooledConnectionPool

class GenericConnectionWrapper:
    def __init__(self, baseconn: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...
    def __delattr__(self, name: str) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, exc: Any, value: Any, tb: Any) -> Any: ...

class PooledConnectionWrapper(GenericConnectionWrapper):
    def __init__(self, baseconn: Any, pool: BaseConnectionPool) -> None: ...
    def __bool__(self) -> bool: ...
    def close(self) -> None: ...

class DatabaseConnector:
    def __init__(
        self,
        module: Any,
        credentials: Any,
        conn_pool: type[BaseConnectionPool] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None: ...
    def credentials_for(self, host: str) -> Any: ...
    def get(self, host: str, dbname: str) -> BaseConnectionPool: ...
