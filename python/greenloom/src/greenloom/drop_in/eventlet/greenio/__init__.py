"""Green sockets and pipes: objects like those of the standard library that suspend a green thread where those would
block."""

from eventlet.greenio import base
from eventlet.greenio.base import *  # noqa: F401, F403
from eventlet.greenio.py3 import *  # noqa: F401, F403


def __getattr__(name):
    if name == "SSL":
        return base.SSL
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
