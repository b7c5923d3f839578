from typing import Any

from eventlet.greenio import base as base
from eventlet.greenio.base import (
    CONNECT_ERR as CONNECT_ERR,
    CONNECT_SUCCESS as CONNECT_SUCCESS,
    SOCKET_BLOCKING as SOCKET_BLOCKING,
    SOCKET_CLOSED as SOCKET_CLOSED,
    GreenSocket as GreenSocket,
    _GLOBAL_DEFAULT_TIMEOUT as _GLOBAL_DEFAULT_TIMEOUT,
    set_nonblocking as set_nonblocking,
    shutdown_safe as shutdown_safe,
    socket_timeout as socket_timeout,
)
from eventlet.greenio.py3 import GreenPipe as GreenPipe, _fileobject as _fileobject

SSL: Any
