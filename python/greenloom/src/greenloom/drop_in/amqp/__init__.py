"""AMQP 0-9-1 for Python: Greenloom's drop-in for the ``amqp`` package, the client under kombu.

Frames, methods and messages are read and written in Rust; what waits is a plain socket, so that the same code runs on
OS threads, and green where sockets are. The names and their meaning are those of py-amqp 5.4; see Greenloom's
documentation for what is different.

>>> import amqp
>>> message = amqp.Message("hello", content_type="text/plain", application_headers={"tries": 1})
>>> message.headers
{'tries': 1}
"""

from collections import namedtuple

try:
    from greenloom import _native  # noqa: F401
except ModuleNotFoundError as missing:
    # What follows is then bound in a module that nobody sees: stock's has taken its place.
    from ._aside import step_aside

    step_aside(missing)
else:
    try:
        import vine  # noqa: F401
    except ModuleNotFoundError as missing:
        message = "amqp's promises are those of vine, which is not installed: pip install vine"
        raise ModuleNotFoundError(message, name="vine") from missing

__version__ = "5.4.2"
#: Tells that this is not the stock package.
__greenloom__ = True

version_info_t = namedtuple("version_info_t", ("major", "minor", "micro", "releaselevel", "serial"))
VERSION = version_info = version_info_t(5, 4, 2, "", "")

from .basic_message import Message
from .channel import Channel
from .connection import Connection
from .exceptions import *  # noqa: F403
from .exceptions import __all__ as _exceptions
from .exceptions import error_for_code
from .utils import promise

__all__ = ("Connection", "Channel", "Message", "promise", *_exceptions, "error_for_code")
