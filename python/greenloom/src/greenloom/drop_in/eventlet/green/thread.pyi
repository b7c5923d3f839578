from _thread import *
from typing import Any

from eventlet.lock import Lock as Lock

# What the module does not export, and what copies of it bring along.
def __getattr__(name: str) -> Any: ...
