"""`time` with a `sleep` that lets other green threads run, and the clock of the OS thread that runs a green thread."""

import time as _time

from greenloom._native import _time_sleep as sleep

from eventlet.patcher import slurp_properties

from eventlet.support import functions as _functions

__patched__ = ["sleep", "pthread_getcpuclockid"]

slurp_properties(_time, globals(), ignore=__patched__, srckeys=dir(_time))

_clock_of_os_thread = _time.pthread_getcpuclockid


def pthread_getcpuclockid(thread_id, /):
    """As time.pthread_getcpuclockid: the clock of the OS thread that runs a green thread, or of an OS thread."""
    from eventlet.green import thread

    return _clock_of_os_thread(thread.os_thread_of(thread_id))


_functions.stand_for_those_of_c(_time, globals(), ["pthread_getcpuclockid"])
