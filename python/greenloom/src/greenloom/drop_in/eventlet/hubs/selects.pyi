from typing import Any

from eventlet.hubs import poll

select: Any

def is_available() -> bool: ...

class Hub(poll.Hub): ...
