"""`urllib.request` and `urllib.error` on green sockets, by their name of Python 2."""

from eventlet.green.urllib import error as _error
from eventlet.green.urllib import request as _request
from eventlet.patcher import slurp_properties

slurp_properties(_error, globals(), srckeys=dir(_error))
slurp_properties(_request, globals(), srckeys=dir(_request))
