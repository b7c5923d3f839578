"""The end of the program: for which of its green threads it waits, and how long.

CPython waits for every thread that is no daemon, stock eventlet for none. Programs made for either run here: those of
CPython get their finite work done, and those of stock, which have threads that wait for a client or for work until
the process is no more, come to their end.

So a program whose main greenlet has returned waits while its threads do something: until none of them has run for
`QUIET` seconds, or for `ASLEEP` seconds if one may be asleep, and for `LIMIT` seconds at most. GREENLOOM_EXIT_WAIT is
a number of seconds to wait instead, whatever they do: 0 is stock's rule, inf is CPython's.
"""

import os
import warnings

from greenlet import gettrace, settrace

from eventlet import hubs
from eventlet.support.clock import monotonic as _monotonic

QUIET = 0.5
ASLEEP = 1.5
LIMIT = 5.0


def wait_for_threads(unfinished):
    """Waits for the threads that `unfinished()` returns: a dictionary from identifiers to functions that wait for the
    end of one, for some seconds or, with None, without a limit."""
    if not unfinished():
        return
    setting = os.environ.get("GREENLOOM_EXIT_WAIT")
    last = _monotonic()
    end = last + (LIMIT if setting is None else float(setting))
    threads = {}
    former = gettrace()

    def note_that_it_ran(event, args):
        nonlocal last
        if former is not None:
            former(event, args)
        if id(args[0]) in threads:
            last = _monotonic()

    settrace(note_that_it_ran)
    try:
        while threads := unfinished():
            patience = ASLEEP if hubs.get_hub().get_timers_count() else QUIET
            left = (end if setting is not None else min(last + patience, end)) - _monotonic()
            if left <= 0:
                warnings.warn(f"the program ends while threads wait: {sorted(threads)}", ResourceWarning, stacklevel=2)
                return
            next(iter(threads.values()))(left if left != float("inf") else None)
    finally:
        settrace(former)
