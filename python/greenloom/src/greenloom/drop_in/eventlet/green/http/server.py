"""`http.server` on green sockets, selectors and threads."""

import http.client  # noqa: F401  it is looked up there when a request is parsed

from eventlet import patcher
from eventlet.green import SocketServer, os, select, selectors, socket, subprocess, time

patcher.inject(
    "http.server",
    globals(),
    ("os", os),
    ("select", select),
    ("selectors", selectors),
    ("socket", socket),
    ("socketserver", SocketServer),
    ("subprocess", subprocess),
    ("time", time),
)

del patcher
