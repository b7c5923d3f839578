from select import *
from typing import Any

def get_fileno(obj: Any) -> int: ...

# What the module does not export, and what copies of it bring along.
def __getattr__(name: str) -> Any: ...
