"""Timeouts: an exception that is raised in a green thread if it takes too long.

>>> import eventlet
>>> with eventlet.Timeout(0.01, False):
...     eventlet.sleep(1)
...     print("in time")
"""

import builtins
import functools
import inspect

from greenlet import getcurrent
from greenloom import _native

from eventlet import hubs

__all__ = ["Timeout", "with_timeout", "wrap_is_timeout", "is_timeout"]

_MISSING = object()


class Timeout(BaseException):
    """Raises an exception in the green thread that makes it, after *seconds*, unless it is cancelled before.

    It is raised while the green thread waits for something, never in the middle of a computation. As a context manager
    it covers the block. It is a ``BaseException``, so that ``except Exception`` does not swallow it.

    :param seconds: a number; None for a timeout that never fires
    :param exception: what to raise; None or True for the timeout itself, False for the timeout itself, which the
        context manager keeps quiet about
    """

    is_timeout = True

    def __init__(self, seconds=None, exception=None):
        self.seconds = seconds
        self.exception = exception
        self.timer = None
        self.start()

    def start(self):
        """Starts it; it is started when it is made, so this is for one that was cancelled."""
        assert not self.pending, f"{self!r} is already started; to restart it, cancel it first"
        if self.seconds is None:
            self.timer = None
            return self
        own = self.exception is None or isinstance(self.exception, bool)
        raised = self if own else self.exception
        self.timer = hubs.get_hub().schedule_call_global(self.seconds, getcurrent().throw, raised)
        return self

    @property
    def pending(self):
        """Whether it will be raised."""
        return self.timer is not None and self.timer.pending

    def cancel(self):
        """Prevents it from being raised. Does nothing if it was."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def __enter__(self):
        if self.timer is None:
            self.start()
        return self

    __exit__ = _native._timeout_exit

    def __repr__(self):
        pending = " pending" if self.pending else ""
        exception = "" if self.exception is None else f" exception={self.exception!r}"
        return f"<{type(self).__name__} at {id(self):#x} seconds={self.seconds}{exception}{pending}>"

    def __str__(self):
        if self.seconds is None:
            return ""
        text = f"{self.seconds} second" if self.seconds == 1 else f"{self.seconds} seconds"
        if self.exception is None or self.exception is True:
            return text
        return f"{text} (silent)" if self.exception is False else f"{text} ({self.exception})"


def with_timeout(seconds, function, *args, timeout_value=_MISSING, **kwargs):
    """Calls the function with a timeout.

    :param seconds: after how many seconds to give up
    :param timeout_value: what to return then; without it the :class:`Timeout` is raised
    """
    timeout = Timeout(seconds)
    try:
        return function(*args, **kwargs)
    except BaseException as raised:
        # Beneath a C function it may have been raised as an error of that one's library.
        beneath = _native._take_interruption()
        if (beneath or raised) is timeout and timeout_value is not _MISSING:
            return timeout_value
        if beneath:
            raise beneath
        raise
    finally:
        timeout.cancel()


def wrap_is_timeout(base):
    """Sets ``is_timeout = True`` on an exception class, or on what a function that makes exceptions returns."""
    if inspect.isclass(base):
        base.is_timeout = property(lambda _: True)
        return base

    @functools.wraps(base)
    def make(*args, **kwargs):
        exception = base(*args, **kwargs)
        exception.is_timeout = True
        return exception

    return make


def is_timeout(obj):
    """Whether an exception tells of a timeout, of eventlet or of the standard library."""
    return bool(getattr(obj, "is_timeout", False)) or isinstance(obj, builtins.TimeoutError)
