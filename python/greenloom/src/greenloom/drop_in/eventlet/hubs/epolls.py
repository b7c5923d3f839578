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

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        listener = super().add(evtype, fileno, cb, tb, mark_as_closed)
        try:
            self._register(fileno)
        except BaseException:
            super().remove(listener)
            raise
        return listener

    def remove(self, listener):
        super().remove(listener)
        self._register(listener.fileno)

    def remove_descriptor(self, fileno):
        super().remove_descriptor(fileno)
        self._register(fileno)

    def _register(self, fileno):
        if fileno < 0:
            return
        _listen(self, fileno, fileno in self.listeners[hub.READ], fileno in self.listeners[hub.WRITE])
