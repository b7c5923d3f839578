"""Green threads: starting, ending and waiting for them.

What is called often is native: see the functions' own documentation.
"""

import warnings

from greenlet import getcurrent, greenlet
from greenloom._native import GreenThread, _set_mains, kill, sleep, spawn, spawn_after, spawn_n

from eventlet import hubs, support, timeout
from eventlet.hubs import timer

__all__ = ["getcurrent", "sleep", "spawn", "spawn_n", "kill", "spawn_after", "spawn_after_local", "GreenThread"]


def _mains():
    """What calls the function of a green thread: the frame at its base. For no argument, for one, two and three; for
    more; for arguments by name. The small numbers have functions of their own because that is faster.
    """
    mains = []

    @mains.append
    def main(function):
        return function()

    @mains.append
    def main(function, first):
        return function(first)

    @mains.append
    def main(function, first, second):
        return function(first, second)

    @mains.append
    def main(function, first, second, third):
        return function(first, second, third)

    @mains.append
    def main(function, args):
        return function(*args)

    @mains.append
    def main(function, args, kwargs):
        return function(*args, **kwargs)

    return mains


_set_mains(*_mains())


def spawn_after_local(seconds, func, *args, **kwargs):
    """As :func:`spawn_after`, but the function is not called if the green thread that called this has ended by then.

    :param seconds: how long to wait, a number
    :returns: the :class:`GreenThread`
    """
    hub = hubs.get_hub()
    green_thread = GreenThread(hub.greenlet)
    hub.schedule_call_local(seconds, green_thread.switch, func, args, kwargs)
    return green_thread


def cancel(g, *throw_args):
    """As :func:`kill`, but only if the green thread has not begun."""
    if not g:
        kill(g, *throw_args)


# Old names, which warn of their age.


def call_after_global(seconds, func, *args, **kwargs):
    """An old name of :func:`spawn_after`; returns the timer."""
    _warn("call_after_global", "spawn_after")
    hub = hubs.get_hub()
    return hub.schedule_call_global(seconds, greenlet(func, hub.greenlet).switch, *args, **kwargs)


def call_after_local(seconds, function, *args, **kwargs):
    """An old name of :func:`spawn_after_local`; returns the timer."""
    _warn("call_after_local", "spawn_after_local")
    hub = hubs.get_hub()
    return hub.schedule_call_local(seconds, greenlet(function, hub.greenlet).switch, *args, **kwargs)


call_after = call_after_local


def exc_after(seconds, *throw_args):
    """An old form of :class:`eventlet.timeout.Timeout`; returns the timer."""
    _warn("exc_after", "Timeout(seconds, exception)")
    if seconds is None:
        return timer.Timer(seconds, lambda: None)
    return hubs.get_hub().schedule_call_local(seconds, getcurrent().throw, *throw_args)


TimeoutError = support.wrap_deprecated("greenthread.TimeoutError", "Timeout")(timeout.Timeout)
with_timeout = support.wrap_deprecated("greenthread.with_timeout", "with_timeout")(timeout.with_timeout)


def _warn(old, new):
    warnings.warn(f"greenthread.{old} is an old name: use {new}", DeprecationWarning, stacklevel=3)
