"""`http.cookies`, which does not wait for anything."""

from http import cookies as _cookies

from eventlet.patcher import slurp_properties

__all__ = _cookies.__all__

slurp_properties(_cookies, globals(), srckeys=dir(_cookies))
