from collections.abc import Awaitable
from typing import Any

from eventlet.greenthread import GreenThread

__all__ = ["spawn_for_awaitable"]

def spawn_for_awaitable(coroutine: Awaitable[Any]) -> GreenThread: ...
