"""Green threads for Python: Greenloom's drop-in for the ``eventlet`` package.

A green thread is a function that runs beside others in one OS thread and gives way to them whenever it waits: for a
socket, a queue, an event, some seconds. Code reads as if it blocked.

>>> import eventlet
>>> thread = eventlet.spawn(lambda: 6 * 7)
>>> thread.wait()
42

The names and their meaning are those of eventlet 0.41; see Greenloom's documentation for what is different.
"""

import greenlet
from greenlet import getcurrent

from eventlet import convenience, event, greenpool, greenthread, patcher, queue, semaphore, support, timeout
from eventlet._version import __version__

#: Tells that this is not the stock package.
__greenloom__ = True

connect = convenience.connect
listen = convenience.listen
serve = convenience.serve
StopServe = convenience.StopServe
wrap_ssl = convenience.wrap_ssl

Event = event.Event

GreenPool = greenpool.GreenPool
GreenPile = greenpool.GreenPile

sleep = greenthread.sleep
spawn = greenthread.spawn
spawn_n = greenthread.spawn_n
spawn_after = greenthread.spawn_after
kill = greenthread.kill

import_patched = patcher.import_patched
monkey_patch = patcher.monkey_patch

Queue = queue.Queue

Semaphore = semaphore.Semaphore
CappedSemaphore = semaphore.CappedSemaphore
BoundedSemaphore = semaphore.BoundedSemaphore

Timeout = timeout.Timeout
with_timeout = timeout.with_timeout
wrap_is_timeout = timeout.wrap_is_timeout
is_timeout = timeout.is_timeout

# Old names, which warn of their age.
TimeoutError = support.wrap_deprecated("TimeoutError", "Timeout")(Timeout)
exc_after = support.wrap_deprecated("exc_after", "greenthread.exc_after")(greenthread.exc_after)
call_after_global = support.wrap_deprecated("call_after_global", "greenthread.call_after_global")(
    greenthread.call_after_global
)


class EventletDeprecationWarning(Warning):
    """For programs that filter it. Greenloom's eventlet is kept, and never warns of its end."""
