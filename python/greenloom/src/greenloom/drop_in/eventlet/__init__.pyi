from typing import Final

from eventlet import (
    convenience as convenience,
    event as event,
    greenpool as greenpool,
    greenthread as greenthread,
    patcher as patcher,
    queue as queue,
    semaphore as semaphore,
    support as support,
    timeout as timeout,
)
from eventlet.convenience import (
    StopServe as StopServe,
    connect as connect,
    listen as listen,
    serve as serve,
    wrap_ssl as wrap_ssl,
)
from eventlet.event import Event as Event
from eventlet.greenpool import GreenPile as GreenPile, GreenPool as GreenPool
from eventlet.greenthread import (
    call_after_global as call_after_global,
    exc_after as exc_after,
    kill as kill,
    sleep as sleep,
    spawn as spawn,
    spawn_after as spawn_after,
    spawn_n as spawn_n,
)
from eventlet.patcher import import_patched as import_patched, monkey_patch as monkey_patch
from eventlet.queue import Queue as Queue
from eventlet.semaphore import (
    BoundedSemaphore as BoundedSemaphore,
    CappedSemaphore as CappedSemaphore,
    Semaphore as Semaphore,
)
from eventlet.timeout import (
    Timeout as Timeout,
    is_timeout as is_timeout,
    with_timeout as with_timeout,
    wrap_is_timeout as wrap_is_timeout,
)
import greenlet as greenlet
from greenlet import getcurrent as getcurrent

__version__: Final[str]
__greenloom__: Final[bool]
TimeoutError = Timeout

class EventletDeprecationWarning(Warning): ...
