"""`http.client` on green sockets, by its name of Python 2."""

from eventlet.green.http import client as _client
from eventlet.patcher import slurp_properties

slurp_properties(_client, globals(), srckeys=dir(_client))
