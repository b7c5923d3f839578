"""Events: one value that is sent once, and that any number of green threads wait for.

>>> import eventlet
>>> from eventlet import event
>>> answer = event.Event()
>>> _ = eventlet.spawn(answer.send, 42)
>>> answer.wait()
42
"""

from greenloom._native import Event

__all__ = ["Event"]


class _NotUsed:
    def __repr__(self):
        return "NOT_USED"


#: Stands for "nothing"; kept for programs that import it.
NOT_USED = _NotUsed()
