from collections.abc import Callable
from typing import TypeVar

_F = TypeVar("_F")

PY33: bool

def get_errno(exc: BaseException) -> int | None: ...
def bytes_to_str(b: bytes, encoding: str = "ascii") -> str: ...
def wrap_deprecated(old: str, new: str) -> Callable[[_F], _F]: ...
