"""Stock eventlet: a WSGI server and five hundred requests, a timeout."""

import warnings

warnings.simplefilter("ignore")  # eventlet says that it is being retired

import eventlet

eventlet.monkey_patch()

import urllib.request

import greenlet
from eventlet import wsgi

assert hasattr(greenlet.greenlet, "_stack_size"), "this is stock greenlet"


def application(environ, start):
    start("200 OK", [])
    return [b"x" * 100]


listener = eventlet.listen(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
eventlet.spawn(wsgi.server, listener, application, log_output=False)
sizes = eventlet.GreenPool(50).imap(lambda _: len(urllib.request.urlopen(url).read()), range(500))
assert sum(sizes) == 50_000
try:
    with eventlet.Timeout(0.05):
        eventlet.sleep(5)
    raise AssertionError("the timeout did not come")
except eventlet.Timeout:
    pass
print("eventlet", eventlet.__version__, "works")
