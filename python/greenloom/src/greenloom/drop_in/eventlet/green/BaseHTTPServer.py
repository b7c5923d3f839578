"""`http.server` on green sockets, by its name of Python 2."""

from eventlet.green.http import server as _server
from eventlet.patcher import slurp_properties

slurp_properties(_server, globals(), srckeys=dir(_server))
