from typing import Any

from eventlet.hubs import hub

select: Any

def is_available() -> bool: ...

class Hub(hub.BaseHub):
    def register(self, fileno: int) -> None: ...
    def do_poll(self, seconds: float) -> Any: ...
