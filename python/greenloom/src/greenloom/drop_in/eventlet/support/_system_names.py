"""Names and addresses as the system resolves them, in OS threads: `socket.getaddrinfo` and its kin without dnspython.

Other green threads run meanwhile. In the hub's own greenlet, which cannot wait, they block.
"""

import functools

from eventlet import hubs, tpool
from eventlet.green import _socket_nodns
from eventlet.support import _fairness, functions
from eventlet.support.greenlets import getcurrent

socket = _socket_nodns

__all__ = ["getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo"]


def _in_os_thread(function):
    @functools.wraps(function)
    def resolve(*args, **kwargs):
        hub = hubs._current_hub()
        if hub is not None and hub.greenlet is getcurrent():
            return function(*args, **kwargs)
        return tpool.execute(function, *args, **kwargs)

    return resolve


getaddrinfo = _in_os_thread(socket.getaddrinfo)
gethostbyaddr = _in_os_thread(socket.gethostbyaddr)
gethostbyname = _in_os_thread(socket.gethostbyname)
gethostbyname_ex = _in_os_thread(socket.gethostbyname_ex)
getnameinfo = _in_os_thread(socket.getnameinfo)

_fairness.make_fair("names", globals())
functions.stand_for_those_of_c(socket, globals(), __all__)
