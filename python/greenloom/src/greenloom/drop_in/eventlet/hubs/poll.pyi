from typing import Any

from eventlet.hubs import epolls

select: Any

def is_available() -> bool: ...

class Hub(epolls.Hub): ...
