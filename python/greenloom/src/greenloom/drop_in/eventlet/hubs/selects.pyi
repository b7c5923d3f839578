from typing import Any

from eventlet.hubs import hub

select: Any

def is_available() -> bool: ...

class Hub(hub.BaseHub): ...
