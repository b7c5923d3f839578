from eventlet.semaphore import Semaphore

__all__ = ["Lock"]

class Lock(Semaphore):
    def __init__(self) -> None: ...
    def __enter__(self) -> bool: ...
