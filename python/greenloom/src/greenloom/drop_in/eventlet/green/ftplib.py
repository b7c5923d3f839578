"""`ftplib` on green sockets."""

from eventlet import patcher
from eventlet.green import socket, ssl

patcher.inject("ftplib", globals(), ("socket", socket), ("ssl", ssl))

del patcher
