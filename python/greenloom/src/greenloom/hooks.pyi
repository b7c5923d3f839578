from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Library", "install", "report", "uninstall"]

class Library(NamedTuple):
    path: str
    calls: tuple[str, ...]
    refused: str | None

def install(names: Iterable[str] | None = None) -> None: ...
def uninstall() -> None: ...
def report() -> list[Library]: ...
