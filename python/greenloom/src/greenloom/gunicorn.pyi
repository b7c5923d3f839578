from gunicorn.workers.base_async import AsyncWorker

__all__ = ["EventletWorker"]

REFUSED_PAUSE: float

class EventletWorker(AsyncWorker): ...
