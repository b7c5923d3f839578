"""`http.cookiejar` with a green lock."""

import http.client  # noqa: F401  it is looked up there

from eventlet import patcher
from eventlet.green import threading, time

patcher.inject(
    "http.cookiejar",
    globals(),
    ("threading", threading),
    ("time", time),
)

del patcher
