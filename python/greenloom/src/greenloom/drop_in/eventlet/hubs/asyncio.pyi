from typing import Any

from eventlet.hubs import hub

def is_available() -> bool: ...

class Hub(hub.BaseHub):
    loop: Any
