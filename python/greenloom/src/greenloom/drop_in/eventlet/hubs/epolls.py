"""The default hub: native, on epoll. Green sockets register once and wait without a system call of their own."""

from greenloom._native import _listen

from eventlet import patcher
from eventlet.hubs import hub

select = patcher.original("select")


def is_available():
    """Whether this system has epoll."""
    return hasattr(select, "epoll")


class Hub(hub.BaseHub):
    """Waits with epoll."""

    def _watch(self, evtype, fileno):
        if fileno >= 0:
            _listen(self, fileno, fileno in self.listeners[hub.READ], fileno in self.listeners[hub.WRITE])
