"""`http` with modules that use green sockets."""

import http as _http

from eventlet.patcher import slurp_properties

__all__ = ["HTTPMethod", "HTTPStatus"] if hasattr(_http, "HTTPMethod") else ["HTTPStatus"]

# The modules of the package are those beside this file.
slurp_properties(_http, globals(), srckeys=__all__)
