"""pyOpenSSL, green."""

from . import SSL, crypto

try:
    # Only old versions have it.
    from . import tsafe
except ImportError:
    pass
from .version import __version__
