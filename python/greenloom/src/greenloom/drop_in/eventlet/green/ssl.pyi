import sys
from ssl import *
from ssl import SSLContext, SSLSocket
from typing import Any

GreenSSLContext = SSLContext
GreenSSLSocket = SSLSocket

# Before, it is the standard library's, by its name.
if sys.version_info >= (3, 12):
    def wrap_socket(sock: Any, *a: Any, **kw: Any) -> SSLSocket: ...

def green_create_default_context(*a: Any, **kw: Any) -> SSLContext: ...

# What the module does not export, and what copies of it bring along.
def __getattr__(name: str) -> Any: ...
