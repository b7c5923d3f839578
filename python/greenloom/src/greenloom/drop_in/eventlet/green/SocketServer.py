"""`socketserver` on green sockets, selectors and threads."""

from eventlet import patcher
from eventlet.green import os, select, selectors, socket, threading

patcher.inject(
    "socketserver",
    globals(),
    ("os", os),
    ("select", select),
    ("selectors", selectors),
    ("socket", socket),
    ("threading", threading),
)

del patcher
