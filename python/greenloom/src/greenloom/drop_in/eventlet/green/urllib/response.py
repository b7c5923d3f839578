"""`urllib.response`, which does not wait for anything."""

from urllib import response as _response

from eventlet.patcher import slurp_properties

__all__ = _response.__all__

slurp_properties(_response, globals(), srckeys=dir(_response))
