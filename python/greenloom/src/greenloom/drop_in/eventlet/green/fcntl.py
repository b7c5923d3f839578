"""`fcntl` whose waits for the locks of files let other green threads run.

Nothing tells when a lock is free, so a waiter looks again after pauses of 10 ms at most. The system cannot see by that
that processes wait for each other, and so never raises EDEADLK.
"""

import fcntl as fcntl_orig

from eventlet import patcher
from eventlet.green.os import _wait_until
from eventlet.support import _fairness
from eventlet.support import functions as _functions

__patched__ = ["fcntl", "flock", "lockf"]

patcher.slurp_properties(fcntl_orig, globals(), ignore=__patched__, srckeys=dir(fcntl_orig))

_originals = {name: getattr(fcntl_orig, name) for name in __patched__}

#: Commands that wait for a lock, and those that only try.
_TRIES = {
    getattr(fcntl_orig, waits): getattr(fcntl_orig, tries)
    for waits, tries in (("F_SETLKW", "F_SETLK"), ("F_SETLKW64", "F_SETLK64"), ("F_OFD_SETLKW", "F_OFD_SETLK"))
    if hasattr(fcntl_orig, waits)
}


def _until_free(lock, *args):
    def take():
        try:
            return (lock(*args),)
        except BlockingIOError:
            return None

    return _wait_until(take)[0]


def _waits(operation):
    is_lock = operation & (fcntl_orig.LOCK_SH | fcntl_orig.LOCK_EX)
    return is_lock and not operation & (fcntl_orig.LOCK_NB | fcntl_orig.LOCK_UN)


def flock(fd, operation, /):
    """As fcntl.flock; other green threads run while somebody else has the lock."""
    if not isinstance(operation, int) or not _waits(operation):
        return _originals["flock"](fd, operation)
    return _until_free(_originals["flock"], fd, operation | fcntl_orig.LOCK_NB)


def lockf(fd, cmd, len=0, start=0, whence=0, /):
    """As fcntl.lockf; other green threads run while another process has the lock."""
    if not isinstance(cmd, int) or not _waits(cmd):
        return _originals["lockf"](fd, cmd, len, start, whence)
    return _until_free(_originals["lockf"], fd, cmd | fcntl_orig.LOCK_NB, len, start, whence)


def fcntl(fd, cmd, arg=0, /):
    """As fcntl.fcntl; other green threads run while a command waits for a lock."""
    tries = _TRIES.get(cmd)
    if tries is None:
        return _originals["fcntl"](fd, cmd, arg)
    return _until_free(_originals["fcntl"], fd, tries, arg)


_fairness.make_fair("fcntl", globals())
_functions.stand_for_those_of_c(fcntl_orig, globals(), __patched__)
