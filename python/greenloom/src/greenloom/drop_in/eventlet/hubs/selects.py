"""A hub on select(2), for systems with nothing better: file descriptors below 1024 only."""

from eventlet import patcher
from eventlet.hubs import hub

select = patcher.original("select")


def is_available():
    """Whether this system has select."""
    return hasattr(select, "select")


class Hub(hub.BaseHub):
    """Waits with select."""

    def wait(self, seconds=None):
        """Waits for the listeners' file descriptors, and calls the listeners of those that are ready."""
        readers, writers = self.listeners[hub.READ], self.listeners[hub.WRITE]
        bell = self._poller_fileno()
        try:
            readable, writable, broken = select.select(
                [bell, *readers], list(writers), [*readers, *writers], 60 if seconds is None else seconds
            )
        except (OSError, ValueError):
            # One of them is closed, or no file descriptor: it is found, and the others are looked at in the next turn.
            self._renew_if_closed()
            self._remove_bad_fds()
            return
        self._note_looked()
        if bell in readable:
            readable.remove(bell)
            super().wait(0)
        # Found before any is called, because they may remove each other; what the bell brought may have removed some.
        found = [(bucket[fileno], fileno) for fileno in broken for bucket in (readers, writers) if fileno in bucket]
        for bucket, ready in ((readers, readable), (writers, writable)):
            found += [(bucket[fileno], fileno) for fileno in ready if fileno in bucket and fileno not in broken]
        for listener, fileno in found:
            self._tell(listener, fileno)

    wait._looks_at_poller = True

    def _remove_bad_fds(self):
        for fileno in {*self.listeners[hub.READ], *self.listeners[hub.WRITE]}:
            try:
                select.select([fileno], [], [], 0)
            except (OSError, ValueError):
                self.remove_descriptor(fileno)
