"""`time` with a `sleep` that lets other green threads run."""

import time as _time

from eventlet import greenthread as _greenthread
from eventlet.patcher import slurp_properties

__patched__ = ["sleep"]

slurp_properties(_time, globals(), ignore=__patched__, srckeys=dir(_time))

# What fits in C's count of nanoseconds.
_LONGEST = 2**63 / 10**9


def sleep(seconds, /):
    """Suspends the green thread that calls for at least that many seconds. As of time.sleep, negative ones are a
    ValueError."""
    if not 0 <= seconds < _LONGEST:
        if seconds != seconds:
            raise ValueError("Invalid value NaN (not a number)")
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    _greenthread.sleep(seconds)
