"""A hub for programs that select it by name: it waits as `epolls` does, and takes the files that epoll refuses, too."""

from eventlet import patcher
from eventlet.hubs import epolls

select = patcher.original("select")


def is_available():
    """Whether this system has poll."""
    return hasattr(select, "poll")


class Hub(epolls.Hub):
    """Finds what epoll refuses, regular files for one, ready in each turn, as poll and select do."""

    def __init__(self, clock=None):
        super().__init__(clock)
        self._always_ready = set()

    def _watch(self, evtype, fileno):
        try:
            super()._watch(evtype, fileno)
        except PermissionError:
            if fileno not in self._always_ready:
                self._always_ready.add(fileno)
                self.schedule_call_global(0, self._find_ready, fileno)

    def _find_ready(self, fileno):
        self._always_ready.remove(fileno)
        for evtype in (self.READ, self.WRITE):
            listener = self.listeners[evtype].get(fileno)
            if listener is not None:
                self._tell(listener, fileno)
        for evtype in (self.READ, self.WRITE):
            if fileno in self.listeners[evtype]:
                self._watch(evtype, fileno)
