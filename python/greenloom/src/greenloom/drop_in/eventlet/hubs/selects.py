"""A hub for programs that select it by name: that of `poll`, without select's limit of 1024 file descriptors."""

from eventlet import patcher
from eventlet.hubs import poll

select = patcher.original("select")


def is_available():
    """Whether this system has select."""
    return hasattr(select, "select")


class Hub(poll.Hub):
    """Waits as that of `poll`."""
