"""Turns for others between calls that return at once and whose green version does not see to that itself.

A program may look again and again whether something has happened, which others have to do first. With OS threads they
run meanwhile; here each look spends from the time slice of the green thread that looks (`greenloom._native._spend`).
"""

import functools

from greenloom._native import _spend

#: What a system call spends of the time until others have their turn, as a multiple of taking a free lock.
SYSTEM_CALL = 4

#: By module, or by what of it is in a module of its own.
_RETURN_AT_ONCE = {
    "os": (
        *("eventfd_read", "eventfd_write", "lockf", "open", "preadv", "pwritev", "readv", "sendfile", "splice"),
        "writev",
        *("wait", "wait3", "wait4", "waitid", "waitpid"),
    ),
    "fcntl": ("flock", "lockf"),
    "signal": ("sigpending", "sigtimedwait", "sigwait", "sigwaitinfo"),
    "socket": ("create_server", "fromfd", "socketpair"),
    # Of addresses, which need no lookup.
    "names": ("getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo"),
}


def make_fair(module_name, namespace):
    """Makes what a green module, given as its namespace, has of these functions spend. Returns their names."""
    names = [name for name in _RETURN_AT_ONCE[module_name] if name in namespace]
    for name in names:
        namespace[name] = _fair(namespace[name])
    return names


def _fair(function):
    @functools.wraps(function)
    def spend_and_call(*args, **kwargs):
        _spend(SYSTEM_CALL)
        return function(*args, **kwargs)

    return spend_and_call
