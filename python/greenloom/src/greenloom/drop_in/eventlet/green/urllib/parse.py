"""`urllib.parse`, which does not wait for anything."""

from urllib import parse as _parse

from eventlet.patcher import slurp_properties

__all__ = _parse.__all__

slurp_properties(_parse, globals(), srckeys=dir(_parse))
