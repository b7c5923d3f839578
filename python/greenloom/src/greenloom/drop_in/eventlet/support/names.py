"""Host names in the addresses that are given to sockets. The system would look them up and block the hub meanwhile."""

import functools
import os

from eventlet.support.greenlets import getcurrent

_BY_THE_SYSTEM = os.environ.get("EVENTLET_NO_GREENDNS", "").lower() == "yes"
#: What the socket module itself has a meaning for.
SPECIAL = ("", "<broadcast>")


@functools.cache
def resolver():
    """The module that resolves names: `greendns`, or what asks the system in OS threads, if that is wanted or dnspython
    is not installed."""
    if not _BY_THE_SYSTEM:
        try:
            from eventlet.support import greendns

            return greendns
        except ModuleNotFoundError as missing:
            if missing.name != "dns":
                raise
    from eventlet.support import _system_names

    return _system_names


def numeric(sock, address):
    """Returns an address for a socket with a number in place of a name, looked up as getaddrinfo does. Parks for it.

    What is no name, or not for a socket of the internet, comes back as it is. Raises socket.gaierror.
    """
    # Addresses that are numbers are the usual case, and sending is often.
    host = address[0] if type(address) is tuple and address else None
    if not isinstance(host, (str, bytes, bytearray)):
        return address
    if isinstance(host, str) and (":" in host or host.replace(".", "").isdigit()):
        return address
    return _looked_up(sock, address)


def _looked_up(sock, address):
    from eventlet import hubs

    names = resolver()
    socket = names.socket
    host = address[0]
    try:
        # Of text in ASCII the socket asks no more than that, other than the functions that look names up.
        host = bytes(host) if not isinstance(host, str) else host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        return address  # The socket refuses it.
    if b"\0" in host or host.decode("ascii", "replace") in SPECIAL:
        return address
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return address
    hub = getattr(hubs._threadlocal, "hub", None)
    if hub is not None and getcurrent() is hub.greenlet:
        return address  # It can't wait for a nameserver.
    found = names.getaddrinfo(host, None, sock.family, socket.SOCK_DGRAM)
    return (found[0][4][0], *address[1:])
