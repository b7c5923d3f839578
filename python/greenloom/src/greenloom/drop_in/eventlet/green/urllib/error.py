"""`urllib.error`, which does not wait for anything."""

from urllib import error as _error

from eventlet.patcher import slurp_properties

__all__ = _error.__all__

slurp_properties(_error, globals(), srckeys=dir(_error))
