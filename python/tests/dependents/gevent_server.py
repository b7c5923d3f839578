"""gevent: a WSGI server and a thousand requests, a kill, a timeout, threads."""

from gevent import monkey

monkey.patch_all()

import queue
import threading
import urllib.request

import gevent
import gevent.pool
import gevent.pywsgi
import greenlet

assert hasattr(greenlet.greenlet, "_stack_size"), "this is stock greenlet"


def application(environ, start):
    start("200 OK", [])
    return [b"x" * 1000]


server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
url = f"http://127.0.0.1:{server.server_port}/"
sizes = gevent.pool.Pool(50).map(lambda _: len(urllib.request.urlopen(url).read()), range(1000))
assert sum(sizes) == 1_000_000

ended = []


def victim():
    try:
        gevent.sleep(100)
    finally:
        ended.append(True)


killed = gevent.spawn(victim)
gevent.sleep(0.01)
killed.kill()
assert ended == [True]

with gevent.Timeout(0.05, False):
    gevent.sleep(5)
    raise AssertionError("the timeout did not come")

box = queue.Queue()
threading.Thread(target=lambda: box.put("from a thread")).start()
assert box.get() == "from a thread"
assert gevent.get_hub().threadpool.apply(lambda: 5) == 5
print("gevent", gevent.__version__, "works")
