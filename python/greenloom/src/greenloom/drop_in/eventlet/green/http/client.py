"""`http.client` on green sockets."""

from eventlet import patcher
from eventlet.green import socket, ssl

patcher.inject("http.client", globals(), ("socket", socket), ("ssl", ssl))

del patcher
