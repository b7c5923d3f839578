"""Which eventlet this stands in for."""

__version__ = "0.41.3"
__version_tuple__ = (0, 41, 3)
