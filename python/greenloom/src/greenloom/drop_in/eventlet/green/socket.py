"""The ``socket`` module, green; names are resolved by eventlet's own resolver, or by the system in OS threads if
EVENTLET_NO_GREENDNS is ``yes`` or dnspython is not installed."""

import sys

from eventlet.patcher import slurp_properties
from eventlet.support import _fairness, functions, names

__import__("eventlet.green._socket_nodns")
__socket = sys.modules["eventlet.green._socket_nodns"]

__all__ = __socket.__all__
__patched__ = __socket.__patched__ + [
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
]

slurp_properties(__socket, globals(), srckeys=dir(__socket))

_resolver = names.resolver()
gethostbyaddr = _resolver.gethostbyaddr
gethostbyname = _resolver.gethostbyname
getaddrinfo = _resolver.getaddrinfo
gethostbyname_ex = _resolver.gethostbyname_ex
getnameinfo = _resolver.getnameinfo
del _resolver


functions.stand_for_those_of_c(__socket, globals(), _fairness.make_fair("socket", globals()))


# The module's own stays there after the patch. It looks its names up there, where programs put their own, a class of
# sockets or a function that looks up names.
def create_connection(address, timeout=_GLOBAL_DEFAULT_TIMEOUT, source_address=None, *, all_errors=False):  # noqa: F821
    """Connects to a host and a port and returns the socket, having tried each address of the host in turn.

    :param timeout: for the socket, in seconds; without one it has the default timeout
    :param source_address: a host and a port to bind to
    :param all_errors: raise an ExceptionGroup of all errors (CPython 3.11 and later), not the last one
    """
    host, port = address
    errors = []
    for family, kind, protocol, _, socket_address in getaddrinfo(host, port, 0, SOCK_STREAM):  # noqa: F821
        sock = None
        try:
            sock = socket(family, kind, protocol)  # noqa: F821
            if timeout is not _GLOBAL_DEFAULT_TIMEOUT:  # noqa: F821
                sock.settimeout(timeout)
            if source_address:
                sock.bind(source_address)
            sock.connect(socket_address)
            return sock
        except error as reason:  # noqa: F821
            errors.append(reason)
            if sock is not None:
                sock.close()
    try:
        if not errors:
            raise error("getaddrinfo returns an empty list")  # noqa: F821
        if all_errors:
            raise ExceptionGroup("create_connection failed", errors)  # noqa: F821
        raise errors[-1]
    finally:
        # They refer to this frame.
        errors.clear()
