from collections.abc import Callable

from eventlet.hubs import hub

def is_available() -> bool: ...

class Hub(hub.BaseHub):
    def __init__(self, clock: Callable[[], float] | None = None) -> None: ...
