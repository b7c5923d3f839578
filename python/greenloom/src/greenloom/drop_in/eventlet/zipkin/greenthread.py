"""Green threads work on the request of the code that starts them."""

import functools

import eventlet
from eventlet import greenpool, greenthread
from eventlet.zipkin import api

# Where a function starts a green thread, and which of its arguments is the one to call.
_PLACES = [
    *((module, name, 0) for module in (eventlet, greenthread) for name in ("spawn", "spawn_n")),
    *((module, "spawn_after", 1) for module in (eventlet, greenthread)),
    *((greenpool.GreenPool, name, 1) for name in ("spawn", "spawn_n")),
]
_originals = []


def _with_trace(trace_data, function, *args, **kwargs):
    api.set_trace_data(trace_data)
    return function(*args, **kwargs)


def _inheriting(spawn, position):
    @functools.wraps(spawn)
    def wrapper(*args, **kwargs):
        if not api.is_tracing() or len(args) <= position:
            return spawn(*args, **kwargs)
        return spawn(*args[:position], _with_trace, api.get_trace_data(), *args[position:], **kwargs)

    return wrapper


def patch():
    """Makes eventlet's functions that start green threads hand on the trace. Those imported by name before do not."""
    if _originals:
        return
    for holder, name, position in _PLACES:
        original = getattr(holder, name)
        _originals.append((holder, name, original))
        setattr(holder, name, _inheriting(original, position))


def unpatch():
    """Takes that back."""
    while _originals:
        setattr(*_originals.pop())
