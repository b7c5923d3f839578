import os
from types import TracebackType
from typing import Self

class trace:
    path: str
    events: int
    recorded: int | None
    dropped: int | None
    def __init__(self, path: str | os.PathLike[str], *, events: int = ...) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
