"""What a check reports."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One broken rule. `path` is relative to the root of the tree, `line` counts from 1, and 0 means the whole file."""

    check: str
    path: str
    line: int
    message: str

    def __str__(self):
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"
