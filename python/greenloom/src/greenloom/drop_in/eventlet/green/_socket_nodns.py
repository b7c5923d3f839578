"""The ``socket`` module with green sockets, and name resolution as it is."""

import types

import eventlet.patcher
from eventlet import greenio

__socket = __import__("socket")

__all__ = __socket.__all__
__patched__ = ["create_server", "fromfd", "socketpair", "ssl", "socket", "timeout"]

eventlet.patcher.slurp_properties(__socket, globals(), ignore=__patched__, srckeys=dir(__socket))

socket = greenio.GreenSocket
_GLOBAL_DEFAULT_TIMEOUT = greenio._GLOBAL_DEFAULT_TIMEOUT
timeout = greenio.socket_timeout

# It looks up `socket` among its globals.
create_server = types.FunctionType(
    __socket.create_server.__code__, globals(), "create_server", __socket.create_server.__defaults__
)
create_server.__kwdefaults__ = __socket.create_server.__kwdefaults__
create_server.__doc__ = __socket.create_server.__doc__


def _green(plain):
    if isinstance(plain, socket):
        # After the patch the function has made it of the green class.
        return plain
    # One that does not wait is made so by who asked for it.
    waits = plain.gettimeout() != 0.0
    green = socket(plain)
    if not waits:
        green.setblocking(False)
    return green


_original_fromfd = __socket.fromfd


def fromfd(*args, **kwargs):
    """As ``socket.fromfd``: a green socket on a copy of the file descriptor."""
    return _green(_original_fromfd(*args, **kwargs))


_original_socketpair = __socket.socketpair


def socketpair(*args, **kwargs):
    """As ``socket.socketpair``: a pair of connected green sockets."""
    one, other = _original_socketpair(*args, **kwargs)
    one, other = _green(one), _green(other)
    one._join(other)
    return one, other
