"""Timers: functions that a hub calls after some seconds."""

from greenlet import getcurrent
from greenloom._native import Timer

__all__ = ["Timer", "LocalTimer"]


class LocalTimer(Timer):
    """A timer that is for nothing once the green thread that made it has ended."""

    def __init__(self, *args, **kwargs):
        self.greenlet = getcurrent()
        super().__init__(*args, **kwargs)

    @property
    def pending(self):
        return self.greenlet is not None and not self.greenlet.dead and not self.called

    def __call__(self, *args):
        if self.greenlet is not None and self.greenlet.dead:
            self.called = True
            return None
        return super().__call__(*args)

    def cancel(self):
        self.greenlet = None
        super().cancel()
