"""A hub on poll(2)."""

from eventlet import patcher
from eventlet.hubs import hub

select = patcher.original("select")


def is_available():
    """Whether this system has poll."""
    return hasattr(select, "poll")


class Hub(hub.BaseHub):
    """Waits with poll."""

    def __init__(self, clock=None):
        super().__init__(clock)
        self.EXC_MASK = select.POLLERR | select.POLLHUP
        self.READ_MASK = select.POLLIN | select.POLLPRI
        self.WRITE_MASK = select.POLLOUT
        self.poll = select.poll()
        self._bell = None

    def _watch(self, evtype, fileno):
        self.register(fileno)

    def register(self, fileno):
        """Makes the poller watch what there are listeners for."""
        mask = 0
        if fileno in self.listeners[hub.READ]:
            mask |= self.READ_MASK | self.EXC_MASK
        if fileno in self.listeners[hub.WRITE]:
            mask |= self.WRITE_MASK | self.EXC_MASK
        if mask:
            self.poll.register(fileno, mask)
            return
        try:
            self.poll.unregister(fileno)
        except (KeyError, ValueError):
            # It was not registered, or is no file descriptor at all.
            pass

    def do_poll(self, seconds):
        """Waits for that many seconds at most; returns pairs of file descriptor and event mask."""
        return self.poll.poll(seconds * 1000.0)

    def wait(self, seconds=None):
        """Waits for the listeners' file descriptors, and calls the listeners of those that are ready."""
        bell = self._poller_fileno()
        if bell != self._bell:
            # The first wait, or the first in a forked process.
            self.poll.register(bell, select.POLLIN)
            self._bell = bell
        ready = self.do_poll(60 if seconds is None else seconds)
        self._note_looked()
        if any(fileno == bell for fileno, _ in ready):
            super().wait(0)
        for listener, fileno in self._find_ready(ready):
            self._tell(listener, fileno)

    wait._looks_at_poller = True

    def _find_ready(self, events):
        """The listeners to call; found before any is called, because they may remove each other, but after the bell,
        which may bring what removes some."""
        found = []
        readers, writers = self.listeners[hub.READ], self.listeners[hub.WRITE]
        for fileno, event in events:
            if fileno == self._bell:
                continue
            if event & select.POLLNVAL:
                self.remove_descriptor(fileno)
            else:
                for bucket, mask in ((readers, self.READ_MASK), (writers, self.WRITE_MASK)):
                    if event & (mask | self.EXC_MASK) and fileno in bucket:
                        found.append((bucket[fileno], fileno))
        return found
