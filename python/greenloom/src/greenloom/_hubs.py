"""What the hubs of a process have done, and how late they were."""

from ._native import _hubs


def hubs():
    """Statistics of the hub of each OS thread that has one, as a list of dicts:

    - ``thread``: the thread's number, as ``threading.get_ident()`` has it; ``hub``: the hub's class
    - ``switches``: how often a green thread was switched to; ``timers``: how many timers fired; ``turns``: how often
      the hub looked at timers and I/O
    - ``timer_lag``, ``longest_timer_lag``: by how many seconds the last timer was late, and the most that one was
    - ``longest_block``: the longest time, in seconds, in which the hub did not come to look at them because green
      threads ran
    - ``ready``, ``timers_pending``, ``readers_and_writers``: how much waits now

    It does not block, and may be called from any OS thread. A hub that is not derived from eventlet's has the first two
    only.

    >>> import eventlet, greenloom
    >>> eventlet.sleep(0.01)
    >>> greenloom.hubs()[0]["timers"]
    1
    """
    return [_describe(thread, hub) for thread, hub in _hubs()]


def _describe(thread, hub):
    kind = f"{type(hub).__module__}.{type(hub).__qualname__}"
    statistics = hub.statistics() if hasattr(hub, "statistics") else {}
    return {"thread": thread, "hub": kind, **statistics}
