from fcntl import *
from typing import Any

# What the module does not export, and what copies of it bring along.
def __getattr__(name: str) -> Any: ...
