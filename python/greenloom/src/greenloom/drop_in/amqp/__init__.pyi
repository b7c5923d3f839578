from typing import Final, NamedTuple

from . import exceptions
from .basic_message import Message as Message
from .channel import Channel as Channel
from .connection import Connection as Connection
from .exceptions import *
from .exceptions import error_for_code as error_for_code
from .utils import promise as promise

__all__ = ["Connection", "Channel", "Message", "promise", "error_for_code"]
__all__ += exceptions.__all__

class version_info_t(NamedTuple):
    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str

__version__: Final[str]
__greenloom__: Final = True
VERSION: version_info_t
version_info: version_info_t
